"""Captures at named points of the running lab; crafted packets; flows as they are observed."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from meshnet.inspect import Lab
from meshnet.inspect.capture import Capture
from meshnet.kernel import launch
from meshnet.model.errors import InputError, NotFound
from netns_lab.stage import Stage

from .conftest import meshnet
from .test_modes import URL, curl

pytestmark = pytest.mark.sudo
FLOOD = """
import socket
for _ in range({times}):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        try:
            s.connect(("127.128.0.1", 9))
        except OSError:
            pass
"""


def test_a_packet_is_seen_where_it_passes_and_not_where_it_is_dropped(stage: Stage) -> None:
    from scapy.layers.inet import IP, UDP

    lab = Lab(stage.paths.lab)
    own, target = stage.instances("frontend")[0], stage.instances("backend")[0]["address"]
    packet = IP(src="1.2.3.4", dst=target) / UDP(dport=9) / b"forged"

    def forged(p: object) -> bool:
        return b"forged" in bytes(p)  # type: ignore[call-overload]

    found = lab.expect("frontend:eth0", forged, after=lambda: lab.send("frontend", packet))
    assert found[IP].src == "1.2.3.4"
    with pytest.raises(NotFound, match="no such packet"):
        lab.expect(
            f"{own['cell']}:vtep", forged, timeout=1, after=lambda: lab.send("frontend", packet)
        )


def test_a_point_that_has_just_gone_is_left_out_where_that_is_asked_for(stage: Stage) -> None:
    (there,) = Lab(stage.paths.lab).resolve("client")
    gone = [
        dataclasses.replace(there, name="a", ifname="s-gone"),
        dataclasses.replace(there, name="b", netns=Path("/run/netns/meshnet-gone")),
    ]
    for one in gone:
        with pytest.raises(NotFound):
            Capture([there, one])
    with Capture([gone[0], there, gone[1]], skip_gone=True) as taps:
        assert taps.points == [there] and taps.dropped() == taps.seen == [0]


def test_an_interface_a_point_and_tshark_reads_it(stage: Stage, tmp_path: Path) -> None:
    path = tmp_path / "f.pcapng"
    line = [sys.executable, "-m", "meshnet.cli.main", "capture", "frontend", "backend:veth"]
    env = {**os.environ, "MESHNET_LAB": stage.paths.lab}
    with subprocess.Popen(
        [*line, "-f", "tcp port 8080", "-w", str(path)], stderr=subprocess.PIPE, text=True, env=env
    ) as child:
        assert child.stderr is not None
        assert "capturing at frontend/0:eth0, backend/0:veth" in child.stderr.readline()
        assert curl(stage, "frontend") == "200"
        child.send_signal(signal.SIGINT)
        summary = child.stderr.read()
    assert child.returncode == 0 and "0 dropped by the kernel" in summary
    fields = ["-T", "fields", "-e", "frame.interface_name", "-e", "tcp.dstport"]
    done = subprocess.run(
        ["tshark", "-r", str(path), *fields], capture_output=True, text=True, check=True
    )
    rows = {tuple(line.split("\t")) for line in done.stdout.splitlines()}
    assert ("frontend/0:eth0", "8080") in rows
    assert {name for name, _ in rows} <= {"frontend/0:eth0", "backend/0:veth", "backend/1:veth"}


def test_a_full_disk_is_said_and_what_is_there_can_be_read(stage: Stage, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8k", "tmpfs", str(disk)], check=True)
    try:
        for _ in range(3):
            stage.outside.get(stage.via_frontend("backend"), times=10)
        line = [sys.executable, "-m", "meshnet.cli.main", "capture", "router-1", "router-2"]
        env = {**os.environ, "MESHNET_LAB": stage.paths.lab}
        with subprocess.Popen(
            [*line, "-w", str(disk / "f")], stderr=subprocess.PIPE, text=True, env=env
        ) as child:
            assert child.stderr is not None and "capturing" in child.stderr.readline()
            stage.outside.get(stage.via_frontend("backend"), times=60)
            said = child.stderr.read()
        assert child.returncode != 0 and "No space left on device" in said
        done = subprocess.run(["tshark", "-r", str(disk / "f")], capture_output=True, text=True)
        assert done.returncode == 0 and done.stdout
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_names_of_points(stage: Stage) -> None:
    lab = Lab(stage.paths.lab)
    assert len(lab.resolve("backend")) == 2
    assert lab.point("frontend/0:veth").ifname == stage.instances("frontend")[0]["veth"]
    for text, kind, says in (
        ("fronted", NotFound, "did you mean frontend/0"),
        ("frontend:nope", InputError, "eth0, lo, veth"),
        ("cell-1:nope", InputError, "vtep, underlay"),
        ("backend", InputError, "2 points"),
    ):
        with pytest.raises(kind, match=says):
            lab.point(text)
    with pytest.raises(InputError, match="syntax error"):
        lab.capture("client", filter="no filter at all")


def test_scapy_with_the_labs_names(stage: Stage) -> None:
    code = "print(name(address('backend/1')), 'frontend/0:eth0' in points(), VXLAN)"
    done = meshnet("scapy", "-c", code, lab=stage.paths.lab)
    assert done.stdout.startswith("backend/1 True <class"), done.stderr


def observe(stage: Stage, *args: str) -> subprocess.Popen[str]:
    line = [sys.executable, "-m", "meshnet.cli.main", "observe", *args]
    env = {**os.environ, "MESHNET_LAB": stage.paths.lab}
    child = subprocess.Popen(
        line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env
    )
    assert child.stderr is not None and "watching" in child.stderr.readline()
    return child


def test_denied_flows_are_observed_with_their_reason(stage: Stage) -> None:
    with observe(stage, "--app", "hello", "--verdict", "denied", "--json", "--for", "3") as child:
        # At a VIP hello's own proxy refuses, which is shown no route; the kernel is asked here.
        for row in stage.instances("backend"):
            assert curl(stage, "hello", f"http://{row['address']}:8080/") == "000"
        assert curl(stage, "frontend") == "200"
        out, _ = child.communicate(timeout=20)
    rows = [json.loads(line) for line in out.splitlines()]
    assert rows
    assert {row["reason"] for row in rows} == {"to_denied_policy"}
    assert {row["source"]["name"] for row in rows} == {"hello/0"}
    assert {row["destination"]["name"] for row in rows} <= {"backend/0", "backend/1"}


def test_a_flood_is_shown_or_counted_as_lost(stage: Stage) -> None:
    times, pid = 120_000, stage.instances("frontend")[0]["app_pid"]
    with observe(
        stage, "--app", "frontend", "--verdict", "denied", "--json", "--for", "15"
    ) as child:
        flood = launch.argv(["python3", "-c", FLOOD.format(times=times)], container_pid=pid)
        subprocess.run(flood, check=True)
        out, said = child.communicate(timeout=60)
    shown = sum('"vip_refused_protocol"' in line for line in out.splitlines())
    lost = int(said.split(" lost")[0].rpartition(" ")[2])
    assert shown > 0
    assert shown + lost == times, said


def test_nobody_is_disturbed_by_a_watcher_that_does_not_read(stage: Stage) -> None:
    with observe(stage, "--follow") as child:
        os.kill(child.pid, signal.SIGSTOP)
        replies = stage.outside.get(stage.via_frontend("backend"), times=50)
        assert {reply.status for reply in replies} == {200}
        os.kill(child.pid, signal.SIGCONT)
        child.send_signal(signal.SIGINT)
        child.communicate(timeout=20)


@pytest.mark.parametrize(
    "args", [("observe", "--app", "nobody"), ("observe", "--verdict", "maybe"),
             ("capture", "nobody"), ("capture", "client", "-f", "((")],
)  # fmt: skip
def test_bad_input_is_one_line(stage: Stage, args: tuple[str, ...]) -> None:
    done = meshnet(*args, lab=stage.paths.lab)
    assert done.returncode != 0 and done.stderr.startswith("meshnet: ")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("command", [("observe",), ("capture", "client"), ("trace", "client", URL)])
def test_a_lab_that_is_down(command: tuple[str, ...]) -> None:
    done = meshnet(*command, lab="nolab")
    assert done.returncode != 0
    assert done.stderr.strip() == "meshnet: lab 'nolab' is not up: meshnet lab up"
