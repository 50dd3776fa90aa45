"""An instance's identity: a certificate by which its app can show others whose instance it is.

As Diego's executor makes it (depot/containerstore/credmanager.go), but for the key's kind: RSA keys
of hundreds of instances that start at once would take a core for a minute.
"""

from __future__ import annotations

import datetime
import ipaddress
import logging
import os
from collections.abc import Iterable
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from meshnet.cell.record import Record
from meshnet.model.errors import PlatformError

log = logging.getLogger("meshnet")

SHOWN = "/etc/cf-instance-credentials"  # where the app sees its directory
CERTIFICATE, KEY = "instance.crt", "instance.key"
ENVIRONMENT = {
    "CF_INSTANCE_CERT": f"{SHOWN}/{CERTIFICATE}",
    "CF_INSTANCE_KEY": f"{SHOWN}/{KEY}",
}
VALID = datetime.timedelta(hours=24)
RENEWED_BEFORE = datetime.timedelta(hours=4)
_EARLIER = datetime.timedelta(minutes=5)  # peers' clocks may be a little behind


class Authority:
    """The CA of a cell's instances. Reads its file anew for each certificate."""

    def __init__(self, path: Path) -> None:
        """Of a PEM file with the CA's certificate and key."""
        self._path = path

    def issue(
        self, rec: Record, units: Iterable[str], now: datetime.datetime
    ) -> tuple[bytes, bytes]:
        """(certificate and CA's certificate, key), PEM, for an instance.

        Args:
            units: organizational units: "organization:GUID", "space:GUID", "app:GUID".

        Raises:
            PlatformError: the CA cannot be used.
        """
        try:
            pem = self._path.read_bytes()
            ca = x509.load_pem_x509_certificate(pem)
            ca_key = serialization.load_pem_private_key(pem, None)
        except (OSError, ValueError) as exc:
            raise PlatformError(f"no instance identity from {self._path}: {exc}") from exc
        assert isinstance(ca_key, ec.EllipticCurvePrivateKey)
        key = ec.generate_private_key(ec.SECP256R1())
        names = [x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, unit) for unit in units]
        subject = x509.Name([*names, x509.NameAttribute(NameOID.COMMON_NAME, rec.guid)])
        alternative = [x509.DNSName(rec.guid), x509.IPAddress(ipaddress.ip_address(rec.address))]
        both = [ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH]
        issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key())
        made = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(ca.subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - _EARLIER)
            .not_valid_after(now + VALID)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName(alternative), critical=False)
            .add_extension(x509.ExtendedKeyUsage(both), critical=False)
            .add_extension(issuer, critical=False)
            .sign(ca_key, hashes.SHA256())
        )
        pem_of = serialization.Encoding.PEM
        private = key.private_bytes(
            pem_of, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return made.public_bytes(pem_of) + ca.public_bytes(pem_of), private


class Identity:
    """One instance's files; the app alone may read them."""

    def __init__(
        self, directory: Path, rec: Record, units: Iterable[str], authority: Authority
    ) -> None:
        """In `directory`, which `put` makes."""
        self._directory, self._record = directory, rec
        self._units, self._authority = tuple(units), authority

    def put(self, now: datetime.datetime | None = None) -> None:
        """Write both files, anew. Raises PlatformError: the CA cannot be used."""
        when = now or datetime.datetime.now(datetime.UTC)
        certificate, key = self._authority.issue(self._record, self._units, when)
        self._directory.mkdir(mode=0o755, parents=True, exist_ok=True)
        # The key first: who reads between the two has the new key with the old certificate, and
        # looks again, as at any renewal.
        for name, content in ((KEY, key), (CERTIFICATE, certificate)):
            _replace(self._directory / name, content, self._record.uid)

    def renew(self, now: datetime.datetime | None = None) -> bool:
        """Write both anew if it is time; whether it was. Raises PlatformError.

        One of an agent that gave no identities stays without.
        """
        when = now or datetime.datetime.now(datetime.UTC)
        try:
            pem = (self._directory / CERTIFICATE).read_bytes()
            left = x509.load_pem_x509_certificate(pem).not_valid_after_utc - when
        except (FileNotFoundError, NotADirectoryError):
            return False
        except ValueError:
            left = datetime.timedelta()
        if left > RENEWED_BEFORE:
            return False
        self.put(when)
        return True


def _replace(path: Path, content: bytes, uid: int) -> None:
    new = path.with_suffix(".new")
    new.unlink(missing_ok=True)
    fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o400)
    with os.fdopen(fd, "wb") as file:
        file.write(content)
        os.fchown(fd, uid, uid)
    new.rename(path)
