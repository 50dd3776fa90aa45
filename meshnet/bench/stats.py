"""Medians, ratios and their bootstrap intervals. Pure; the seed decides all chance."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median

RESAMPLES = 2000
CONFIDENCE = 0.95
NO_DIFFERENCE = "no difference"


@dataclass(frozen=True)
class Interval:
    """A median and its 95 % bootstrap interval."""

    value: float
    low: float
    high: float

    def holds(self, value: float) -> bool:
        """Whether a value lies inside."""
        return self.low <= value <= self.high

    def __str__(self) -> str:
        return f"{self.value:.2f} [{self.low:.2f} {self.high:.2f}]"


def interval(values: Sequence[float], seed: int) -> Interval:
    """The median of paired values, and the interval of the medians of resamples (percentiles).

    Args:
        values: at least one; with a single one the interval is that value.
    """
    return interval_of(values, seed, median)


def interval_of(
    values: Sequence[float], seed: int, of: Callable[[Sequence[float]], float]
) -> Interval:
    """The same for another figure of a sample than its median."""
    chance = random.Random(seed)
    found = sorted(of(chance.choices(values, k=len(values))) for _ in range(RESAMPLES))
    edge = (1 - CONFIDENCE) / 2
    low, high = found[int(edge * RESAMPLES)], found[int((1 - edge) * RESAMPLES) - 1]
    return Interval(of(values), low, high)


def ratio(ours: Sequence[float], theirs: Sequence[float], seed: int) -> Interval:
    """Ours over theirs, round by round, so that what a round's moment did to both cancels."""
    return interval([a / b for a, b in zip(ours, theirs, strict=True) if b], seed)


def said(one: Interval) -> str:
    """A ratio in words: one whose interval crosses 1 is none."""
    return NO_DIFFERENCE if one.holds(1.0) else f"{one.value:.2f}x"
