"""`kill -9` of anything: requests go on, and what died is back and in step within 5 s."""

from __future__ import annotations

import os
import signal
import time
from contextlib import ExitStack

import pytest

from netns_lab import status
from netns_lab.stage import EXTERNAL, SAMPLES, Stage
from netns_lab.traffic import Load

from .test_policy import dial, in_app, wait

pytestmark = pytest.mark.sudo

BACK_WITHIN_SECONDS = 5.0
_WANTED = sum(sample.instances for sample in SAMPLES)
BIND = "import socket; socket.socket().bind(('127.0.0.1', 15001))"


def daemons(stage: Stage) -> dict[str, dict[str, object]]:
    return {d["name"]: d for d in status.collect(stage.paths)["daemons"]}


def are_back(stage: Stage, killed: dict[str, object]) -> bool:
    """Whether each of these is ready as another process."""
    rows = daemons(stage)  # one look: by a second one the killed may be gone, the next not ready
    return all(rows[name]["ready"] and rows[name]["pid"] != pid for name, pid in killed.items())


def in_step(stage: Stage, least: int = 9) -> bool:
    pilots = status.collect(stage.paths)["pilots"].values()
    proxies = [p for pilot in pilots if pilot for p in pilot["proxies"]]
    return len(proxies) >= least and all(pilots) and all(p["in_step"] for p in proxies)


@pytest.mark.parametrize(
    "names",
    [
        ("control.pilot", "cell-1.pilot", "cell-2.pilot"),
        ("control.copilot",),
        ("control.bbs",),
        ("control.capi",),
        ("control.policy",),
        ("cell-1.cell",),
        ("cell-2.cell", "cell-2.policy-agent"),
        ("lb.lb",),
        ("control.dns", "cell-1.dns", "cell-2.dns"),
    ],
    ids="+".join,
)
def test_a_killed_daemon_fails_no_request_and_is_back(stage: Stage, names: tuple[str, ...]) -> None:
    wait(lambda: in_step(stage) and len(status.instances(stage.paths)) == _WANTED, 15)
    before = daemons(stage)
    instances = {row["guid"] for row in status.instances(stage.paths)}
    with (
        Load(stage.outside, stage.via_frontend("backend")) as inside,
        Load(stage.outside, f"http://hello.{EXTERNAL}/") as outside,
    ):
        wait(lambda: len(inside.so_far()) >= 20 and len(outside.so_far()) >= 20)
        for name in names:
            os.kill(int(str(before[name]["pid"])), signal.SIGKILL)
        killed = time.monotonic()
        wait(
            lambda: are_back(stage, {n: before[n]["pid"] for n in names}) and in_step(stage),
            BACK_WITHIN_SECONDS,
        )
        assert time.monotonic() - killed < BACK_WITHIN_SECONDS
        replies = [*inside.stop(), *outside.stop()]
    assert [r for r in replies if r.status != 200] == []
    assert {row["guid"] for row in status.instances(stage.paths)} == instances
    assert all(p["rejected"] == 0 for p in _proxies(stage))


def _proxies(stage: Stage) -> list[dict[str, object]]:
    pilots = status.collect(stage.paths)["pilots"].values()
    return [p for pilot in pilots for p in pilot["proxies"]]


def test_with_its_sidecar_dead_an_app_reaches_no_vip_and_cannot_take_its_place(
    stage: Stage,
) -> None:
    row = stage.instances("frontend")[0]
    vip = in_app(stage, "frontend", "getent", "ahostsv4", "backend.istio.apps.internal")
    address = vip.stdout.split()[0]
    agent = int(str(daemons(stage)[f"{row['cell']}.cell"]["pid"]))
    os.kill(agent, signal.SIGSTOP)  # it would start another at once
    try:
        os.kill(row["sidecar_pid"], signal.SIGKILL)
        line = ("python3", "-c")
        from meshnet.kernel import launch

        def run(*command: str) -> str:
            import subprocess

            argv = launch.argv(command, container_pid=row["app_pid"], uid=row["uid"])
            done = subprocess.run(argv, capture_output=True, text=True, timeout=20)
            return done.stderr

        from .test_policy import CONNECT

        def refused() -> bool:
            return "ConnectionRefusedError" in run(*line, CONNECT, address, "8080")

        wait(refused)
        assert "PermissionError" in run(*line, BIND)
    finally:
        os.kill(agent, signal.SIGCONT)

    stage.until(stage.via_frontend("backend"), lambda code: code == 200, 15)
    (after,) = stage.instances("frontend")
    assert after["sidecar_pid"] != row["sidecar_pid"] and after["guid"] == row["guid"]
    assert in_app(stage, "frontend", "getent", "ahostsv4", "backend.istio.apps.internal").stdout


@pytest.mark.parametrize("app", ["hello", "backend", "frontend"])
def test_a_killed_sidecar_costs_what_is_in_flight_and_comes_back(stage: Stage, app: str) -> None:
    """`hello` is reached by ingress, `backend` by another app; `frontend` has one instance only."""
    wait(lambda: in_step(stage) and len(status.instances(stage.paths)) == _WANTED, 15)
    alone = app == "frontend"
    url = f"http://hello.{EXTERNAL}/" if app == "hello" else stage.via_frontend("backend")
    row = stage.instances(app)[0]
    with ExitStack() as stack:
        loads = [stack.enter_context(Load(stage.outside, url)) for _ in range(3)]
        wait(lambda: all(len(load.so_far()) >= 20 for load in loads))
        began = time.monotonic()
        os.kill(row["sidecar_pid"], signal.SIGKILL)

        def back() -> bool:
            now = next(r for r in stage.instances(app) if r["guid"] == row["guid"])
            return now["sidecar_pid"] not in (0, row["sidecar_pid"]) and in_step(stage)

        wait(back, 5)
        took, so_far = time.monotonic() - began, [len(load.so_far()) for load in loads]
        wait(lambda: all(len(o.so_far()) >= n + 40 for o, n in zip(loads, so_far, strict=True)))
        replies = [load.stop() for load in loads]
    failed = [reply.status for one in replies for reply in one if reply.status != 200]
    print(f"{app}: {len(failed)} of {sum(map(len, replies))} failed, back after {took:.2f} s")
    # Where others serve, each client loses what it had under way, at most.
    assert alone or len(failed) <= len(loads), failed
    assert all(reply.status == 200 for one in replies for reply in one[-20:])
    (after,) = (r for r in stage.instances(app) if r["index"] == row["index"])
    assert (after["guid"], after["app_pid"]) == (row["guid"], row["app_pid"])


def test_a_crashed_app_is_started_again(stage: Stage) -> None:
    row = stage.instances("flaky")[0]
    os.kill(row["app_pid"], signal.SIGKILL)
    wait(
        lambda: (
            [r["guid"] for r in stage.instances("flaky") if r["state"] == "RUNNING"]
            not in ([], [row["guid"]])
        ),
        30,
    )
    stage.until(stage.via_frontend("flaky"), lambda code: code == 200)


def test_a_stopped_app_gives_503_and_an_unmapped_route_404(stage: Stage) -> None:
    client, guid, url = stage.client, stage.guids["hola"], f"http://hello.{EXTERNAL}/hola"
    client.act(guid, "stop")
    stage.until(url, lambda code: code == 503)
    client.act(guid, "start")
    client.wait_running(guid)
    stage.until(url, lambda code: code == 200)
    client.map_route(guid, EXTERNAL, "passing")
    stage.until(f"http://passing.{EXTERNAL}/", lambda code: code == 200)
    client.unmap_route(guid, EXTERNAL, "passing")
    stage.until(f"http://passing.{EXTERNAL}/", lambda code: code == 404)
    for host in (f"nobody.{EXTERNAL}", "backend.istio.apps.internal"):
        asked = stage.outside.argv(
            ["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "-H", f"Host: {host}",
             f"http://{status.lab(stage.paths)['ingress']}/"]
        )  # fmt: skip
        import subprocess

        assert subprocess.run(asked, capture_output=True, text=True).stdout == "404"
    assert dial(stage, "127.128.0.99", 8080).endswith("404 Not Found")


def test_instances_of_a_silent_cell_run_elsewhere_and_no_request_fails(stage: Stage) -> None:
    """Its agent is stopped for longer than its presence lasts; what it ran serves on meanwhile."""
    wait(lambda: in_step(stage) and len(status.instances(stage.paths)) == _WANTED, 15)
    silent = stage.instances("frontend")[0]["cell"]
    agent = int(str(daemons(stage)[f"{silent}.cell"]["pid"]))

    def elsewhere() -> bool:
        rows = [row for row in status.instances(stage.paths) if row["cell"] != silent]
        return len([row for row in rows if row["state"] == "RUNNING"]) == _WANTED

    with (
        Load(stage.outside, stage.via_frontend("backend")) as inside,
        Load(stage.outside, f"http://hello.{EXTERNAL}/") as outside,
    ):
        os.kill(agent, signal.SIGSTOP)
        try:
            wait(elsewhere, 45)
        finally:
            os.kill(agent, signal.SIGCONT)
        # It is back, and hears that what it ran was replaced.
        wait(lambda: len(status.instances(stage.paths)) == _WANTED and in_step(stage), 30)
        replies = [*inside.stop(), *outside.stop()]
    _spread_anew(stage)
    assert [r for r in replies if r.status != 200] == []


def _spread_anew(stage: Stage) -> None:
    """Nothing moves back by itself, and other tests want both cells in use."""
    for guid in stage.guids.values():
        stage.client.act(guid, "restart")
    for guid in stage.guids.values():
        stage.client.wait_running(guid)
    wait(lambda: len(status.instances(stage.paths)) == _WANTED and in_step(stage), 30)
    stage.until(stage.via_frontend("backend"), lambda code: code == 200)
