"""Numbers that a cell gives its instances: addresses, host ports, uids."""

from __future__ import annotations

from collections.abc import Iterable

from meshnet.model.errors import Conflict


class Numbers:
    """A range of them, given out in turn: what an instance gave back comes last.

    A proxy that has not heard of an instance's end still sends to its address and host port. Given
    to the next instance at once, they would make that one answer another app's requests.
    """

    def __init__(self, what: str, first: int, count: int) -> None:
        self._what, self._first, self._count = what, first, count
        self._last = first - 1

    def taken(self, numbers: Iterable[int]) -> None:
        """Go on after these: given out by an agent before this one."""
        self._last = max((n for n in numbers if n in self._range), default=self._last)

    def next(self, used: Iterable[int]) -> int:
        """The next that is not used. Raises Conflict where all are."""
        taken = set(used)
        for step in range(1, self._count + 1):
            number = self._first + (self._last - self._first + step) % self._count
            if number not in taken:
                self._last = number
                return number
        raise Conflict(f"no free {self._what} on this cell: all {self._count} are used")

    @property
    def _range(self) -> range:
        return range(self._first, self._first + self._count)
