"""Waiting for an app's instances: when all is well, and when there is no point in waiting on."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from meshnet.model.errors import InputError, PeerError
from meshnet.model.patience import patient

# What finds no cell for so long, while nothing else starts, is not going to.
SETTLED_SECONDS = 3.0


class NotStarted(PeerError):
    """Instances crash, or do not come to run in time; the text says which and why."""


class NotPlaced(NotStarted):
    """Some instances find no cell; the others run."""


class Progress:
    """Judges an app's instances, look by look.

    Args:
        patience: seconds in which something has to change.
        first_crash: a crash is the end though what crashed is on its way again: it is so quickly
            that the state between is hardly ever seen.
    """

    def __init__(
        self,
        patience: float,
        now: Callable[[], float] = time.monotonic,
        *,
        first_crash: bool = False,
    ) -> None:
        self._patience, self._now, self._first_crash = patience, now, first_crash
        self._last: tuple[str, ...] = ()
        self._since = now()

    def over(self) -> bool:
        """Whether nothing has changed for too long."""
        return self._now() - self._since > self._patience

    def judge(self, rows: Sequence[dict[str, Any]]) -> bool:
        """Whether every instance runs.

        Raises:
            NotPlaced: what does not run finds no cell.
            NotStarted: an instance crashed, or nothing changes any longer.
        """
        states = tuple(row["state"] for row in rows)
        if states != self._last:
            self._last, self._since = states, self._now()
        running = states.count("RUNNING")
        if running == len(rows):
            return True
        if row := crashed(rows, again=self._first_crash):
            raise NotStarted(f"Start unsuccessful: {crash(row)}")
        waiting = [row for row in rows if row["state"] == "DOWN" and row["details"]]
        settled = self._now() - self._since > patient(SETTLED_SECONDS)
        if settled and waiting and len(waiting) + running == len(rows):
            raise NotPlaced(not_placed(waiting, running, len(rows)))
        if self.over():
            details = next((row["details"] for row in rows if row["details"]), "")
            raise NotStarted(f"Start app timeout: {running} of {len(rows)} run. {details}".rstrip())
        return False


class Rollout:
    """Judges a rolling deployment, look by look.

    Args:
        patience: seconds in which something has to change.
    """

    def __init__(self, patience: float, now: Callable[[], float] = time.monotonic) -> None:
        self._patience, self._now = patience, now
        self._last, self._since = "", now()

    def judge(
        self, status: Mapping[str, Any], new: Sequence[dict[str, Any]], old: int
    ) -> tuple[bool, str]:
        """Whether it is over, and how far it is: "" where that is as far as at the last look.

        Args:
            status: the deployment's, as the API shows it.
            new: the instances that come.
            old: how many of those that go still run.

        Raises:
            NotStarted: what comes crashes, or nothing changes any longer.
            InputError: somebody cancelled it, or began another one.
        """
        if status["value"] == "FINALIZED":
            if status["reason"] != "DEPLOYED":
                raise InputError(f"the deployment was {status['reason'].lower()}")
            return True, ""
        if status["reason"] == "DEPLOYING" and (row := crashed(new, again=True)):
            raise NotStarted(f"Start unsuccessful: new {crash(row)}")
        running = sum(row["state"] == "RUNNING" for row in new)
        text = f"{status['reason'].lower()}: {running}/{len(new)} new running, {old} old left"
        if text != self._last:
            self._last, self._since = text, self._now()
            return False, text
        if self._now() - self._since > self._patience:
            raise NotStarted(f"Start app timeout: {text}")
        return False, ""


def crashed(rows: Sequence[dict[str, Any]], *, again: bool) -> dict[str, Any] | None:
    """An instance that crashed; with `again` also one that is on its way again since."""
    states = ("CRASHED", "STARTING") if again else ("CRASHED",)
    told = (row for row in rows if row["state"] in states)
    return next((r for r in told if r["state"] == "CRASHED" or r["details"]), None)


def crash(row: dict[str, Any]) -> str:
    """Which instance crashed, and why."""
    return f"instance {row['index']} crashed: {row['details'] or 'no reason given'}"


def not_placed(waiting: Sequence[dict[str, Any]], running: int, wanted: int) -> str:
    """One line: how many run, which do not, and why."""
    which = ranges(row["index"] for row in waiting)
    reasons = ", ".join(sorted({row["details"] for row in waiting}))
    noun = "instance" if len(waiting) == 1 else "instances"
    return f"{running} of {wanted} run; {noun} {which}: {reasons}"


def ranges(numbers: Iterable[int]) -> str:
    """Ascending numbers as people write them: 1, 3-5."""
    found: list[list[int]] = []
    for number in sorted(numbers):
        if found and number == found[-1][1] + 1:
            found[-1][1] = number
        else:
            found.append([number, number])
    return ", ".join(f"{a}" if a == b else f"{a}-{b}" for a, b in found)
