"""Fan-out of LRP events to subscribers, each with a bounded queue."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from meshnet.wire.sse import SseEvent, encode

MAX_QUEUED = 1024  # as Diego: a subscriber further behind than this is dropped


class _Subscriber:
    def __init__(self, cell_id: str) -> None:
        self.cell_id = cell_id
        self.queue: asyncio.Queue[tuple[str, bytes] | None] = asyncio.Queue(MAX_QUEUED + 1)
        self.dropped = False

    def offer(self, item: tuple[str, bytes]) -> None:
        if self.queue.qsize() >= MAX_QUEUED:
            self.dropped = True
            self.queue.put_nowait(None)
        elif not self.dropped:
            self.queue.put_nowait(item)


class Hub:
    """Publishes events to every stream whose cell filter lets them pass."""

    def __init__(self) -> None:
        self._subscribers: set[_Subscriber] = set()

    def publish(self, name: str, message: Any, cell_ids: tuple[str, ...] = ()) -> None:
        """Queue an event for everybody; a cell's stream gets those that name its id only."""
        if not self._subscribers:
            return
        item = (name, message.SerializeToString())
        for subscriber in [s for s in self._subscribers if not s.cell_id or s.cell_id in cell_ids]:
            subscriber.offer(item)
            if subscriber.dropped:
                self._subscribers.discard(subscriber)

    def subscribe(self, cell_id: str) -> AsyncIterator[bytes]:
        """The bytes of one stream; the subscription holds from this call on."""
        subscriber = _Subscriber(cell_id)
        self._subscribers.add(subscriber)
        return self._stream(subscriber)

    async def _stream(self, subscriber: _Subscriber) -> AsyncIterator[bytes]:
        number = 0
        try:
            # Starlette sends the response's head with the first chunk; an empty comment is enough.
            yield b""
            while (item := await subscriber.queue.get()) is not None:
                yield encode(SseEvent(number, item[0], item[1]))
                number += 1
        finally:
            self._subscribers.discard(subscriber)


def cells_of(*lrps: Any) -> tuple[str, ...]:
    """The cells that ActualLRPs are on, for `Hub.publish`."""
    return tuple(lrp.actual_lrp_instance_key.cell_id for lrp in lrps)
