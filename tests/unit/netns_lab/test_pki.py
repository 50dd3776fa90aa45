"""A lab's certificates: what they say, whom their files trust, and changing the CA step by step."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

from meshnet.model.errors import PlatformError
from netns_lab import expiry, pki, topology
from netns_lab import paths as paths_module
from netns_lab.certificates import leaf_of, serial
from netns_lab.daemons import Daemon, Secrets, daemons
from netns_lab.paths import Paths

_RSA = rsa.generate_private_key(65537, 2048)
DEFAULT = Path(topology.__file__).parent / "labs" / "default.yml"


@pytest.fixture(autouse=True)
def one_rsa_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """RSA keys take long to make: one does for all."""
    monkeypatch.setattr("netns_lab.certificates.rsa.generate_private_key", lambda *_: _RSA)


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Paths:
    """A lab's files, without the lab."""
    monkeypatch.setattr(paths_module, "RUN", tmp_path / "run")
    monkeypatch.setattr(paths_module, "STATE", tmp_path / "state")
    found = Paths("x")
    (found.run / "config").mkdir(parents=True)
    return found


TOPOLOGY = dataclasses.replace(topology.load(DEFAULT), store=topology.ETCD)


def every(lab: Paths) -> list[Daemon]:
    found = daemons(TOPOLOGY, lab, Secrets("pw"), "/envoy")
    # Who is not root gives no file to an Envoy's user.
    return [d for d in found if "uid" not in d.config]


def prepare(lab: Paths) -> None:
    pki.prepare(TOPOLOGY, lab, every(lab))
    for daemon in every(lab):
        path = lab.run / "config" / f"{daemon.name}.json"
        path.write_text(json.dumps(daemon.config))


def shown(lab: Paths) -> dict[str, bytes]:
    """Each daemon's certificate."""
    return {name: Path(t.certificate).read_bytes() for name, t in pki.used(lab).items()}


def trusts(lab: Paths) -> set[int]:
    """How many CAs the daemons trust."""
    return {
        len(x509.load_pem_x509_certificates(Path(t.ca).read_bytes()))
        for t in pki.used(lab).values()
    }


def all_meet(lab: Paths) -> None:
    """Each daemon's files fit together, and each trusts each other's certificate."""
    for tls in pki.used(lab).values():
        tls.server_context()
        cas = x509.load_pem_x509_certificates(Path(tls.ca).read_bytes())
        verifier = PolicyBuilder().store(Store(cas)).build_client_verifier()
        for certificate in shown(lab).values():
            verifier.verify(x509.load_pem_x509_certificate(certificate), [])


def test_every_daemon_with_a_peer_has_a_certificate_that_says_who_it_is(lab: Paths) -> None:
    prepare(lab)
    found = {name: leaf_of(text) for name, text in shown(lab).items()}
    assert {"control.bbs", "control.dns", "cell-1.cell", "cell-2.policy-agent"} <= set(found)
    assert not {name for name in found if name.endswith((".observe", ".lb"))}
    bbs = found["control.bbs"]
    assert (bbs.name, bbs.unit) == ("bbs", "control")
    assert bbs.hosts == ("10.0.16.2", "control.mesh.lab", "bbs.service.cf.internal")
    assert {"*.sys.mesh.lab", "uaa.sys.mesh.lab"} <= set(found["control.capi"].hosts)
    for number in (1, 2, 3):
        assert found[f"control.etcd-{number}"].hosts == ("127.0.0.1", "control.mesh.lab")
    assert found["cell-1.pilot"].hosts == ("10.0.16.21", "cell-1.mesh.lab")
    all_meet(lab)


def test_who_serves_cfs_clients_has_rsa(lab: Paths) -> None:
    prepare(lab)
    keys = {n: x509.load_pem_x509_certificate(t).public_key() for n, t in shown(lab).items()}
    with_rsa = {name for name, key in keys.items() if isinstance(key, rsa.RSAPublicKey)}
    rooms = ("bbs", "capi", "copilot", "lease", "logcache", "pilot", "policy")
    assert with_rsa == {f"control.{room}" for room in rooms} & set(keys)


def test_ingress_has_a_certificate_for_what_the_mesh_serves_outside(lab: Paths) -> None:
    found = daemons(topology.load(DEFAULT), lab, Secrets("pw"), "/envoy")
    routers = [d for d in found if d.room == "ingress"]
    own = [dataclasses.replace(d, config={**d.config, "uid": os.getuid()}) for d in routers]
    pki.prepare(topology.load(DEFAULT), lab, own)
    for daemon in own:
        path = lab.run / "config" / f"{daemon.name}.json"
        path.write_text(json.dumps(daemon.config))
    name, other = "router-1.ingress *.istio.mesh.lab", "router-2.ingress *.istio.mesh.lab"
    before = shown(lab)
    assert set(before) == {"router-1.ingress", name, "router-2.ingress", other}
    leaf = leaf_of(before[name])
    assert (leaf.hosts, leaf.unit, leaf.serves) == (("*.istio.mesh.lab",), "router-1", True)
    assert serial(before[name]) != serial(before[other])
    # Where the gateway says, and where Copilot reads for which names it is.
    gateways = lab.run / "routers" / "router-1" / "etc" / "istio" / "*.istio.mesh.lab"
    (read,) = next(d.config["certificates"] for d in found if d.room == "copilot")
    assert Path(read) == gateways / "tls.crt"
    pki.renew(lab)
    for path in (gateways / "tls.crt", gateways / "tls.key"):
        assert serial(path.read_bytes()) == serial(shown(lab)[name]) != serial(before[name])
        assert path.stat().st_mode & 0o777 == 0o600
    all_meet(lab)


def test_a_mesh_that_serves_nothing_outside_has_no_such_certificate(lab: Paths) -> None:
    domains = (topology.Domain("apps.internal", internal=True, istio=True),
               topology.Domain("plain.x"))  # fmt: skip
    inside = dataclasses.replace(topology.load(DEFAULT), domains=domains)
    found = daemons(inside, lab, Secrets("pw"), "/envoy")
    assert next(d.config["certificates"] for d in found if d.room == "copilot") == []
    router = next(d for d in found if d.room == "ingress")
    own = dataclasses.replace(router, config={**router.config, "uid": os.getuid()})
    pki.prepare(inside, lab, [own])
    assert not (Path(router.config["run_dir"]) / "etc").exists()


def test_files_are_for_their_owner_alone(lab: Paths) -> None:
    prepare(lab)
    files = [*(lab.run / "tls").rglob("*.pem"), *lab.ca.glob("*.pem")]
    assert len(files) > 20
    for path in files:
        assert path.stat().st_mode & 0o777 == 0o600
        assert path.parent.stat().st_mode & 0o777 == 0o700


def test_the_ca_outlives_the_daemons_certificates(lab: Paths) -> None:
    prepare(lab)
    ca, before = (lab.ca / pki.TRUSTED).read_bytes(), shown(lab)
    prepare(lab)
    assert (lab.ca / pki.TRUSTED).read_bytes() == ca
    after = shown(lab)
    assert all(serial(before[name]) != serial(after[name]) for name in before)


def test_renewing_keeps_what_a_certificate_says(lab: Paths) -> None:
    prepare(lab)
    before = shown(lab)
    pki.renew(lab)
    after = shown(lab)
    for name in before:
        assert serial(before[name]) != serial(after[name])
        assert leaf_of(before[name]) == leaf_of(after[name])
    all_meet(lab)


def test_everyone_trusts_everyone_at_each_step_of_a_change_of_the_ca(lab: Paths) -> None:
    prepare(lab)
    old, counts = (lab.ca / pki.TRUSTED).read_bytes(), []

    def look(*_: str) -> None:
        all_meet(lab)
        counts.append(trusts(lab))

    pki.renew_authority(lab, look, look, look)
    # Said, trusted, said, served, said, trusted.
    assert counts == [{1}, {2}, {2}, {2}, {2}, {1}]
    assert old not in (lab.ca / pki.TRUSTED).read_bytes()


class Killed(Exception):
    """Stands for a process that was killed."""


def _kill_at(step: int) -> Callable[..., None]:
    calls: Iterator[int] = iter(range(100))

    def maybe(*_: str) -> None:
        if next(calls) == step:
            raise Killed

    return maybe


@pytest.mark.parametrize("step", range(6))
def test_a_change_that_was_broken_off_harms_nobody_and_can_be_begun_again(
    lab: Paths, step: int
) -> None:
    prepare(lab)
    die = _kill_at(step)
    with pytest.raises(Killed):
        pki.renew_authority(lab, die, die, die)
    all_meet(lab)
    pki.renew(lab)
    all_meet(lab)
    pki.renew_authority(lab, lambda _: all_meet(lab), lambda: all_meet(lab), lambda: all_meet(lab))
    all_meet(lab)
    assert trusts(lab) == {1}
    prepare(lab)  # and the lab comes up with it
    all_meet(lab)


def test_a_lab_knows_the_first_of_its_certificates_to_end(lab: Paths) -> None:
    assert expiry.of(lab) is None
    prepare(lab)
    found = expiry.of(lab)
    assert found and found.state == expiry.OK
    authority = pki._authority(lab)
    files = pki.used(lab)["control.bbs"]
    pki._put(files, authority.issue(leaf_of(shown(lab)["control.bbs"]), days=-1))
    found = expiry.of(lab)
    assert found and (found.daemon, found.state) == ("control.bbs", expiry.EXPIRED)
    pki.renew(lab)
    found = expiry.of(lab)
    assert found and found.state == expiry.OK


def test_a_ca_that_cannot_be_used_is_named(lab: Paths) -> None:
    prepare(lab)
    (lab.ca / "authority.pem").write_bytes(b"no CA")
    with pytest.raises(PlatformError, match=r"authority\.pem cannot be used"):
        pki.renew(lab)


def test_servers_names_satisfy_a_strict_verifier(lab: Paths) -> None:
    prepare(lab)
    cas = x509.load_pem_x509_certificates((lab.ca / pki.TRUSTED).read_bytes())
    shows = x509.load_pem_x509_certificate(shown(lab)["control.capi"])

    def visit(name: str) -> None:
        builder = PolicyBuilder().store(Store(cas))
        builder.build_server_verifier(x509.DNSName(name)).verify(shows, [])

    for name in ("api.sys.mesh.lab", "log-cache.sys.mesh.lab", "uaa.service.cf.internal"):
        visit(name)
    with pytest.raises(VerificationError):
        visit("bbs.service.cf.internal")
