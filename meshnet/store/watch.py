"""Changes of one kind in the order of their commits, from whichever thread they come."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections import deque
from dataclasses import dataclass, field
from typing import Any

from meshnet.model.errors import PlatformError


class Compacted(PlatformError):
    """The changes asked for are no longer kept: list the kind and watch from there."""


@dataclass(frozen=True)
class Change:
    """One record's change: `value` is None where it was deleted.

    Attributes:
        revision: of the transaction that made it; a later watch may go on from there.
    """

    kind: str
    key: str
    value: Any | None
    revision: int = field(default=0, compare=False)


class Watch:
    """Changes of one kind, in order; endless. For one reader.

    Raises Compacted from `anext` where it was asked to begin with changes that are not kept.
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._items: deque[Change | PlatformError] = deque()
        self._reader: tuple[asyncio.AbstractEventLoop, asyncio.Event] | None = None
        self._lock = threading.Lock()

    def offer(self, item: Change | PlatformError) -> None:
        """Hand on a committed change, or the error that ends the watch; from any thread."""
        with self._lock:
            self._items.append(item)
            reader, self._reader = self._reader, None
        if reader:
            loop, event = reader
            with contextlib.suppress(RuntimeError):  # its loop is closed: nobody waits any more
                loop.call_soon_threadsafe(event.set)

    def __aiter__(self) -> Watch:
        return self

    async def __anext__(self) -> Change:
        while (item := self._take()) is None:
            assert self._reader is not None
            await self._wait(self._reader[1])
        if isinstance(item, PlatformError):
            raise item
        return item

    async def _wait(self, offered: asyncio.Event) -> None:
        await offered.wait()

    def _take(self) -> Change | PlatformError | None:
        with self._lock:
            if self._items:
                return self._items.popleft()
            self._reader = asyncio.get_running_loop(), asyncio.Event()
            return None
