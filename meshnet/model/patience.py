"""Deadlines on slow machines: an emulated one takes ten times as long for everything."""

from __future__ import annotations

import os

SLOW = "MESHNET_SLOW"


def patient(seconds: float) -> float:
    """A deadline, times $MESHNET_SLOW (a number of at least 1; what is none counts as 1)."""
    try:
        factor = float(os.environ.get(SLOW, "1"))
    except ValueError:
        return seconds
    return seconds * max(1.0, factor)
