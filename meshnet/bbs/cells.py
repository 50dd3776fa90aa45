"""Which cells are alive: presences with an end, and the names of those known before a restart."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable

from meshnet.model.errors import InputError, MeshnetError
from meshnet.store import Store

log = logging.getLogger("meshnet")
_CELL = "cell"
_LATE_SECONDS = 1.0
_RETRY_SECONDS = 1.0


class Cells:
    """Presences. `lost` is called with a cell's id when its presence is over.

    A heart-beat costs no write: the store learns of a cell's coming and going only. After a
    restart of BBS the cells known before count as alive for a while, so that instances are spread
    over all of them and not over the one that speaks first.
    """

    def __init__(self, store: Store, lost: Callable[[str], None]) -> None:
        self._store, self._lost = store, lost
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._heard: dict[str, str] = {}
        self._room: dict[str, int] = {}

    def resume(self, holders: Iterable[str], seconds: float) -> None:
        """After a start: `seconds` for every cell known or holding instances to speak up."""
        for cell_id in {*self._store.list(_CELL), *holders}:
            self._arm(cell_id, seconds)
            self._take_room(cell_id, (self._store.get(_CELL, cell_id) or {}).get("room", 0))

    def present(self, cell_id: str, address: str, seconds: float, room: int = 0) -> bool:
        """A cell says that it lives for `seconds` more; whether that is news.

        Args:
            room: how many instances it takes; 0 = any number.

        Raises:
            InputError: it has no id.
        """
        if not cell_id:
            raise InputError("a cell's presence needs its cell_id")
        news = cell_id not in self._heard or self._room.get(cell_id, 0) != room
        row = {"rep_address": address, "room": room}
        if news and self._store.get(_CELL, cell_id) != row:
            self._store.put(_CELL, cell_id, row)
        self._heard[cell_id] = address
        self._take_room(cell_id, room)
        self._arm(cell_id, seconds)
        return news

    def alive(self) -> list[str]:
        """Cells whose presence is not over: where instances may go."""
        return sorted(self._timers)

    def room(self) -> dict[str, int]:
        """How many instances each cell takes; a cell that has set no limit is not in it."""
        return self._room

    def _take_room(self, cell_id: str, room: int) -> None:
        if room:
            self._room[cell_id] = room
        else:
            self._room.pop(cell_id, None)

    def heard(self) -> dict[str, str]:
        """Cells that have spoken since this start, and their addresses."""
        return dict(sorted(self._heard.items()))

    def _arm(self, cell_id: str, seconds: float) -> None:
        if timer := self._timers.get(cell_id):
            timer.cancel()
        due = time.monotonic() + seconds
        loop = asyncio.get_running_loop()
        self._timers[cell_id] = loop.call_later(seconds, self._over, cell_id, due)

    def _over(self, cell_id: str, due: float) -> None:
        late = time.monotonic() - due
        if late > _LATE_SECONDS:
            # This process did not run (stopped, starved): heart-beats wait unread in its sockets,
            # and to call every cell lost would move every instance for nothing.
            log.warning(
                "cell %s: its presence was judged %.1f s late, so not at all", cell_id, late
            )
            return self._arm(cell_id, late)
        try:
            self._store.delete(_CELL, cell_id)
            del self._timers[cell_id]
            self._heard.pop(cell_id, None)
            self._room.pop(cell_id, None)
            log.warning("cell %s is gone", cell_id)
            self._lost(cell_id)
        except MeshnetError as exc:
            log.error("cell %s is gone, but %s", cell_id, exc)
            self._arm(cell_id, _RETRY_SECONDS)
        return None
