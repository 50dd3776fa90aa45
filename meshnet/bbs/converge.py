"""Where instances go and when crashed ones come back: values in, values out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

# cloudfoundry/bbs models/restart_calculator.go
IMMEDIATE_RESTARTS = 3
MIN_BACKOFF_SECONDS = 30
MAX_BACKOFF_SECONDS = 16 * 60
MAX_RESTARTS = 200
RESET_AFTER_SECONDS = 5 * 60


@dataclass(frozen=True)
class Placed:
    """An instance that a cell has: which app's it is (the LRP's log guid) and where."""

    app: str
    cell_id: str


def place(app: str, cells: Iterable[str], placed: Iterable[Placed]) -> str | None:
    """The cell for one more instance of `app`.

    Fewest instances of the same app first (spread), then fewest in all (balance), then by name.

    Returns:
        A cell id, or None where there is no cell.
    """
    same: dict[str, int] = dict.fromkeys(cells, 0)
    total = dict(same)
    for one in placed:
        if one.cell_id in same:
            total[one.cell_id] += 1
            same[one.cell_id] += one.app == app
    return min(same, key=lambda cell: (same[cell], total[cell], cell), default=None)


def restart_delay(crash_count: int) -> float | None:
    """Seconds from a crash to the restart; None = never again.

    Args:
        crash_count: crashes so far, this one included.
    """
    if crash_count > MAX_RESTARTS:
        return None
    if crash_count < IMMEDIATE_RESTARTS:
        return 0.0
    exponent = min(crash_count - IMMEDIATE_RESTARTS, 10)
    return float(min(MIN_BACKOFF_SECONDS * 2**exponent, MAX_BACKOFF_SECONDS))


def next_crash_count(crash_count: int, ran_seconds: float) -> int:
    """The count after one more crash; a run of five minutes forgives the earlier ones."""
    return 1 if ran_seconds >= RESET_AFTER_SECONDS else crash_count + 1


def indexes(instances: int, present: Iterable[int]) -> tuple[list[int], list[int]]:
    """(indexes to create, indexes to remove), each ascending."""
    wanted, have = set(range(instances)), set(present)
    return sorted(wanted - have), sorted(have - wanted)


def lost_cells(last_seen: Mapping[str, float], now: float) -> list[str]:
    """Cells whose presence (id -> expiry) is over at `now`."""
    return sorted(cell for cell, expiry in last_seen.items() if expiry <= now)
