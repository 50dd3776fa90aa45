"""Redirection modes on the running lab: the demo in each, what is on the wire, and switching."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from meshnet.inspect import Lab
from meshnet.inspect.flows import FlowEvents
from meshnet.kernel import launch
from meshnet.model.errors import InputError, NotFound, PeerError
from meshnet.model.modes import MODES
from netns_lab import modes, status
from netns_lab.stage import SAMPLES, Stage

from .conftest import meshnet
from .test_policy import wait

pytestmark = pytest.mark.sudo
URL = "http://backend.istio.apps.internal:8080/"
# Two requests on one connection, the second when told to.
HOLD = """
import http.client, sys
c = http.client.HTTPConnection("backend.istio.apps.internal", 8080, timeout=10)
for line in sys.stdin:
    c.request("GET", "/")
    print(c.getresponse().read().decode().strip(), flush=True)
"""
# Requests on new connections until standard input ends; each one's status, or error.
REQUESTS = """
import select, sys, urllib.error, urllib.request
while not select.select([sys.stdin], [], [], 0)[0]:
    try:
        with urllib.request.urlopen("http://backend.istio.apps.internal:8080/", timeout=10) as r:
            print(r.status, flush=True)
    except OSError as exc:
        print(exc, flush=True)
"""


@pytest.fixture
def modal(stage: Stage) -> Iterator[Stage]:
    """The stage, put back into the cells' mode afterwards."""
    yield stage
    for sample in SAMPLES:
        modes.set_mode(stage.paths, sample.name, modes.DEFAULT)
    stage.until(stage.via_frontend("backend"), lambda status: status == 200)


def curl(stage: Stage, app: str, url: str = URL) -> str:
    """What curl prints beside an app: status, or 000."""
    row = stage.instances(app)[0]
    line = ["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "--max-time", "10", url]
    done = subprocess.run(
        launch.argv(line, container_pid=row["app_pid"]), capture_output=True, text=True
    )
    return done.stdout


@pytest.mark.parametrize("mode", MODES)
def test_the_demo_passes_with_what_the_mode_can_serve(modal: Stage, mode: str) -> None:
    done = meshnet("lab", "demo", "--mode", mode, lab=modal.paths.lab, timeout=110)
    assert done.returncode == 0, done.stdout
    unserved = [line for line in done.stdout.splitlines() if line.startswith("- ")]
    assert len(unserved) == (2 if mode in ("kernel", "off") else 0)
    assert {row["mode"] for app in SAMPLES for row in modal.instances(app.name)} == {mode}


@pytest.mark.parametrize("mode", MODES)
def test_policy_holds_in_every_mode(modal: Stage, mode: str) -> None:
    for app in ("frontend", "hello", "backend"):
        modes.set_mode(modal.paths, app, mode)
    assert curl(modal, "frontend") == "200"
    assert curl(modal, "hello") in ("404", "503", "000")


@pytest.mark.parametrize(("mode", "seen_at"), [
    ("ebpf", set()), ("kernel", set()), ("off", set()), ("iptables", {"frontend/0:lo"}),
])  # fmt: skip
def test_where_vips_are_on_the_wire(modal: Stage, mode: str, seen_at: set[str]) -> None:
    modes.set_mode(modal.paths, "frontend", mode)
    lab = Lab(modal.paths.lab)
    others = "tcp port 8080 or udp port 4789"
    points = [p for p in lab.points() if p.netns is not None]
    with (
        lab.capture(*points, filter="net 127.128.0.0/9") as vips,
        lab.capture("frontend:eth0", filter=others) as any_,
    ):
        assert curl(modal, "frontend") == "200"
        assert any_.rest()  # the request was there to be seen
        assert {one.point.name for one in vips.rest()} == seen_at


def test_a_connection_lives_on_when_the_mode_is_switched(modal: Stage) -> None:
    row = modal.instances("frontend")[0]
    line = launch.argv(["python3", "-c", HOLD], container_pid=row["app_pid"])
    with ExitStack() as stack:
        held = []
        for mode in MODES:
            modes.set_mode(modal.paths, "frontend", mode)
            child = subprocess.Popen(
                line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
            )
            stack.callback(child.wait)
            stack.callback(child.kill)
            held.append(child)
            assert '"app": "backend"' in ask(child), mode
        for mode in (*MODES, MODES[0]):
            modes.set_mode(modal.paths, "frontend", mode)
            modes.set_mode(modal.paths, "backend", mode)
            for child in held:
                assert '"app": "backend"' in ask(child), mode


def test_no_request_fails_while_the_mode_is_switched(modal: Stage) -> None:
    row = modal.instances("frontend")[0]
    line = launch.argv(["python3", "-c", REQUESTS], container_pid=row["app_pid"])
    with subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        try:
            assert child.stdout and child.stdout.readline() == "200\n"
            for old, new in itertools.permutations([*MODES, "ebpf --sockmap"], 2):
                for mode, *sockmap in (old.split(), new.split()):
                    modes.set_mode(modal.paths, "frontend", mode, sockmap=bool(sockmap))
            said, _ = child.communicate(timeout=30)
        finally:
            child.kill()
    assert set(said.split("\n")) == {"200", ""}


def ask(child: subprocess.Popen[str]) -> str:
    assert child.stdin is not None and child.stdout is not None
    child.stdin.write("\n")
    return child.stdout.readline()


@pytest.mark.parametrize("mode", [m for m in MODES if m != "off"])
def test_each_connection_can_be_told_its_mode(modal: Stage, mode: str) -> None:
    modes.set_mode(modal.paths, "frontend", mode)
    own = modal.instances("frontend")[0]["address"]
    with FlowEvents(modal.paths) as events:
        assert curl(modal, "frontend") == "200"
        found = [*events.read(0.3), *events.read(0.3), *events.rest()]
    mine = [f for f in found if f.container == own and not f.proxy and f.meant[0]]
    assert {flow.kind for flow in mine} == {"connect", "close"}
    assert {flow.mode for flow in mine} == {mode}


def test_an_app_that_starts_later_is_in_its_mode(modal: Stage) -> None:
    modes.set_mode(modal.paths, "hola", "kernel")
    guid = modal.guids["hola"]
    modal.client.scale(guid, 2)
    modal.client.wait_running(guid)
    assert {row["mode"] for row in modal.instances("hola")} == {"kernel"}
    modal.client.scale(guid, 1)


def test_an_agent_that_hangs_does_not_switch_later(modal: Stage) -> None:
    daemons = status.collect(modal.paths)["daemons"]
    pid = next(d["pid"] for d in daemons if d["name"] == "cell-2.cell")
    os.kill(pid, signal.SIGSTOP)
    try:
        with pytest.raises(PeerError, match="cell-2 does not answer"):
            modes.set_mode(modal.paths, "hello", "off")
    finally:
        os.kill(pid, signal.SIGCONT)
    wait(lambda: len(modal.instances("hello")) == 2)
    assert {row["mode"] for row in modal.instances("hello")} == {"ebpf"}
    # Requests are taken in turn: this one comes after the one that waited.
    modes.set_mode(modal.paths, "hola", "ebpf")
    assert {row["mode"] for row in modal.instances("hello")} == {"ebpf"}


def test_bad_input_changes_nothing(modal: Stage) -> None:
    before = {r["guid"]: r["mode"] for s in SAMPLES for r in modal.instances(s.name)}
    with pytest.raises(InputError, match="no mode 'nope'"):
        modes.set_mode(modal.paths, "frontend", "nope")
    with pytest.raises(InputError, match="sockmap"):
        modes.set_mode(modal.paths, "frontend", "kernel", sockmap=True)
    with pytest.raises(NotFound, match="'nobody'"):
        modes.set_mode(modal.paths, "nobody", "kernel")
    with pytest.raises(InputError, match="no cell"):
        modes.set_cell_mode(modal.paths, "cell-9", "kernel")
    assert before == {r["guid"]: r["mode"] for s in SAMPLES for r in modal.instances(s.name)}
