"""`meshnet bench compare A.json B.json`: do two results agree? Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from meshnet.bench.plan import BASELINE, Cell
from meshnet.bench.result import samples_of
from meshnet.bench.stats import Interval
from meshnet.bench.summary import TWIN, rows

_DECISIVE = ("cpu", "cores", "kernel", "envoy", "wrk")  # of a machine's description


@dataclass(frozen=True)
class Compared:
    """A ratio of requests a second in both results, `variant`'s over `base`'s."""

    cell: Cell
    variant: str
    base: str
    first: Interval
    second: Interval

    @property
    def agree(self) -> bool:
        """Whether each ratio lies in the other's interval."""
        return self.first.holds(self.second.value) and self.second.holds(self.first.value)

    @property
    def overlap(self) -> bool:
        """Whether the intervals have anything in common."""
        return self.first.low <= self.second.high and self.second.low <= self.first.high

    @property
    def word(self) -> str:
        """The above, for people."""
        return "agree" if self.agree else "overlap" if self.overlap else "DIFFER"


def compare(first: dict[str, Any], second: dict[str, Any]) -> list[Compared]:
    """Every ratio that both results have: to direct, and to the iptables twin."""
    ours, theirs = _ratios(first), _ratios(second)
    return [Compared(*key, ours[key], theirs[key]) for key in ours if key in theirs]


def _ratios(result: dict[str, Any]) -> dict[tuple[Cell, str, str], Interval]:
    found = {}
    for row in rows(samples_of(result), result["seed"]):
        for base, ratio in ((BASELINE, row.ratio), (TWIN.get(row.variant, ""), row.twin)):
            if ratio:
                found[row.cell, row.variant, base] = ratio
    return found


def differences(first: dict[str, Any], second: dict[str, Any]) -> list[str]:
    """What else than the figures differs and so may explain them, a line each."""
    found = [
        f"{name}: {a} and {b}"
        for name in _DECISIVE
        if (a := first["machine"].get(name)) != (b := second["machine"].get(name))
    ]
    if first["seconds"] != second["seconds"]:
        found.append(f"seconds a sample: {first['seconds']:g} and {second['seconds']:g}")
    return found
