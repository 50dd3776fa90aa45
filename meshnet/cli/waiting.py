"""Waiting for an app's instances: when all is well, and when there is no point in waiting on."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from meshnet.model.errors import PeerError
from meshnet.model.patience import patient

# What finds no cell for so long, while nothing else starts, is not going to.
SETTLED_SECONDS = 3.0


class NotPlaced(PeerError):
    """Some instances find no cell; the others run."""


class Progress:
    """Judges an app's instances, look by look.

    Args:
        patience: seconds in which something has to change.
    """

    def __init__(self, patience: float, now: Callable[[], float] = time.monotonic) -> None:
        self._patience, self._now = patience, now
        self._last: tuple[str, ...] = ()
        self._since = now()

    def over(self) -> bool:
        """Whether nothing has changed for too long."""
        return self._now() - self._since > self._patience

    def judge(self, rows: Sequence[dict[str, Any]]) -> bool:
        """Whether every instance runs.

        Raises:
            NotPlaced: what does not run finds no cell.
            PeerError: an instance crashed, or nothing changes any longer.
        """
        states = tuple(row["state"] for row in rows)
        if states != self._last:
            self._last, self._since = states, self._now()
        running = states.count("RUNNING")
        if running == len(rows):
            return True
        if "CRASHED" in states:
            row = next(row for row in rows if row["state"] == "CRASHED")
            details = row["details"] or "no reason given"
            raise PeerError(f"Start unsuccessful: instance {row['index']} crashed: {details}")
        waiting = [row for row in rows if row["state"] == "DOWN" and row["details"]]
        settled = self._now() - self._since > patient(SETTLED_SECONDS)
        if settled and waiting and len(waiting) + running == len(rows):
            raise NotPlaced(not_placed(waiting, running, len(rows)))
        if self.over():
            details = next((row["details"] for row in rows if row["details"]), "")
            raise PeerError(f"Start app timeout: {running} of {len(rows)} run. {details}".rstrip())
        return False


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
