"""Fan-out of LRP events to subscribers, each with a bounded queue."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from meshnet.bbs.group_events import grouped
from meshnet.wire.sse import SseEvent, encode

MAX_QUEUED = 1024  # as Diego: a subscriber further behind than this is dropped


class _Subscriber:
    def __init__(self, cell_id: str, groups: bool) -> None:
        self.cell_id, self.groups = cell_id, groups
        self.queue: asyncio.Queue[tuple[str, bytes] | None] = asyncio.Queue(MAX_QUEUED + 1)

    def wants(self, cell_ids: tuple[str, ...]) -> bool:
        return not self.cell_id or not cell_ids or self.cell_id in cell_ids

    def offer(self, item: tuple[str, bytes]) -> bool:
        """Queue an event; False where the subscriber is too far behind and its stream ends."""
        behind = self.queue.qsize() >= MAX_QUEUED
        self.queue.put_nowait(None if behind else item)
        return not behind


class Hub:
    """Publishes events to every stream whose cell filter lets them pass."""

    def __init__(self) -> None:
        self._subscribers: set[_Subscriber] = set()

    def __len__(self) -> int:
        """Streams at the moment."""
        return len(self._subscribers)

    def publish(self, name: str, message: Any, cell_ids: tuple[str, ...] = ()) -> None:
        """Queue an event. A cell's stream gets what concerns no cell, or that cell.

        Desired LRPs concern no cell, as in Diego (handlers/lrp_instance_event_handlers: only the
        instances' events are filtered).
        """
        wanted = [s for s in self._subscribers if s.wants(cell_ids)]
        for groups in (False, True):
            if some := [s for s in wanted if s.groups is groups]:
                for one, body in grouped(name, message) if groups else [(name, message)]:
                    self._offer(some, (one, body.SerializeToString()))

    def _offer(self, subscribers: list[_Subscriber], item: tuple[str, bytes]) -> None:
        for subscriber in subscribers:
            if subscriber in self._subscribers and not subscriber.offer(item):
                self._subscribers.discard(subscriber)

    def subscribe(self, cell_id: str, *, groups: bool = False) -> AsyncIterator[bytes]:
        """The bytes of one stream; the subscription holds from this call on.

        Args:
            groups: of instances tell groups, as Diego's deprecated stream does.
        """
        subscriber = _Subscriber(cell_id, groups)
        self._subscribers.add(subscriber)
        return self._stream(subscriber)

    async def _stream(self, subscriber: _Subscriber) -> AsyncIterator[bytes]:
        number = 0
        try:
            # The response's head goes out with the first chunk, be it empty.
            yield b""
            while (item := await subscriber.queue.get()) is not None:
                yield encode(SseEvent(number, item[0], item[1]))
                number += 1
        finally:
            self._subscribers.discard(subscriber)
