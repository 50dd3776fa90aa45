"""When waiting for instances has an end, and what is said then."""

from __future__ import annotations

import pytest

from meshnet.cli.waiting import SETTLED_SECONDS, NotPlaced, NotStarted, Progress, Rollout, ranges
from meshnet.model.errors import InputError, PeerError

FULL = "insufficient resources: containers"


def rows(*states: str, details: str | None = None) -> list[dict[str, object]]:
    return [
        {"index": i, "state": s, "details": details if s in ("DOWN", "CRASHED") else None}
        for i, s in enumerate(states)
    ]


class Clock:
    def __init__(self) -> None:
        self.time = 0.0

    def __call__(self) -> float:
        return self.time


def test_all_running_is_the_end() -> None:
    progress = Progress(60)
    assert not progress.judge(rows("RUNNING", "STARTING"))
    assert progress.judge(rows("RUNNING", "RUNNING"))
    assert progress.judge([])  # of no instances all run


def test_what_no_cell_takes_is_named_once_the_rest_has_settled() -> None:
    clock = Clock()
    progress = Progress(60, clock)
    assert not progress.judge(rows("STARTING", "DOWN", "DOWN", details=FULL))
    clock.time += SETTLED_SECONDS + 1
    assert not progress.judge(rows("STARTING", "DOWN", "DOWN", details=FULL))  # one still starts
    assert not progress.judge(rows("RUNNING", "DOWN", "DOWN", details=FULL))  # only just
    clock.time += SETTLED_SECONDS + 1
    with pytest.raises(NotPlaced, match=f"^1 of 3 run; instances 1-2: {FULL}$"):
        progress.judge(rows("RUNNING", "DOWN", "DOWN", details=FULL))


def test_down_without_a_reason_is_waited_for() -> None:
    clock = Clock()
    progress = Progress(60, clock)
    progress.judge(rows("RUNNING", "DOWN"))
    clock.time += 50
    assert not progress.judge(rows("RUNNING", "DOWN"))


def test_patience_starts_over_with_each_change() -> None:
    clock = Clock()
    progress = Progress(60, clock)
    for running in range(5):
        clock.time += 50
        assert not progress.judge(rows(*["RUNNING"] * running, "STARTING"))
    clock.time += 61
    with pytest.raises(PeerError, match=r"Start app timeout: 4 of 5 run\.$"):
        progress.judge(rows(*["RUNNING"] * 4, "STARTING"))


def test_a_crash_is_told_at_once() -> None:
    with pytest.raises(PeerError, match="instance 1 crashed: exit status 7"):
        Progress(60).judge(rows("RUNNING", "CRASHED", details="exit status 7"))


def test_ranges() -> None:
    assert ranges([]) == "" and ranges([7]) == "7"
    assert ranges([5, 1, 3, 4]) == "1, 3-5"


def test_what_crashed_and_is_on_its_way_again_is_a_crash_to_who_asks_for_the_first() -> None:
    again = [{"index": 0, "state": "STARTING", "details": "exit status 7"}]
    assert not Progress(60).judge(again)
    with pytest.raises(NotStarted, match="instance 0 crashed: exit status 7"):
        Progress(60, first_crash=True).judge(again)


DEPLOYING = {"value": "ACTIVE", "reason": "DEPLOYING"}


def test_a_rollout_is_told_once_a_step_until_it_is_over() -> None:
    rollout = Rollout(60)
    text = "deploying: 0/1 new running, 2 old left"
    assert rollout.judge(DEPLOYING, rows("STARTING"), 2) == (False, text)
    assert rollout.judge(DEPLOYING, rows("STARTING"), 2) == (False, "")
    assert rollout.judge(DEPLOYING, rows("RUNNING", "STARTING"), 1)[1].endswith("1 old left")
    assert rollout.judge({"value": "FINALIZED", "reason": "DEPLOYED"}, [], 0) == (True, "")


def test_a_rollout_ends_with_a_crash_a_cancellation_or_when_nothing_changes() -> None:
    clock = Clock()
    rollout = Rollout(60, clock)
    with pytest.raises(NotStarted, match="new instance 0 crashed: boom"):
        rollout.judge(DEPLOYING, rows("CRASHED", details="boom"), 1)
    canceling = {"value": "ACTIVE", "reason": "CANCELING"}
    assert not rollout.judge(canceling, rows("CRASHED", details="boom"), 1)[0]
    with pytest.raises(InputError, match="the deployment was canceled"):
        rollout.judge({"value": "FINALIZED", "reason": "CANCELED"}, [], 0)
    rollout.judge(DEPLOYING, rows("STARTING"), 1)
    clock.time += 61
    with pytest.raises(NotStarted, match="Start app timeout: deploying: 0/1 new"):
        rollout.judge(DEPLOYING, rows("STARTING"), 1)
