"""Where gRPC servers listen: plain, or with mutual TLS and certificates renewed as they run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import grpc

from meshnet.model.errors import InputError
from meshnet.wire.tls import Fresh, Tls


def bind(server: Any, address: str, tls: Tls | None = None) -> None:
    """Have a grpc.aio server listen.

    Args:
        address: "HOST:PORT" or "unix:PATH".
        tls: only clients with a certificate of one of its CAs; None = everyone, plain.

    Raises:
        InputError: the address is taken, or the certificate cannot be used.
    """
    try:
        if tls is None:
            server.add_insecure_port(address)
        else:
            server.add_secure_port(address, _credentials(tls))
    except RuntimeError as exc:
        raise InputError(f"cannot listen on {address}: taken, or not there") from exc


def _credentials(tls: Tls) -> Any:
    fresh = Fresh(tls, lambda: _configuration(tls))
    last = fresh.get()

    def renewed() -> Any:
        nonlocal last
        if (now := fresh.get()) is last:
            return None  # gRPC's word for "as before"
        last = now
        return now

    return grpc.dynamic_ssl_server_credentials(last, renewed, require_client_authentication=True)


def _configuration(tls: Tls) -> Any:
    tls.server_context()  # gRPC takes anything, and then fails every handshake
    chain, key, ca = (Path(path).read_bytes() for path in (tls.certificate, tls.key, tls.ca))
    return grpc.ssl_server_certificate_configuration([(key, chain)], root_certificates=ca)
