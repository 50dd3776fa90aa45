"""When an instance is taken out of the routing, and back in."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from pathlib import Path

import pytest

from meshnet.cell import readiness
from meshnet.cell.journal import Journal
from meshnet.cell.process import Check, Process, process
from meshnet.cell.readiness import Readiness
from meshnet.model.errors import Conflict
from meshnet.wire.gen import bbs_pb2 as pb

ACTION = pb.Action(run_action=pb.RunAction(path="/x"))
CHECK = pb.Check(http_check=pb.HTTPCheck(port=8080, path="/ready", interval_ms=5))


def of(*checks: pb.Check) -> Process:
    definition = pb.CheckDefinition(readiness_checks=checks, log_source="HEALTH")
    return process(pb.DesiredLRP(process_guid="p", action=ACTION, check_definition=definition))


class Over(Exception):
    """The script of a test has ended."""


def followed(
    monkeypatch: pytest.MonkeyPatch, path: Path, first: bool, found: Iterable[str]
) -> list[bool]:
    """What is told while checks find one after the other: "" = passes."""
    script, told = iter(found), list[bool]()

    async def failure(checks: object, place: object) -> str:
        try:
            return next(script)
        except StopIteration:
            raise Over from None

    async def tell(ready: bool) -> None:
        told.append(ready)

    async def main() -> None:
        await Readiness(of(CHECK), ("n", "a"), Journal(path, 0)).follow(first, tell)

    monkeypatch.setattr(readiness, "first_failure", failure)
    monkeypatch.setattr(readiness, "CHECK_SECONDS", 0.001)
    with pytest.raises(Over):
        asyncio.run(main())
    return told


def test_what_a_desired_lrp_asks_of_readiness() -> None:
    assert of(CHECK).readiness == (Check(8080, "/ready", 1.0, 0.005),)
    assert of().readiness == () and of(CHECK).checks == ()


def test_an_instance_that_nobody_checks_is_neither_ready_nor_not(tmp_path: Path) -> None:
    one = Readiness(of(), ("n", "a"), Journal(tmp_path / "log", 0))

    async def never(ready: bool) -> None:
        raise AssertionError

    assert asyncio.run(one.now()) is None
    asyncio.run(one.follow(None, never))
    assert not (tmp_path / "log").exists()


@pytest.mark.parametrize(("found", "ready"), [([""], True), (["x", ""], True), (["x", "x"], False)])
def test_an_agent_that_is_restarted_takes_nobody_out_for_one_check_either(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, found: list[str], ready: bool
) -> None:
    script = iter(found)

    async def failure(checks: object, place: object) -> str:
        return next(script)

    monkeypatch.setattr(readiness, "first_failure", failure)
    one = Readiness(of(CHECK), ("n", "a"), Journal(tmp_path / "log", 0))
    assert asyncio.run(one.now()) is ready
    assert list(script) == []


@pytest.mark.parametrize(
    ("first", "found", "told"),
    [
        (False, ["x", "x", "", "", ""], [True]),
        (True, ["", "x", "", ""], []),  # once is not enough
        (True, ["x", "x", "x", ""], [False, True]),
        (True, ["x", "x", "", "y", "y"], [False, True, False]),
    ],
)
def test_changes_are_told_and_no_more(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    first: bool,
    found: list[str],
    told: list[bool],
) -> None:
    assert followed(monkeypatch, tmp_path / "log", first, found) == told
    said = (tmp_path / "log").read_text()
    ready = said.count("marked ready and added to route pool")
    assert (ready, said.count("marked not ready")) == (told.count(True) + first, told.count(False))
    assert said.count("[HEALTH/0] ") == told.count(False)
    assert "stdout F [CELL/0] Starting readiness health monitoring of container" in said


def test_what_bbs_answers_ends_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    async def passes(checks: object, place: object) -> str:
        return ""

    async def refuse(ready: bool) -> None:
        raise Conflict("not wanted any longer")

    monkeypatch.setattr(readiness, "first_failure", passes)
    monkeypatch.setattr(readiness, "CHECK_SECONDS", 0.001)
    one = Readiness(of(CHECK), ("n", "a"), Journal(tmp_path / "log", 0))
    with pytest.raises(Conflict):
        asyncio.run(one.follow(False, refuse))
