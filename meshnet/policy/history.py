"""The latest changes of policies: a watcher is sent what changed, not everything. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from meshnet.wire.policy_json import Delta, Tagged

_MOST_CHANGES = 10_000


class History:
    """Changes by version, as many as are kept."""

    def __init__(self, version: int, most: int = _MOST_CHANGES) -> None:
        self._before = version  # of the oldest change that is kept
        self._entries: deque[tuple[int, tuple[Tagged, ...], tuple[Tagged, ...]]] = deque()
        self._size, self._most = 0, most

    def note(self, version: int, added: Iterable[Tagged], removed: Iterable[Tagged]) -> None:
        """Keep what this version added and removed."""
        entry = version, tuple(added), tuple(removed)
        self._entries.append(entry)
        self._size += len(entry[1]) + len(entry[2])
        while self._size > self._most:
            self._before, old, gone = self._entries.popleft()
            self._size -= len(old) + len(gone)

    def since(self, version: int) -> Delta | None:
        """What changed after `version`, all in all; None where that is not known."""
        newer = []
        for entry in reversed(self._entries):
            if entry[0] <= version:
                break
            newer.append(entry)
        oldest = self._entries[-1 - len(newer)][0] if len(newer) < len(self._entries) else None
        if version != (self._before if oldest is None else oldest):
            return None  # a number we never gave out, or too long ago
        last: dict[Tagged, bool] = {}
        for _, plus, minus in reversed(newer):
            last.update(dict.fromkeys(minus, False))
            last.update(dict.fromkeys(plus, True))
        return Delta(
            [tagged for tagged, there in last.items() if there],
            [tagged for tagged, there in last.items() if not there],
        )
