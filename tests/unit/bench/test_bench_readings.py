"""What a sample reads: wrk, pace, cgroups, the machine; and the way that requests took."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from meshnet.bench import loads, machine, meter
from meshnet.bench.loads import read_wrk
from meshnet.bench.plan import VARIANTS, Cell
from meshnet.bench.sample import check_way
from meshnet.model.errors import PlatformError

WRK = """Running 2s test @ http://x:8080/
  1 threads and 32 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency   237.60us  302.80us   4.43ms   97.57%
  Latency Distribution
     50%  174.00us
     75%  261.00us
     90%  358.00us
     99%    1.57ms
  95279 requests in 2.10s, 6.09MB read
  Socket errors: connect 0, read 3, write 0, timeout 1
  Non-2xx or 3xx responses: 5
Requests/sec:  45370.95
"""
CELL, NEW = Cell("same cell", "keep-alive", 32), Cell("same cell", "new", 32)


class FakeWorld:
    """Answers any command with one text."""

    def __init__(self, text: str, status: int = 0) -> None:
        self.text, self.status, self.ran = text, status, list[list[str]]()

    def url(self, place: str) -> str:
        return "http://a.b:8080/"

    def run(self, command: list[str], timeout: float) -> subprocess.CompletedProcess[str]:
        self.ran.append(command)
        return subprocess.CompletedProcess(command, self.status, self.text, self.text)


def world(text: str, status: int = 0) -> Any:
    return FakeWorld(text, status)


def test_wrks_words_are_read() -> None:
    told = read_wrk(WRK)
    assert (told.count, told.seconds) == (95279, 2.1)
    assert (told.p50_us, told.p99_us, told.errors) == (174.0, 1570.0, 9)
    minute = read_wrk(WRK.replace("requests in 2.10s", "requests in 1.50m"))
    assert minute.seconds == 90
    assert read_wrk(WRK.split("  Socket")[0]).errors == 0


@pytest.mark.parametrize("text", ["", "unable to connect", WRK.replace("99% ", "98% ")])
def test_other_words_are_not(text: str) -> None:
    with pytest.raises(PlatformError, match="nothing that is understood"):
        read_wrk(text)


def test_a_way_that_answers_nothing_or_mostly_errors_is_broken() -> None:
    with pytest.raises(PlatformError, match="no request was answered"):
        read_wrk(WRK.replace("95279 req", "0 req").replace("50%", "51%"))
    broken = WRK.replace("responses: 5", "responses: 90000")
    with pytest.raises(PlatformError, match="90004 of 95279 requests failed"):
        loads.wrk(world(broken), CELL, 2)
    assert loads.wrk(world(WRK), CELL, 2).errors == 9  # under 1 %
    with pytest.raises(PlatformError, match="wrk: no such host"):
        loads.wrk(world("no such host", status=1), CELL, 2)


def test_new_connections_are_asked_for() -> None:
    keep, new = world(WRK), world(WRK)
    loads.wrk(keep, CELL, 2)
    loads.wrk(new, NEW, 2)
    assert "Connection: close" not in keep.ran[0] and "Connection: close" in new.ran[0]
    paced = '{"sent": 10, "errors": 0}'
    keep, new = world(paced), world(paced)
    loads.pace(keep, CELL, 1000, 1.0)
    loads.pace(new, NEW, 1000, 1.0)
    assert keep.ran[0][1:] == ["a.b", "8080", "/", "1000", "32", "1.0"]
    assert new.ran[0][1:] == [*keep.ran[0][1:], "new"]


def test_a_paced_load_that_fails_counts_but_not_while_warming_up() -> None:
    bad = '{"sent": 100, "errors": 2}'
    with pytest.raises(PlatformError, match="2 of 100 requests failed"):
        loads.pace(world(bad), CELL, 1000, 1)
    assert loads.pace(world(bad), CELL, 1000, 1, strict=False)["errors"] == 2
    with pytest.raises(PlatformError, match="not understood"):
        loads.pace(world("?"), CELL, 1000, 1)
    with pytest.raises(PlatformError, match="pace: died"):
        loads.pace(world("died", status=2), CELL, 1000, 1)


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda v: v.name)
@pytest.mark.parametrize("count", [100, 300, 10_000, 150_000])
def test_figures_of_another_way_are_refused(variant: Any, count: int) -> None:
    told = loads.Told(count, 1.0, 1, 1, 0)
    idle, carrying = 5000.0, count * 60.0 if count > 1000 else count * 300.0
    names = ("client's proxy", "server's proxy")
    right = {n: carrying if on else idle for n, on in zip(names, variant.proxies, strict=True)}
    check_way(variant, right, told)
    for name in names:
        wrong = {**right, name: idle if right[name] > idle else carrying}
        with pytest.raises(PlatformError, match=f"{variant.name}: requests .* the {name}"):
            check_way(variant, wrong, told)


def test_what_is_spent_by_whom(tmp_path: Path) -> None:
    (tmp_path / "cpu.stat").write_text("usage_usec 5000\nuser_usec 1\nsystem_usec 2\n")
    assert meter.meter({"app": tmp_path}).us == {"app": 5000}
    with pytest.raises(PlatformError, match="is gone"):
        meter.meter({"app": tmp_path / "gone"})
    second = os.sysconf("SC_CLK_TCK")
    before = meter.Meter({"app": 1e6}, meter.Jiffies(0, 0, 0))
    after = meter.Meter({"app": 1.5e6}, meter.Jiffies(second, second // 2, 2 * second))
    spent = after.since(before)
    assert spent.us == {"app": 0.5e6}
    assert (spent.steal, spent.other) == (0.25, 0.25)  # a second of two, half a second is ours


def test_the_private_memory_of_a_program_and_of_none() -> None:
    assert meter.private_kib(os.getpid()) > 1000
    assert meter.private_kib(2**22 + 1) == 0


def test_the_machine_is_described(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "_envoy", lambda: "envoy-1")
    monkeypatch.setattr(machine, "_LOOK_SECONDS", 0.02)
    found = json.loads(json.dumps(machine.describe()))
    assert found["cores"] == os.cpu_count() and found["cpu"] and found["kernel"]
    assert 0 <= found["busy"] <= 1 and found["affinity"]
