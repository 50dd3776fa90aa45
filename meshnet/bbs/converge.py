"""Where instances go and when crashed ones come back: values in, values out."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

# cloudfoundry/bbs models/restart_calculator.go
IMMEDIATE_RESTARTS = 3
MIN_BACKOFF_SECONDS = 30
MAX_BACKOFF_SECONDS = 16 * 60
MAX_RESTARTS = 200
RESET_AFTER_SECONDS = 5 * 60


@dataclass(frozen=True)
class Room:
    """What a cell takes in all, and where it is.

    Attributes:
        containers, memory_mb: 0 = any number.
        zone: cells of one zone fail together.
    """

    containers: int = 0
    memory_mb: int = 0
    zone: str = ""


_ANY = Room()


class Balance:
    """What each cell has: instances of each app (an LRP's log guid), and in all, and memory."""

    def __init__(self) -> None:
        self._total: Counter[str] = Counter()
        self._memory: Counter[str] = Counter()
        self._of_app: defaultdict[str, Counter[str]] = defaultdict(Counter)

    def add(self, app: str, cell_id: str, memory_mb: int = 0) -> None:
        """Count one more instance."""
        self._total[cell_id] += 1
        self._memory[cell_id] += memory_mb
        self._of_app[app][cell_id] += 1

    def take(self, app: str, cell_id: str, memory_mb: int = 0) -> None:
        """Count one instance less; what comes to zero is forgotten."""
        _less(self._total, cell_id)
        _less(self._memory, cell_id, memory_mb)
        _less(self._of_app[app], cell_id)
        if not self._of_app[app]:
            del self._of_app[app]

    def choose(
        self, app: str, memory_mb: int, cells: Iterable[str], rooms: Mapping[str, Room] = {}
    ) -> str | None:
        """The cell for one more instance of `app`, or None where no cell has room.

        Fewest instances of the same app in the zone, then on the cell (spread), then fewest in
        all (balance), then by name.

        Args:
            rooms: what cells take; one that is not in it takes anything.
        """
        same, zones = self._of_app.get(app, Counter[str]()), Counter[str]()
        for cell, count in same.items():
            zones[rooms.get(cell, _ANY).zone] += count
        return min(
            (cell for cell in cells if not self._lacks(cell, memory_mb, rooms)),
            key=lambda cell: (
                zones[rooms.get(cell, _ANY).zone],
                same[cell],
                self._total[cell],
                cell,
            ),
            default=None,
        )

    def lacking(self, memory_mb: int, cells: Iterable[str], rooms: Mapping[str, Room]) -> str:
        """Why none of these cells takes an instance, in Diego's words (rep resources.go); empty
        where there are no cells.
        """
        lacks = {what for cell in cells for what in self._lacks(cell, memory_mb, rooms)}
        words = [what for what in ("memory", "containers") if what in lacks]
        return f"insufficient resources: {', '.join(words)}" if words else ""

    def _lacks(self, cell: str, memory_mb: int, rooms: Mapping[str, Room]) -> list[str]:
        room, lacks = rooms.get(cell, _ANY), []
        if room.memory_mb and self._memory[cell] + memory_mb > room.memory_mb:
            lacks.append("memory")
        if room.containers and self._total[cell] >= room.containers:
            lacks.append("containers")
        return lacks


def _less(counter: Counter[str], key: str, by: int = 1) -> None:
    counter[key] -= by
    if counter[key] <= 0:
        del counter[key]


def restart_delay(crash_count: int) -> float | None:
    """Seconds from a crash to the restart; None = never again.

    Args:
        crash_count: crashes so far, this one included.
    """
    if crash_count < IMMEDIATE_RESTARTS:
        return 0.0
    if crash_count >= MAX_RESTARTS:
        return None
    exponent = min(crash_count - IMMEDIATE_RESTARTS, 10)
    return float(min(MIN_BACKOFF_SECONDS * 2**exponent, MAX_BACKOFF_SECONDS))


def next_crash_count(crash_count: int, ran_seconds: float) -> int:
    """The count after one more crash; a run of five minutes forgives the earlier ones."""
    return 1 if ran_seconds >= RESET_AFTER_SECONDS else crash_count + 1
