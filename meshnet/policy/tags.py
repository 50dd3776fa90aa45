"""Which tag an app gets: the lowest free, but one just freed rests first. Pure."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping

from meshnet.model.errors import Conflict

MIN_TAG, MAX_TAG = 1, 0xFFFF  # VXLAN's group policy field carries 16 bits; 0 means untagged
REST_SECONDS = 3600.0


class Tags:
    """All tags that nobody has. Taking and freeing one costs O(log tags).

    A tag in packets under way, or in a cell's map that has not heard of its end, must not become
    another app's: a freed one rests. When all free tags are resting, the one that has rested
    longest is taken.
    """

    def __init__(self, used: Iterable[int], freed: Mapping[int, float]) -> None:
        """`freed`: tag to the time it became free, seconds."""
        taken = {*used, *freed}
        self._ready = [tag for tag in range(MIN_TAG, MAX_TAG + 1) if tag not in taken]
        self._resting = [(since, tag) for tag, since in freed.items()]
        heapq.heapify(self._resting)

    def take(self, now: float) -> int:
        """The next tag. Raises Conflict where all are used."""
        while self._resting and now - self._resting[0][0] >= REST_SECONDS:
            heapq.heappush(self._ready, heapq.heappop(self._resting)[1])
        if self._ready:
            return heapq.heappop(self._ready)
        if self._resting:
            return heapq.heappop(self._resting)[1]
        raise Conflict(f"all {MAX_TAG} policy tags are used")

    def give_back(self, tag: int) -> None:
        """One that was taken and never used."""
        heapq.heappush(self._ready, tag)

    def free(self, tag: int, now: float) -> None:
        """One whose app is gone: it rests."""
        heapq.heappush(self._resting, (now, tag))
