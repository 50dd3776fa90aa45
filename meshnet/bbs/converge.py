"""Where instances go and when crashed ones come back: values in, values out."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping

# cloudfoundry/bbs models/restart_calculator.go
IMMEDIATE_RESTARTS = 3
MIN_BACKOFF_SECONDS = 30
MAX_BACKOFF_SECONDS = 16 * 60
MAX_RESTARTS = 200
RESET_AFTER_SECONDS = 5 * 60


class Balance:
    """How many instances each cell has, of each app (an LRP's log guid) and in all."""

    def __init__(self) -> None:
        self._total: Counter[str] = Counter()
        self._of_app: defaultdict[str, Counter[str]] = defaultdict(Counter)

    def add(self, app: str, cell_id: str) -> None:
        """Count one more instance."""
        self._total[cell_id] += 1
        self._of_app[app][cell_id] += 1

    def take(self, app: str, cell_id: str) -> None:
        """Count one instance less; what comes to zero is forgotten."""
        _less(self._total, cell_id)
        _less(self._of_app[app], cell_id)
        if not self._of_app[app]:
            del self._of_app[app]

    def choose(self, app: str, cells: Iterable[str], room: Mapping[str, int] = {}) -> str | None:
        """The cell for one more instance of `app`, or None where no cell has room.

        Fewest instances of the same app first (spread), then fewest in all (balance), then by
        name.

        Args:
            room: how many instances a cell takes in all; a cell that is not in it takes any.
        """
        same, total = self._of_app.get(app, Counter()), self._total
        free = (cell for cell in cells if cell not in room or total[cell] < room[cell])
        return min(free, key=lambda cell: (same[cell], total[cell], cell), default=None)


def _less(counter: Counter[str], key: str) -> None:
    counter[key] -= 1
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


def indexes(instances: int, present: Iterable[int]) -> tuple[list[int], list[int]]:
    """(indexes to create, indexes to remove), each ascending."""
    wanted, have = set(range(instances)), set(present)
    return sorted(wanted - have), sorted(have - wanted)
