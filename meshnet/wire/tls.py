"""TLS between components: who a daemon is, whom it trusts, and renewal without a restart.

A daemon's configuration names three PEM files under the key `tls`; without the key it speaks plain.
The files are looked at again before each handshake, so whoever renews them only replaces them (by
rename): connections that are open go on, new ones have the new certificate and trust the new CAs.

Example::

    @dataclass(frozen=True)
    class Config:
        listen_host: str
        tls: Tls | None = None       # {"certificate": ..., "key": ..., "ca": ...} in the JSON

    await runtime.serve_asgi(app, host=host, port=8889, tls=config.tls)                # mutual
    await runtime.serve_asgi(app, host=host, port=443, tls=config.tls, mutual=False)   # server only
    http = http_client("https://10.0.16.2:8889", config.tls)                # wire/http_client.py

gRPC has its own: `grpc_server.bind(server, address, tls)` and `grpc_client.Channel(address, tls)`.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from meshnet.model.fresh import Fresh

# What CF's components agree on (tlsconfig.WithInternalServiceDefaults); TLS 1.3 has its own.
CIPHERS = "ECDHE+AESGCM"


@dataclass(frozen=True)
class Tls:
    """Paths of PEM files.

    Attributes:
        certificate: the daemon's certificate, followed by any intermediate ones.
        key: its private key, not encrypted.
        ca: every CA that peers' certificates may come from; two while the CA is being changed.
    """

    certificate: str
    key: str
    ca: str

    @property
    def files(self) -> tuple[str, str, str]:
        """All three, for Fresh."""
        return self.certificate, self.key, self.ca

    def server_context(self, *, mutual: bool = True) -> ssl.SSLContext:
        """For servers; `mutual` = only clients with a certificate of one of the CAs.

        Raises:
            InputError: the files are missing or do not fit together.
        """

        def build() -> ssl.SSLContext:
            context = _server_context()
            context.load_cert_chain(self.certificate, self.key)
            if mutual:
                context.verify_mode = ssl.CERT_REQUIRED
                context.load_verify_locations(self.ca)
            return context

        return _Renewed(ssl.PROTOCOL_TLS_SERVER, Fresh(self.files, build).get)

    def client_context(self) -> ssl.SSLContext:
        """For clients: names and addresses are checked, and our certificate is shown if asked for.

        Raises:
            InputError: the files are missing or do not fit together.
        """

        def build() -> ssl.SSLContext:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.minimum_version = ssl.TLSVersion.TLSv1_2
            context.set_ciphers(CIPHERS)
            context.load_cert_chain(self.certificate, self.key)
            context.load_verify_locations(self.ca)
            return context

        return _Renewed(ssl.PROTOCOL_TLS_CLIENT, Fresh(self.files, build).get)


def _server_context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(CIPHERS)
    context.set_alpn_protocols(["http/1.1"])
    return context


class _Renewed(ssl.SSLContext):
    """Stands for the context of now at every handshake.

    A context can take a new certificate while in use, but it never forgets a CA, and it resumes
    sessions of clients whose CA is gone. So each renewal has a context of its own.
    """

    _now: Callable[[], ssl.SSLContext]

    def __new__(cls, protocol: int, now: Callable[[], ssl.SSLContext]) -> _Renewed:
        context = super().__new__(cls, protocol)
        context._now = now
        return context

    def wrap_bio(self, *args: Any, **options: Any) -> ssl.SSLObject:
        return self._now().wrap_bio(*args, **options)

    def wrap_socket(self, *args: Any, **options: Any) -> ssl.SSLSocket:
        return self._now().wrap_socket(*args, **options)
