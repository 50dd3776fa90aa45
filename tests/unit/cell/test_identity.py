"""Instances' certificates: what they say, who may read them, and when there is a new one."""

from __future__ import annotations

import datetime
import ipaddress
import os
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.x509.oid import NameOID

from meshnet.cell import identity
from meshnet.cell.identity import CERTIFICATE, KEY, Authority, Identity
from meshnet.cell.record import Record
from meshnet.model.errors import PlatformError
from netns_lab import certificates

UNITS = ("organization:o", "space:s", "app:a")
REC = Record(guid="g-1", process_guid="p", index=0, domain="d", app_guid="a",
             address="10.255.1.2", host_port=61000, uid=os.getuid())  # fmt: skip
NOW = datetime.datetime.now(datetime.UTC).replace(microsecond=0)


@pytest.fixture
def ca(tmp_path: Path) -> Path:
    made = certificates.Authority.make("instances").issued
    path = tmp_path / "ca.pem"
    path.write_bytes(made.certificate + made.key)
    return path


def read(directory: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate((directory / CERTIFICATE).read_bytes())


def test_a_certificate_says_whose_instance_it_is_as_in_cloud_foundry(
    tmp_path: Path, ca: Path
) -> None:
    where = tmp_path / "identity"
    Identity(where, REC, UNITS, Authority(ca)).put(NOW)
    leaf, issuer = x509.load_pem_x509_certificates((where / CERTIFICATE).read_bytes())
    leaf.verify_directly_issued_by(issuer)
    assert issuer == x509.load_pem_x509_certificate(ca.read_bytes())
    units = leaf.subject.get_attributes_for_oid(NameOID.ORGANIZATIONAL_UNIT_NAME)
    (name,) = leaf.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    assert (tuple(unit.value for unit in units), name.value) == (UNITS, "g-1")
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["g-1"]
    assert names.get_values_for_type(x509.IPAddress) == [ipaddress.ip_address("10.255.1.2")]
    assert leaf.not_valid_after_utc == NOW + identity.VALID
    key = serialization.load_pem_private_key((where / KEY).read_bytes(), None)
    assert key.public_key() == leaf.public_key()
    assert {path.name: path.stat().st_mode & 0o777 for path in where.iterdir()} == {
        CERTIFICATE: 0o400,
        KEY: 0o400,
    }


def test_it_is_renewed_before_it_expires_and_not_earlier(tmp_path: Path, ca: Path) -> None:
    where = tmp_path / "identity"
    one = Identity(where, REC, UNITS, Authority(ca))
    assert not one.renew(NOW) and not where.exists()  # an earlier agent gave it none
    one.put(NOW)
    first = read(where)
    due = NOW + identity.VALID - identity.RENEWED_BEFORE
    assert not one.renew(due - datetime.timedelta(seconds=1)) and read(where) == first
    assert one.renew(due)
    second = read(where)
    assert second.serial_number != first.serial_number
    assert second.not_valid_after_utc == due + identity.VALID
    (where / CERTIFICATE).chmod(0o600)
    (where / CERTIFICATE).write_text("torn")
    assert one.renew(due) and read(where).serial_number != second.serial_number


def test_a_ca_that_cannot_be_used_is_said(tmp_path: Path) -> None:
    for content in (None, b"rubbish"):
        path = tmp_path / "ca.pem"
        if content:
            path.write_bytes(content)
        with pytest.raises(PlatformError, match="no instance identity from"):
            Authority(path).issue(REC, UNITS, NOW)
