"""HTTPS at the running lab's ingress: which TLS, and what a bad certificate costs."""

from __future__ import annotations

import os
import signal
import ssl
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from netns_lab import pki, status
from netns_lab.stage import EXTERNAL, Stage
from tests import handshake

from .test_tls import meet_ingress, until


def test_ingress_speaks_tls_from_1_2_on_with_an_rsa_certificate(stage: Stage) -> None:
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        met = meet_ingress(stage, version)
        assert met.answer.startswith(b"HTTP/1.1 200 ")
        assert isinstance(met.certificate.public_key(), rsa.RSAPublicKey)
    with pytest.warns(DeprecationWarning), pytest.raises(ssl.SSLError):
        meet_ingress(stage, ssl.TLSVersion.TLSv1_1)
    address = (str(status.lab(stage.paths)["ingress"]), 443)
    assert b"HTTP" not in handshake.plain(address, handshake.HTTP)


def test_a_bad_certificate_costs_ingress_https_alone_and_only_after_a_restart(
    stage: Stage,
) -> None:
    router = next(n["address"] for n in status.lab(stage.paths)["nodes"] if n["name"] == "router-1")
    say = f"GET / HTTP/1.1\r\nHost: hello.{EXTERNAL}\r\nConnection: close\r\n\r\n".encode()

    def pid() -> int:
        daemons = {d["name"]: d for d in status.collect(stage.paths)["daemons"]}
        one = daemons["router-1.ingress"]
        return int(one["pid"] or 0) if one["ready"] else 0

    def secure() -> bool:
        try:
            return meet_ingress(stage, address=router).answer.startswith(b"HTTP/1.1 200 ")
        except OSError:
            return False

    def plain() -> bool:
        try:
            return handshake.plain((router, 80), say).startswith(b"HTTP/1.1 200 ")
        except OSError:
            return False

    def put(content: bytes) -> None:
        new = shown.with_suffix(".new")
        new.write_bytes(content)
        os.chown(new, shown.stat().st_uid, shown.stat().st_gid)
        new.rename(shown)

    files = pki.used(stage.paths)[f"router-1.ingress *.{EXTERNAL}"]
    shown, old = Path(files.certificate), pid()
    before = shown.read_bytes()
    put(b"no certificate")
    try:
        assert secure()
        os.kill(old, signal.SIGTERM)
        until(lambda: pid() not in (0, old))
        until(plain)
        assert not secure()
    finally:
        put(before)
    until(secure)


def test_an_ingress_envoy_sees_its_own_directory_alone(stage: Stage) -> None:
    daemons = {d["name"]: d for d in status.collect(stage.paths)["daemons"]}
    seen = Path(f"/proc/{daemons['router-1.ingress']['pid']}/root/run/meshnet")
    own = {"admin.sock", "etc", "identity.json", "tls", "trust.json"}
    assert {p.name for p in seen.iterdir()} == own
    assert [p.name for p in (seen.parents[1] / "etc").iterdir()] == ["istio"]
