"""SIGSTOP of anything: a daemon that takes what it is sent and says nothing, unlike a dead one."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator

import pytest

from netns_lab import status
from netns_lab.stage import APPS, COMMAND, EXTERNAL, Stage
from netns_lab.traffic import Load

from .test_faults import daemons, in_step
from .test_policy import wait

pytestmark = pytest.mark.sudo

STALL_SECONDS = 6.0
# What an app's request may take, a name to resolve included: its resolver gives up after 5 s.
SLOW_SECONDS = 3.0
GONE_SECONDS = 30.0
PILOTS = ("control.pilot", "cell-1.pilot", "cell-2.pilot")


@contextlib.contextmanager
def stopped(stage: Stage, *names: str) -> Iterator[None]:
    found = daemons(stage)
    pids = [int(str(found[name]["pid"])) for name in names]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


@pytest.mark.parametrize(
    "names",
    [
        ("control.copilot",),
        ("control.bbs",),
        ("control.policy", "cell-1.policy-agent", "cell-2.policy-agent"),
        PILOTS,
        ("cell-1.cell", "cell-2.cell"),
        ("lb.lb",),
    ],
    ids="+".join,
)
def test_a_stopped_daemon_fails_no_request(stage: Stage, names: tuple[str, ...]) -> None:
    wait(lambda: in_step(stage), 15)
    stage.until(stage.via_frontend("backend"), lambda code: code == 200)
    instances = {row["guid"] for row in status.instances(stage.paths)}
    with (
        Load(stage.outside, stage.via_frontend("backend"), batch=5) as inside,
        Load(stage.outside, f"http://hello.{EXTERNAL}/", batch=5) as outside,
    ):
        with stopped(stage, *names):
            before, end = len(inside.so_far()), time.monotonic() + STALL_SECONDS
            wait(lambda: time.monotonic() > end, STALL_SECONDS + 1)
            assert len(inside.so_far()) > before
        wait(lambda: in_step(stage), 15)
        replies = [*inside.stop(), *outside.stop()]
    assert [r for r in replies if r.status != 200 or r.seconds > SLOW_SECONDS] == []
    assert {row["guid"] for row in status.instances(stage.paths)} == instances


def test_a_stopped_router_is_left_out_until_it_answers(stage: Stage) -> None:
    def routers() -> int:
        (balancer,) = status.collect(stage.paths)["lb"].values()
        return len(balancer["routers"])

    wait(lambda: routers() == 2, 10)
    with stopped(stage, "router-1.ingress"):
        wait(lambda: routers() == 1, 15)
        replies = stage.outside.get(f"http://hello.{EXTERNAL}/", times=20, timeout=5)
        assert [r for r in replies if r.status != 200] == []
    wait(lambda: routers() == 2, 10)


def test_who_has_not_heard_of_an_instances_end_never_reaches_another_app(stage: Stage) -> None:
    client, url = stage.client, f"http://apart.{EXTERNAL}/"

    def push(name: str) -> str:
        env = {"GREETING": name}
        app = client.push(name, APPS / "hello", COMMAND, memory_mb=32, env=env, instances=1)
        return str(app["guid"])

    mine, others = push("apart"), [push("next-1"), push("next-2")]
    try:
        client.act(mine, "start")
        client.map_route(mine, EXTERNAL, "apart")
        client.wait_running(mine)
        stage.until(url, lambda code: code == 200)
        with stopped(stage, "control.pilot"):  # the routers'
            client.act(mine, "stop")
            wait(
                lambda: all(r["app_guid"] != mine for r in status.instances(stage.paths)),
                GONE_SECONDS,
            )
            for other in others:
                client.act(other, "start")
                client.wait_running(other)
            answers = stage.outside.get(url, times=5, timeout=5)
        assert [r.body for r in answers if r.status == 200] == []
    finally:
        for guid in (mine, *others):
            client.delete_app(guid)
        client.delete_route(client.route(EXTERNAL, "apart")["guid"])
