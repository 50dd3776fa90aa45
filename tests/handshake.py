"""A TLS client that says what it met, for tests of who is let in."""

from __future__ import annotations

import socket
import ssl
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509

from meshnet.wire.tls import Tls
from netns_lab.certificates import Authority, Issued, Leaf

HTTP = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
HTTP2 = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00"


@dataclass(frozen=True)
class Met:
    """Whom a handshake met: protocol version, cipher, and the certificate that was shown."""

    version: str
    cipher: str
    certificate: x509.Certificate
    answer: bytes


def client(
    ca: bytes, files: Tls | None = None, version: ssl.TLSVersion | None = None
) -> ssl.SSLContext:
    """A client's context: whom it trusts (PEM), what it shows, the one version it speaks."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata=ca.decode())
    context.set_alpn_protocols(["h2", "http/1.1"])
    if files:
        context.load_cert_chain(files.certificate, files.key)
    if version:
        if version < ssl.TLSVersion.TLSv1_2:
            context.set_ciphers("DEFAULT:@SECLEVEL=0")
        context.minimum_version = context.maximum_version = version
    return context


def meet(address: tuple[str, int], context: ssl.SSLContext, say: bytes, host: str = "") -> Met:
    """Shake hands, say something, hear something.

    Raises:
        OSError: the server did not let us in, or we did not trust it (ssl.SSLError is one).
    """
    with (
        socket.create_connection(address, timeout=10) as plain,
        context.wrap_socket(plain, server_hostname=host or address[0]) as tls,
    ):
        # With TLS 1.3 a client's handshake is over before its certificate was looked at.
        tls.sendall(say)
        if not (answer := tls.recv(4096)):
            raise ConnectionResetError("closed without an answer")
        der, cipher = tls.getpeercert(binary_form=True), tls.cipher()
        assert der and cipher
        return Met(tls.version() or "", cipher[0], x509.load_der_x509_certificate(der), answer)


def plain(address: tuple[str, int], say: bytes) -> bytes:
    """What a server answers to plain text; empty where it hangs up."""
    with socket.create_connection(address, timeout=10) as one:
        one.sendall(say)
        try:
            return one.recv(4096)
        except ConnectionResetError:
            return b""


def write(directory: Path, issued: Issued, *cas: bytes) -> Tls:
    """Files as a lab's daemon has them: certificate and key in one, each replaced by rename."""
    directory.mkdir(exist_ok=True)
    both, ca = directory / "identity.pem", directory / "ca.pem"
    for path, content in ((ca, b"".join(cas)), (both, issued.certificate + issued.key)):
        new = path.with_suffix(".new")
        new.write_bytes(content)
        new.rename(path)
    return Tls(str(both), str(both), str(ca))


def leaf(name: str, *hosts: str, serves: bool = False) -> Leaf:
    """A leaf for tests."""
    return Leaf(name, "node", hosts or ("127.0.0.1",), serves)


class Clients:
    """Clients of all sorts, by name; only `ours` may come in."""

    def __init__(self, directory: Path, authority: Authority) -> None:
        ca, foreign = authority.issued.certificate, Authority.make("foreign")
        self.ours = write(directory / "ours", authority.issue(leaf("ours")), ca)
        self.expired = write(directory / "expired", authority.issue(leaf("old"), days=-1), ca)
        self.foreign = write(directory / "foreign", foreign.issue(leaf("foreign")), ca)
        self.none = None
