"""What apps do: never listen, fall ill, leak, crash, fill, ignore; and what follows."""

from __future__ import annotations

import json
import os
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from cell_world import CELL, World, wait_for

from meshnet.wire.gen import bbs_pb2 as pb

pytestmark = [pytest.mark.sudo, pytest.mark.timeout(180)]
LISTEN = "import http.server as h; h.test(h.SimpleHTTPRequestHandler, port=8080, bind='{}')"
FORK = """
import os, time
n = 0
try:
    while n < 100:
        if not os.fork():
            time.sleep(99)
        n += 1
except BlockingIOError:
    print(f"forks={n}", flush=True)
time.sleep(99)
"""
LEAK = "import time\nx = []\nwhile True: x.append(bytearray(1 << 20)); time.sleep(0.001)"


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    made = World(f"ch{os.getpid() % 100000}")
    made.agent()
    yield made
    made.close()


@pytest.fixture
def app(world: World, request: pytest.FixtureRequest) -> Iterator[str]:
    """A process guid of the test's own; its instances are gone afterwards."""
    guid = request.node.name.replace("[", "-").strip("]")[:60]
    yield guid
    world.bbs(lambda client: client.remove_desired(guid))
    wait_for(lambda: not world.rows(), 30, "its instances gone")


def crashed(world: World, guid: str, seconds: float = 30) -> Any:
    def counted() -> Any:
        return next((a for a in world.actual(guid) if a.crash_count), None)

    return wait_for(counted, seconds, "a crash")


def python(source: str) -> str:
    return f"exec python3 -c {shlex.quote(source)}"


def http_check(path: str, timeout_ms: int = 0) -> pb.CheckDefinition:
    check = pb.HTTPCheck(port=8080, path=path, interval_ms=200, request_timeout_ms=timeout_ms)
    return pb.CheckDefinition(checks=[pb.Check(http_check=check)], log_source="HEALTH")


def test_an_app_gets_cfs_environment_and_its_log_tells_its_life(world: World, app: str) -> None:
    world.desire(
        app, command="mkdir x && mkdir $TMPDIR/y && export SEEN=$PWD && exec python3 app.py"
    )
    (lrp,) = world.running(app)
    guid = lrp.actual_lrp_instance_key.instance_guid
    port = lrp.actual_lrp_net_info.ports[0].host_port
    env = world.get(CELL, port)["env"]
    assert env["HOME"] == env["SEEN"] == "/home/vcap/app" and env["TMPDIR"] == "/home/vcap/tmp"
    assert env["USER"] == "vcap" and env["CF_INSTANCE_ADDR"] == f"{CELL}:{port}"
    application = json.loads(env["VCAP_APPLICATION"])
    assert application["instance_id"] == env["CF_INSTANCE_GUID"] == guid
    assert (application["name"], application["instance_index"], application["port"]) == (
        "app",
        0,
        8080,
    )
    world.bbs(lambda client: client.remove_desired(app))
    wait_for(lambda: not world.rows(), 30, "gone")
    said = [line.split(" ", 3)[3] for line in world.log(app).splitlines() if "[CELL/" in line]
    assert said == [
        f"[CELL/0] Cell cell-1 creating container for instance {guid}",
        f"[CELL/0] Cell cell-1 successfully created container for instance {guid}",
        "[CELL/0] Starting health monitoring of container",
        "[CELL/0] Container became healthy",
        f"[CELL/0] Cell cell-1 stopping instance {guid}",
        f"[CELL/0] Cell cell-1 destroying container for instance {guid}",
        f"[CELL/0] Cell cell-1 successfully destroyed container for instance {guid}",
    ]
    assert "[APP/PROC/WEB/0] Exit status 143" in world.log(app)


@pytest.mark.parametrize(
    ("command", "failure"),
    [
        ("exec sleep 1000", "connection refused"),
        (python(LISTEN.format("127.0.0.1")), "connection refused"),
    ],
    ids=["nothing", "loopback"],
)
def test_what_does_not_listen_is_never_healthy(
    world: World, app: str, command: str, failure: str
) -> None:
    world.desire(app, command=command, start_timeout_ms=1500)
    lrp = crashed(world, app)
    text = f"Failed to make TCP connection to port 8080: {failure}"
    assert lrp.crash_reason.startswith("Instance never healthy after 1.")
    assert lrp.crash_reason.endswith(text)
    log = world.log(app)
    assert f"stderr F [HEALTH/0] {text}" in log
    assert "startup health check never passed." in log
    assert "Container became healthy" not in log


def test_without_a_check_an_instance_runs_once_it_is_started(world: World, app: str) -> None:
    world.desire(app, command="exec sleep 1000", check_definition=None)
    world.running(app, seconds=10)
    assert "health" not in world.log(app)


@pytest.mark.parametrize(
    ("path", "failure"),
    [
        ("/health", "received status code 500 in "),
        ("/hang", "timed out after 0.50 seconds"),
    ],
    ids=["errors", "hangs"],
)
def test_an_instance_that_falls_ill_is_replaced(
    world: World, app: str, path: str, failure: str
) -> None:
    world.desire(app, check_definition=http_check(path, 500))
    (lrp,) = world.running(app)
    port = lrp.actual_lrp_net_info.ports[0].host_port
    assert not [a for a in world.actual(app) if a.crash_count]
    world.get(CELL, port, path="/sick")
    lrp = crashed(world, app)
    text = f"Failed to make HTTP request to '{path}' on port 8080: {failure}"
    assert lrp.crash_reason.startswith(f"Instance became unhealthy: {text}")
    world.running(app)
    log = world.log(app)
    assert f"[HEALTH/0] {text}" in log and "[CELL/0] Container became unhealthy" in log


def test_an_http_check_of_what_is_no_http_or_not_there_fails(world: World, app: str) -> None:
    echo = "import socket; s = socket.create_server(('', 8080))\nwhile True: s.accept()[0].close()"
    check = http_check("/nowhere")
    world.desire(app, command=python(echo), check_definition=check, start_timeout_ms=1000)
    reason = crashed(world, app).crash_reason
    assert "HTTP request to '/nowhere' on port 8080: " in reason
    assert reason.endswith(("EOF", "connection reset by peer"))


@pytest.mark.parametrize(
    ("command", "status"),
    [
        (python(LEAK), "137 (out of memory)"),
        ("exit 3", "3"),
        ("exit 0", "0"),
        ("no-such-program", "127"),
        ("kill -9 $$", "137"),
    ],
    ids=["leaks", "fails", "ends", "missing", "killed"],
)
def test_an_app_that_ends_is_a_crash_that_says_how(
    world: World, app: str, command: str, status: str
) -> None:
    world.desire(app, command=command, memory_mb=64)
    assert crashed(world, app).crash_reason == f"APP/PROC/WEB: Exited with status {status}"
    wait_for(lambda: f"stdout F [APP/PROC/WEB/0] Exit status {status}\n" in world.log(app), 5)


def test_an_app_without_a_command_says_so(world: World, app: str) -> None:
    world.desire(app, command="")
    text = "/tmp/lifecycle/launcher: no start command specified or detected in droplet"
    assert crashed(world, app).crash_reason == text


def test_limits_of_processes_and_of_files_hold(world: World, app: str) -> None:
    big = "head -c 9000000 /dev/zero > big; echo wrote=$(stat -c %s big);"
    world.desire(app, command=big + python(FORK), disk_mb=8, max_pids=24)
    wait_for(lambda: "forks=" in world.log(app), 20, "the forks")
    assert f"wrote={8 << 20}\n" in world.log(app)
    assert 10 < int(world.log(app).partition("forks=")[2].split()[0]) < 24


def test_who_ignores_sigterm_is_killed_after_ten_seconds(world: World, app: str) -> None:
    world.desire(app, command="exec python3 app.py deaf")
    world.running(app)
    world.bbs(lambda client: client.remove_desired(app))
    wait_for(lambda: not world.rows(), 30, "gone")
    text = "[APP/PROC/WEB/0] Exit status 137 (exceeded 10s graceful shutdown interval)"
    assert text in world.log(app)


def test_an_instance_that_is_not_ready_runs_on_and_is_said_not_to_be_routable(
    world: World, app: str
) -> None:
    check = pb.HTTPCheck(port=8080, path="/health", interval_ms=200)
    definition = pb.CheckDefinition(
        readiness_checks=[pb.Check(http_check=check)], log_source="HEALTH"
    )
    world.desire(app, check_definition=definition)

    def routable(wanted: bool) -> bool:
        lrps = world.actual(app)
        return [(one.state, one.routable) for one in lrps] == [("RUNNING", wanted)]

    wait_for(lambda: routable(True), 20, "ready")
    (lrp,) = world.actual(app)
    port = lrp.actual_lrp_net_info.ports[0].host_port
    assert world.get(CELL, port, path="/sick")
    wait_for(lambda: routable(False), 10, "not ready")
    # It serves whoever comes, and an agent that is restarted makes it neither ready nor new.
    agent = world.daemons["cell"]
    agent.kill()
    agent.start()
    wait_for(lambda: world.rows(), 10, "adopted")
    assert routable(False)
    assert world.get(CELL, port, path="/well")
    wait_for(lambda: routable(True), 10, "ready again")
    (after,) = world.actual(app)
    assert after.actual_lrp_instance_key == lrp.actual_lrp_instance_key and not after.crash_count
    said = world.log(app)
    assert "[HEALTH/0] Failed to make HTTP request to '/health' on port 8080: received" in said
    assert (
        "[CELL/0] Container failed the readiness health check. Container marked not ready" in said
    )
