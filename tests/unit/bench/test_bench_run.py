"""The benchmark's run, with a world that is none: failures, interruption, what is kept."""

from __future__ import annotations

import json
import os
import signal
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from bench_parts import MACHINE, one

from meshnet.bench import machine, redirection, stage
from meshnet.bench.plan import VARIANTS, Cell, Variant
from meshnet.bench.progress import Progress
from meshnet.bench.stage import Interruption
from meshnet.model.errors import Conflict, PeerError, PlatformError

CELLS = (Cell("same cell", "keep-alive", 32), Cell("same cell", "keep-alive", 1))
OPTIONS = redirection.Options(CELLS, VARIANTS, rounds=4, seconds=1, seed=1)
Take = Callable[[Any, Cell, Variant, int, int], Any]


class FakeWorld:
    """Notes that it was closed; cannot open where told so."""

    fails = ""
    closed = 0

    def open(self, progress: object) -> None:
        if FakeWorld.fails:
            raise PeerError(FakeWorld.fails)

    def close(self) -> None:
        FakeWorld.closed += 1


@pytest.fixture(autouse=True)
def no_lab(monkeypatch: pytest.MonkeyPatch) -> None:
    FakeWorld.fails, FakeWorld.closed = "", 0
    monkeypatch.setattr(redirection, "World", FakeWorld)
    monkeypatch.setattr(stage, "PROGRAMS", ("sh",))
    monkeypatch.setattr(stage, "LOCK", f"\0meshnet-bench-test-{os.getpid()}")
    monkeypatch.setattr(machine, "describe", lambda: {**MACHINE, "busy": 0.0})


def good(world: Any, cell: Cell, variant: Variant, number: int, seconds: int) -> Any:
    return one(variant.name, number, 1000, cell.connections)


def run(monkeypatch: pytest.MonkeyPatch, take: Take, directory: Path) -> dict[str, Any]:
    monkeypatch.setattr(redirection, "take", take)
    return redirection.run(OPTIONS, directory)


def test_every_sample_is_taken_and_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    found = run(monkeypatch, good, tmp_path / "new" / "x")
    assert found["complete"] and not found["failed"] and FakeWorld.closed == 1
    assert len(found["samples"]) == 2 * 6 * 4
    assert json.loads((tmp_path / "new" / "x" / "result.json").read_text()) == json.loads(
        json.dumps(found)
    )


def test_a_way_that_cannot_run_is_left_out_there_and_the_rest_goes_on(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def take(world: Any, cell: Cell, variant: Variant, number: int, seconds: int) -> Any:
        if variant.name == "ebpf" and cell == CELLS[0]:
            raise PlatformError("no answer")
        return good(world, cell, variant, number, seconds)

    found = run(monkeypatch, take, tmp_path)
    kept = Counter((s["variant"], s["connections"]) for s in found["samples"])
    assert kept["ebpf", 32] == 0 and kept["ebpf", 1] == kept["kernel", 32] == 4
    assert [f["why"] for f in found["failed"]] == ["no answer"] * 2  # given up after two
    assert "keep-alive, 32 connections, ebpf failed: no answer" in capsys.readouterr().err


def test_one_failure_does_not_cost_the_way(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    tries: Counter[str] = Counter()

    def take(world: Any, cell: Cell, variant: Variant, number: int, seconds: int) -> Any:
        tries[variant.name] += 1
        if variant.name == "ebpf" and tries["ebpf"] == 1:
            raise PlatformError("a hiccup")
        return good(world, cell, variant, number, seconds)

    found = run(monkeypatch, take, tmp_path)
    assert len(found["samples"]) == 2 * 6 * 4 - 1 and len(found["failed"]) == 1


def test_where_nothing_works_it_ends_and_keeps_what_there_is(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def take(world: Any, cell: Cell, variant: Variant, number: int, seconds: int) -> Any:
        if cell == CELLS[1]:
            raise PeerError("the lab is gone")
        return good(world, cell, variant, number, seconds)

    with pytest.raises(PlatformError, match=r"nothing works any more, 12 .* the lab is gone"):
        run(monkeypatch, take, tmp_path)
    assert FakeWorld.closed == 1
    kept = json.loads((tmp_path / "result.json").read_text())
    assert len(kept["samples"]) == 24 and not kept["complete"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_it_once_and_what_was_measured_is_kept(
    number: signal.Signals, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    taken = 0
    before = signal.getsignal(number)

    def take(world: Any, cell: Cell, variant: Variant, round_: int, seconds: int) -> Any:
        nonlocal taken
        taken += 1
        if taken == 4:
            os.kill(os.getpid(), number)
        return good(world, cell, variant, round_, seconds)

    def close(self: FakeWorld) -> None:
        os.kill(os.getpid(), number)  # an impatient second one
        FakeWorld.closed += 1

    monkeypatch.setattr(FakeWorld, "close", close)
    found = run(monkeypatch, take, tmp_path)
    assert FakeWorld.closed == 1
    assert len(found["samples"]) == 3
    assert (found["complete"], found["ended"]) == (False, "interrupted")
    assert json.loads((tmp_path / "result.json").read_text())["ended"] == "interrupted"
    assert signal.getsignal(number) is before


def test_nohup_is_respected() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with Interruption():
            os.kill(os.getpid(), signal.SIGHUP)
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
            with pytest.raises(KeyboardInterrupt):
                os.kill(os.getpid(), signal.SIGINT)
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_lab_that_does_not_come_up_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    FakeWorld.fails = "no room"
    with pytest.raises(PeerError, match="no room"):
        run(monkeypatch, good, tmp_path / "x")
    assert FakeWorld.closed == 1 and not (tmp_path / "x").exists()


def test_two_at_a_time_are_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with stage._alone(), pytest.raises(Conflict, match=r"another .* runs here"):
        run(monkeypatch, good, tmp_path / "x")
    assert not (tmp_path / "x").exists()
    run(monkeypatch, good, tmp_path / "x")


def test_a_missing_program_or_directory_is_said_before_anything_is_made(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(PlatformError, match="cannot write"):
        run(monkeypatch, good, tmp_path / "file" / "x")
    monkeypatch.setattr(stage, "PROGRAMS", ("no-such-program",))
    with pytest.raises(PlatformError, match="no no-such-program: run `make set-up`"):
        run(monkeypatch, good, tmp_path / "x")
    assert FakeWorld.closed == 0


def test_a_busy_machine_is_said(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(machine, "describe", lambda: {**MACHINE, "busy": 0.6})
    run(monkeypatch, good, tmp_path)
    assert "others use 60% of this machine" in capsys.readouterr().err


def test_the_time_left_leaves_out_what_took_none(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = iter([0.0, 0.0, 10.0, 20.0])
    monkeypatch.setattr("meshnet.bench.progress.time.monotonic", lambda: next(clock))
    progress = Progress(20)
    progress.step("a")
    progress.step("b")
    progress.skip()
    progress.step("c")
    said = capsys.readouterr().err.splitlines()
    assert said == ["1/20  a", "2/20  b  (3 min left)", "4/20  c  (3 min left)"]
