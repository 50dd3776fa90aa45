"""The control plane's state outlives its daemons: in files, and in etcd of three members."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import ssl
import subprocess
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from meshnet.cli.client import of_lab
from meshnet.kernel import launch, netns
from meshnet.model.errors import MeshnetError
from meshnet.model.patience import patient
from meshnet.wire.tls import Tls
from netns_lab import etcd, members, rotation, scenarios, status, topology
from netns_lab import lab as labs
from netns_lab.paths import Paths
from netns_lab.stage import EXTERNAL, SAMPLES, Stage
from netns_lab.traffic import Load
from tests import handshake

from .test_faults import daemons, in_step
from .test_policy import wait
from .test_tls import authority, going_on, trusted, until

pytestmark = [pytest.mark.sudo, pytest.mark.timeout(400)]

ONE_CELL = Path(labs.__file__).parent / "labs" / "one-cell.yml"
CORE = (scenarios.ingress, scenarios.app_to_app, scenarios.policy, scenarios.weighted_split)
BACK_SECONDS = 40.0  # etcd elects, every daemon finds it, the cells find BBS
WRITE_SECONDS = 20.0  # an election, and the attempts at a member that is gone
_WANTED = sum(sample.instances for sample in SAMPLES)


@pytest.fixture(scope="module")
def on_etcd() -> Iterator[Stage]:
    name = f"e{os.getpid()}"
    one_cell = topology.load(ONE_CELL, name)
    made = dataclasses.replace(one_cell, underlay=topology.AUTO, store=topology.ETCD)
    labs.up(made, lambda text: None)
    try:
        found = Stage(Paths(name))
        found.set()
        yield found
    finally:
        assert labs.down(Paths(name)) == []


def contents(stage: Stage) -> dict[str, Any]:
    """What users see, and what is behind it."""
    client = stage.client
    return {
        "apps": sorted((a["guid"], a["name"], a["state"]) for a in client.apps()),
        "routes": sorted((r["url"], json.dumps(r["destinations"])) for r in client.routes()),
        "policies": sorted(map(json.dumps, client.policies())),
        "instances": sorted((r["guid"], r["address"]) for r in status.instances(stage.paths)),
    }


def settled(stage: Stage) -> bool:
    proxies = _WANTED + sum(n["role"] == "router" for n in status.lab(stage.paths)["nodes"])
    try:
        well = all(d["ready"] for d in daemons(stage).values())
        return well and in_step(stage, proxies) and len(contents(stage)["instances"]) == _WANTED
    except (MeshnetError, KeyError):
        return False


def restart_everything(stage: Stage) -> None:
    wait(lambda: settled(stage), BACK_SECONDS)
    before, pids = contents(stage), {n: d["pid"] for n, d in daemons(stage).items()}
    for pid in pids.values():
        os.kill(int(str(pid)), signal.SIGKILL)
    wait(
        lambda: (
            all(d["pid"] != pids[name] for name, d in daemons(stage).items()) and settled(stage)
        ),
        BACK_SECONDS,
    )
    assert contents(stage) == before
    for scenario in CORE:
        shown = scenario(stage)
        assert shown.good, shown.output


def test_every_daemon_killed_at_once_restores_everything_from_files(stage: Stage) -> None:
    restart_everything(stage)


@pytest.mark.parametrize("scenario", CORE, ids=lambda s: s.__name__)
def test_the_mesh_works_on_etcd(on_etcd: Stage, scenario: Any) -> None:
    shown = scenario(on_etcd)
    assert shown.good, shown.output


def leader(stage: Stage) -> str:
    """The daemon that is etcd's leader."""
    for member, tls in members.files(stage.paths).items():
        url = f"https://127.0.0.1:{etcd.client_port(member)}/v3/maintenance/status"
        who = ("--cacert", tls.ca, "--cert", tls.certificate, "--key", tls.key)
        line = launch.argv(
            ["curl", "-s", "-m", "2", *who, "-d", "{}", url],
            netns=netns.path(f"{stage.paths.lab}-control"),
        )
        answer = json.loads(subprocess.run(line, capture_output=True, text=True).stdout or "{}")
        if answer.get("leader", "none") == answer.get("header", {}).get("member_id"):
            return f"control.{etcd.name(member)}"
    raise AssertionError("etcd has no leader")


def test_etcds_leader_killed_loses_nothing_and_stops_nothing(on_etcd: Stage) -> None:
    stage, client = on_etcd, on_etcd.client
    hello = stage.guids["hello"]
    stage.until(stage.via_frontend("backend"), lambda code: code == 200)
    before = {n: (d["pid"], d["restarts"]) for n, d in daemons(stage).items()}
    victim = leader(stage)
    acknowledged, slowest = [], 0.0
    with (
        Load(stage.outside, f"http://hello.{EXTERNAL}/") as outside,
        Load(stage.outside, stage.via_frontend("backend")) as inside,
    ):
        for number in range(20):
            if number == 5:
                os.kill(int(str(before[victim][0])), signal.SIGKILL)
            began = time.monotonic()
            client.map_route(hello, EXTERNAL, f"etcd-{number}")  # every one is acknowledged
            slowest = max(slowest, time.monotonic() - began)
            acknowledged.append(f"etcd-{number}")
        for host in acknowledged:
            stage.until(f"http://{host}.{EXTERNAL}/", lambda code: code == 200)
        replies = [*outside.stop(), *inside.stop()]
    assert slowest < patient(WRITE_SECONDS)
    assert [r for r in replies if r.status != 200] == []
    assert {r["host"] for r in client.routes()} >= set(acknowledged)
    others = {n: (d["pid"], d["restarts"]) for n, d in daemons(stage).items() if n != victim}
    assert others == {n: v for n, v in before.items() if n != victim}, "a daemon ended with it"
    wait(lambda: bool(daemons(stage)[victim]["ready"]), BACK_SECONDS)
    for host in acknowledged:
        route = client.route(EXTERNAL, host)
        assert route
        client.delete_route(route["guid"])


def meet_etcd(stage: Stage, port: int, files: Tls | None, version: Any = None) -> handshake.Met:
    context = handshake.client(trusted(stage), files, version)
    # Clients come with gRPC at odd ports, members with HTTP/1.1 at even ones.
    say = handshake.HTTP2 if port % 2 else handshake.HTTP
    visit = partial(handshake.meet, (etcd.HOST, port), context, say)
    return members.inside(stage.paths, visit)


PORTS = {"client": 0, "peer": 1}


@pytest.mark.parametrize("offset", PORTS.values(), ids=PORTS)
def test_etcd_lets_in_only_who_shows_a_certificate_of_the_labs_ca(
    on_etcd: Stage, tmp_path: Path, offset: int
) -> None:
    stage, clients = on_etcd, handshake.Clients(tmp_path, authority(on_etcd))
    for number in etcd.MEMBERS:
        port = etcd.client_port(number) + offset
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            assert "GCM" in meet_etcd(stage, port, clients.ours, version).cipher
            for stranger in (clients.none, clients.foreign, clients.expired):
                with pytest.raises(OSError):
                    meet_etcd(stage, port, stranger, version)
        with pytest.warns(DeprecationWarning), pytest.raises(ssl.SSLError):
            meet_etcd(stage, port, clients.ours, ssl.TLSVersion.TLSv1_1)
        say = partial(handshake.plain, (etcd.HOST, port), handshake.HTTP)
        assert b" 200 " not in members.inside(stage.paths, say)


@pytest.mark.parametrize("with_ca", [False, True], ids=["certificates", "ca"])
def test_no_write_is_lost_or_late_while_etcds_certificates_change(
    on_etcd: Stage, tmp_path: Path, with_ca: bool
) -> None:
    stage, client = on_etcd, on_etcd.client
    port = etcd.client_port(etcd.MEMBERS[0])
    old = handshake.write(
        tmp_path / "old", authority(stage).issue(handshake.leaf("old")), trusted(stage)
    )
    before = {n: d["pid"] for n, d in daemons(stage).items()}
    shown = meet_etcd(stage, port, old).certificate.serial_number
    acknowledged, slowest = [], 0.0

    def write() -> None:
        nonlocal slowest
        host, began = f"written-{len(acknowledged)}", time.monotonic()
        client.create_route(EXTERNAL, host)
        slowest = max(slowest, time.monotonic() - began)
        acknowledged.append(host)

    def ask() -> None:
        assert all(r.status == 200 for r in stage.outside.get(f"http://hello.{EXTERNAL}/"))

    with going_on(write, ask) as done:
        until(lambda: all(done))
        assert rotation.rotate(stage.paths, lambda text: None, authority=with_ca) > 0
        so_far = list(done)
        until(lambda: all(now > then for now, then in zip(done, so_far, strict=True)))
    stage.client.close()
    stage.client = client = of_lab(status.lab(stage.paths))  # trusts the CA of now
    assert slowest < patient(WRITE_SECONDS)
    routes = {r["host"]: r["guid"] for r in client.routes()}
    assert set(acknowledged) <= set(routes)
    new = members.files(stage.paths)[1]
    assert meet_etcd(stage, port, new).certificate.serial_number != shown
    if with_ca:
        with pytest.raises(OSError):
            meet_etcd(stage, port, old)
    restarted = {n for n, d in daemons(stage).items() if d["pid"] != before[n]}
    assert restarted == ({n for n in before if ".etcd" in n} if with_ca else set())
    for host in acknowledged:
        client.delete_route(routes[host])


def test_every_daemon_killed_at_once_restores_everything_from_etcd(on_etcd: Stage) -> None:
    restart_everything(on_etcd)
