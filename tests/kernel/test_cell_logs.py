"""Logs and metrics of instances as log-cache gets them, whatever is killed in between."""

from __future__ import annotations

import os
import shlex
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from cell_world import World, wait_for

pytestmark = [pytest.mark.sudo, pytest.mark.timeout(180)]
COUNT = """
import itertools, threading, time
def count():
    for i in itertools.count():
        print("line", i, flush=True)
        time.sleep(0.02)
threading.Thread(target=count, daemon=True).start()
import http.server as h
h.test(h.SimpleHTTPRequestHandler, port=8080, bind="0.0.0.0")
"""
BURN = """
import threading, time
x = bytearray(40 << 20)
open("big", "wb").write(b"x" * (4 << 20))
def burn():
    while True: pass
threading.Thread(target=burn, daemon=True).start()
import http.server as h
h.test(h.SimpleHTTPRequestHandler, port=8080, bind="0.0.0.0")
"""
FILL = """
import time
for i in range(100):
    open(str(i), "wb").write(b"x" * (1 << 20))
    time.sleep(0.05)
import http.server as h
h.test(h.SimpleHTTPRequestHandler, port=8080, bind="0.0.0.0")
"""


def python(source: str) -> str:
    return f"exec python3 -c {shlex.quote(source)}"


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    made = World(f"cl{os.getpid() % 100000}")
    made.agent()
    yield made
    made.close()


def gone(world: World, app: str) -> None:
    world.bbs(lambda client: client.remove_desired(app))
    wait_for(lambda: not world.rows(), 30, "its instances gone")


def counted(world: World, app: str) -> list[str]:
    return [line for line in world.said(app) if line.startswith("[APP/PROC/WEB/0] OUT line ")]


def test_no_line_is_lost_or_said_twice_when_the_agent_dies(world: World) -> None:
    agent = world.daemons["cell"]
    world.desire("count", command=python(COUNT))
    world.running("count")
    for number in (signal.SIGKILL, signal.SIGTERM, signal.SIGKILL):
        before = len(counted(world, "count"))
        wait_for(lambda before=before: len(counted(world, "count")) > before + 30, 20, "lines")
        agent.kill(number)
        agent.start()
    before = len(counted(world, "count"))
    wait_for(lambda: len(counted(world, "count")) > before + 30, 20, "lines")
    found = counted(world, "count")
    assert found == [f"[APP/PROC/WEB/0] OUT line {i}" for i in range(len(found))]
    gone(world, "count")
    wait_for(lambda: any("successfully destroyed" in t for t in world.said("count")), 10, "its end")
    said = [line for line in world.said("count") if line.startswith("[CELL/0]")]
    assert "[CELL/0] OUT Container became healthy" in said
    (end,) = [t for t in world.said("count") if "Exit status" in t]
    assert end == "[APP/PROC/WEB/0] OUT Exit status 143"


def test_lines_written_while_log_cache_is_away_arrive_when_it_is_back(world: World) -> None:
    world.daemons["logcache"].kill()
    world.desire("away", command="echo one; echo two >&2; exec python3 app.py")
    world.running("away")
    world.daemons["logcache"].start()
    wait_for(lambda: "[APP/PROC/WEB/0] OUT serving" in world.said("away"), 20, "its lines")
    said = world.said("away")
    assert said.count("[APP/PROC/WEB/0] OUT one") == 1
    assert said.count("[APP/PROC/WEB/0] ERR two") == 1
    one = world.envelopes("away")[0]
    assert one.tags["process_type"] == "web" and one.tags["cell_id"] == "cell-1"
    gone(world, "away")


def test_metrics_say_what_an_instance_uses(world: World) -> None:
    world.desire("burn", command=python(BURN), memory_mb=128, disk_mb=256)
    (lrp,) = world.running("burn")

    def burning() -> object:
        found = world.envelopes("burn", "GAUGE")
        metrics = {k: m.value for k, m in found[-1].gauge.metrics.items()} if found else {}
        return metrics if metrics.get("cpu", 0) > 20 else None

    metrics = wait_for(burning, 30, "its CPU")
    assert isinstance(metrics, dict)
    assert 40 << 20 < metrics["memory"] < 128 << 20
    assert 4 << 20 < metrics["disk"] < 16 << 20
    assert (metrics["memory_quota"], metrics["disk_quota"]) == (128 << 20, 256 << 20)
    newest = world.envelopes("burn", "GAUGE")[-1]
    assert newest.tags["process_instance_id"] == lrp.actual_lrp_instance_key.instance_guid
    assert time.time_ns() - newest.timestamp < 20_000_000_000
    gone(world, "burn")


def test_who_uses_more_disk_than_it_may_is_ended(world: World) -> None:
    world.desire("fill", command=python(FILL), disk_mb=32)
    lrp = wait_for(
        lambda: next((a for a in world.actual("fill") if a.crash_count), None), 40, "a crash"
    )
    assert lrp.crash_reason == "disk quota of 32M exceeded"
    wait_for(lambda: "[CELL/0] ERR disk quota of 32M exceeded" in world.said("fill"), 10, "said")
    gone(world, "fill")
