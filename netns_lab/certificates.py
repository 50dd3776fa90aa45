"""A certificate authority and the certificates it gives out. Pure: bytes in, bytes out."""

from __future__ import annotations

import datetime
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

CA_DAYS, LEAF_DAYS = 3650, 365
_EARLIER = datetime.timedelta(hours=1)  # peers' clocks may be a little behind
_USAGE = dict.fromkeys(
    (
        "content_commitment",
        "data_encipherment",
        "key_agreement",
        "encipher_only",
        "decipher_only",
        "digital_signature",
        "key_encipherment",
        "key_cert_sign",
        "crl_sign",
    ),
    False,
)
_BOTH_SIDES = x509.ExtendedKeyUsage(
    [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
)


@dataclass(frozen=True)
class Leaf:
    """What a certificate says.

    Attributes:
        name: the room, its common name.
        unit: the node, its organizational unit.
        hosts: DNS names and IPv4 addresses it is valid for.
        serves: clients of Cloud Foundry may come, who want RSA with TLS 1.2; others have the
            cheaper elliptic curve.
    """

    name: str
    unit: str
    hosts: tuple[str, ...]
    serves: bool = False


@dataclass(frozen=True)
class Issued:
    """A certificate and its private key, PEM."""

    certificate: bytes
    key: bytes


class Authority:
    """A CA that signs."""

    def __init__(self, issued: Issued) -> None:
        """Take a CA made before. Raises ValueError where it is none."""
        self.issued = issued
        self._certificate = x509.load_pem_x509_certificate(issued.certificate)
        key = serialization.load_pem_private_key(issued.key, None)
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        self._key: CertificateIssuerPrivateKeyTypes = key

    @classmethod
    def make(cls, name: str) -> Authority:
        """A new CA of this common name, with a serial number in it: no two are alike."""
        key = ec.generate_private_key(ec.SECP256R1())
        serial = x509.random_serial_number()
        subject = x509.Name(
            [
                x509.NameAttribute(NameOID.COMMON_NAME, name),
                x509.NameAttribute(NameOID.SERIAL_NUMBER, f"{serial:x}"[:8]),
            ]
        )
        usage = x509.KeyUsage(**{**_USAGE, "key_cert_sign": True, "crl_sign": True})
        builder = (
            _builder(subject, subject, key.public_key(), CA_DAYS)
            .serial_number(serial)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(usage, critical=True)
        )
        certificate = builder.sign(key, hashes.SHA256())
        return cls(Issued(certificate.public_bytes(_PEM), _private(key)))

    def issue(self, leaf: Leaf, *, days: float = LEAF_DAYS) -> Issued:
        """A certificate for servers and clients; negative `days` make one that has expired."""
        key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey = (
            rsa.generate_private_key(65537, 2048)
            if leaf.serves
            else ec.generate_private_key(ec.SECP256R1())
        )
        subject = x509.Name(
            [
                x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, leaf.unit),
                x509.NameAttribute(NameOID.COMMON_NAME, leaf.name),
            ]
        )
        issuer = x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(
            self._certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
        )
        usage = x509.KeyUsage(
            **{**_USAGE, "digital_signature": True, "key_encipherment": leaf.serves}
        )
        builder = (
            _builder(subject, self._certificate.subject, key.public_key(), days)
            .serial_number(x509.random_serial_number())
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(usage, critical=True)
            .add_extension(_BOTH_SIDES, critical=False)
            .add_extension(issuer, critical=False)
            .add_extension(x509.SubjectAlternativeName(_names(leaf.hosts)), critical=False)
        )
        certificate = builder.sign(self._key, hashes.SHA256())
        return Issued(certificate.public_bytes(_PEM), _private(key))


_PEM = serialization.Encoding.PEM


def bundle(texts: Sequence[bytes]) -> bytes:
    """The certificates in these PEM texts, each once, in their order."""
    found = (one for text in texts for one in x509.load_pem_x509_certificates(text))
    return b"".join(dict.fromkeys(one.public_bytes(_PEM) for one in found))


def serial(certificate: bytes) -> int:
    """The serial number of a PEM certificate."""
    return x509.load_pem_x509_certificate(certificate).serial_number


def expires(certificates: bytes) -> datetime.datetime:
    """When the first of these PEM certificates ends. Raises ValueError where there is none."""
    return min(one.not_valid_after_utc for one in x509.load_pem_x509_certificates(certificates))


def _names(hosts: Sequence[str]) -> list[x509.GeneralName]:
    return [_name(host) for host in hosts]


def _name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.IPv4Address(host))
    except ValueError:
        return x509.DNSName(host)


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePublicKey | rsa.RSAPublicKey,
    days: float,
) -> x509.CertificateBuilder:
    end = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=days)
    begin = min(datetime.datetime.now(datetime.UTC), end) - _EARLIER
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .not_valid_before(begin)
        .not_valid_after(end)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _private(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> bytes:
    return key.private_bytes(_PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())


def leaf_of(certificate: bytes) -> Leaf:
    """What a PEM certificate of ours says, to give out another like it."""
    parsed = x509.load_pem_x509_certificate(certificate)
    names = parsed.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    values = {a.oid: str(a.value) for a in parsed.subject}
    return Leaf(
        values[NameOID.COMMON_NAME],
        values[NameOID.ORGANIZATIONAL_UNIT_NAME],
        tuple(str(name.value) for name in names),
        isinstance(parsed.public_key(), rsa.RSAPublicKey),
    )
