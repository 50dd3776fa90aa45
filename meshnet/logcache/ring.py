"""What is kept of each source: the newest envelopes, by time, within bounds. Pure."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from meshnet.wire.gen import loggregator_pb2 as loggregator

MOST_ENVELOPES = 100_000  # of one source, as log-cache's max_per_source
MOST_BYTES = 64 * 1024 * 1024  # of all
_OVERHEAD = 120  # bytes an envelope takes beside its own
# Dropping a few more than must be saves moving the whole list for each new one.
_SPARE = 16


@dataclass(frozen=True)
class Meta:
    """What is known of a source: envelopes held, dropped for the bounds, and their times (ns)."""

    count: int
    expired: int
    oldest: int
    newest: int


@dataclass
class _Source:
    """Parallel lists, oldest first."""

    times: list[int] = field(default_factory=list)
    kinds: list[str] = field(default_factory=list)
    blobs: list[bytes] = field(default_factory=list)
    size: int = 0
    expired: int = 0

    def add(self, time: int, kind: str, blob: bytes) -> int:
        """Insert where it belongs; bytes it takes, 0 for one that is there already."""
        end = bisect_right(self.times, time)
        begin = bisect_left(self.times, time, hi=end)
        if blob in self.blobs[begin:end]:
            return 0
        self.times.insert(end, time)
        self.kinds.insert(end, kind)
        self.blobs.insert(end, blob)
        taken = len(blob) + _OVERHEAD
        self.size += taken
        return taken

    def drop(self, number: int) -> int:
        """Drop the oldest; the bytes they took."""
        freed = sum(map(len, self.blobs[:number])) + _OVERHEAD * len(self.blobs[:number])
        self.expired += len(self.blobs[:number])
        self.size -= freed
        for column in (self.times, self.kinds, self.blobs):
            del column[:number]
        return freed


class Ring:
    """Envelopes of every source."""

    def __init__(self, most_envelopes: int = MOST_ENVELOPES, most_bytes: int = MOST_BYTES) -> None:
        """Bounded.

        Args:
            most_envelopes: of one source; beyond it its oldest go.
            most_bytes: of all; beyond it the oldest of the largest source go.
        """
        self._most_envelopes, self._most_bytes = most_envelopes, most_bytes
        self._sources: dict[str, _Source] = {}
        self.size = 0

    def put(self, envelopes: Iterable[Any]) -> None:
        """Take Envelopes in. One that is equal to one held is the same, said twice."""
        for envelope in envelopes:
            if not envelope.source_id:
                continue
            source = self._sources.setdefault(envelope.source_id, _Source())
            kind = envelope.WhichOneof("message") or ""
            blob = envelope.SerializeToString(deterministic=True)
            self.size += source.add(envelope.timestamp, kind, blob)
            if len(source.times) > self._most_envelopes:
                self.size -= source.drop(1 + self._most_envelopes // _SPARE)
        while self.size > self._most_bytes:
            largest = max(self._sources.values(), key=lambda one: one.size)
            self.size -= largest.drop(1 + len(largest.times) // _SPARE)

    def get(
        self,
        source_id: str,
        *,
        start: int,
        end: int,
        limit: int,
        kinds: Collection[str] = (),
        descending: bool = False,
    ) -> list[Any]:
        """Envelopes with start <= timestamp < end, oldest first.

        Args:
            limit: as many at most: the oldest of them; the newest, newest first, if `descending`.
            kinds: "log", "gauge", "counter", "timer", "event"; empty = all.
        """
        source = self._sources.get(source_id, _Source())
        where = range(bisect_left(source.times, start), bisect_left(source.times, end))
        found = []
        for at in _chosen(reversed(where) if descending else iter(where), source, kinds):
            found.append(loggregator.Envelope.FromString(source.blobs[at]))
            if len(found) == limit:
                break
        return found

    def meta(self) -> dict[str, Meta]:
        """Every source that holds anything."""
        return {
            name: Meta(len(one.times), one.expired, one.times[0], one.times[-1])
            for name, one in self._sources.items()
            if one.times
        }


def _chosen(where: Iterator[int], source: _Source, kinds: Collection[str]) -> Iterator[int]:
    return (at for at in where if not kinds or source.kinds[at] in kinds)
