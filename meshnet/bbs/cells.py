"""Which cells are alive: presences with an end, and the names of those known before a restart."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from meshnet.bbs.converge import Room
from meshnet.model.errors import InputError, MeshnetError
from meshnet.store import Store

log = logging.getLogger("meshnet")
_CELL = "cell"
_LATE_SECONDS = 1.0
_RETRY_SECONDS = 1.0


@dataclass(frozen=True)
class Cell:
    """What a cell says of itself.

    Attributes:
        address: where its agent is.
        evacuating: nothing new is to go there.
    """

    address: str = ""
    room: Room = field(default_factory=Room)
    evacuating: bool = False


class Cells:
    """Presences. `lost` is called with a cell's id when its presence is over.

    A heart-beat costs no write: the store learns of a cell's coming and going only. After a
    restart of BBS the cells known before count as alive for a while, so that instances are spread
    over all of them and not over the one that speaks first.
    """

    def __init__(self, store: Store, lost: Callable[[str], None]) -> None:
        self._store, self._lost = store, lost
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._known: dict[str, Cell] = {}
        self._heard: set[str] = set()

    def resume(self, holders: Iterable[str], seconds: float) -> None:
        """After a start: `seconds` for every cell known or holding instances to speak up."""
        for cell_id, row in self._store.list(_CELL).items():
            self._known[cell_id] = _cell(row)
        for cell_id in {*self._known, *holders}:
            self._known.setdefault(cell_id, Cell())
            self._arm(cell_id, seconds)

    def present(self, cell_id: str, cell: Cell, seconds: float) -> bool:
        """A cell says that it lives for `seconds` more; whether anything of that is news.

        Raises:
            InputError: it has no id, or takes a negative number of something.
        """
        if not cell_id:
            raise InputError("a cell's presence needs its cell_id")
        if cell.room.containers < 0 or cell.room.memory_mb < 0:
            raise InputError("a cell's capacity must not be negative")
        news = cell_id not in self._heard or self._known.get(cell_id) != cell
        if news and self._store.get(_CELL, cell_id) != _row(cell):
            self._store.put(_CELL, cell_id, _row(cell))
        self._heard.add(cell_id)
        self._known[cell_id] = cell
        self._arm(cell_id, seconds)
        return news

    def open(self) -> list[str]:
        """Cells whose presence is not over and that are not being emptied."""
        return sorted(cell for cell in self._timers if not self._known[cell].evacuating)

    def rooms(self) -> dict[str, Room]:
        """What each cell takes, and where it is."""
        return {cell_id: cell.room for cell_id, cell in self._known.items()}

    def heard(self) -> dict[str, Cell]:
        """Cells that have spoken since this start and are alive."""
        return {cell_id: self._known[cell_id] for cell_id in sorted(self._heard)}

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
            self._heard.discard(cell_id)
            self._known.pop(cell_id, None)
            log.warning("cell %s is gone", cell_id)
            self._lost(cell_id)
        except MeshnetError as exc:
            log.error("cell %s is gone, but %s", cell_id, exc)
            self._known.setdefault(cell_id, Cell())
            self._arm(cell_id, _RETRY_SECONDS)
        return None


def _row(cell: Cell) -> dict[str, Any]:
    return {
        "rep_address": cell.address,
        "room": cell.room.containers,
        "memory_mb": cell.room.memory_mb,
        "zone": cell.room.zone,
        "evacuating": cell.evacuating,
    }


def _cell(row: dict[str, Any]) -> Cell:
    room = Room(row.get("room", 0), row.get("memory_mb", 0), row.get("zone", ""))
    return Cell(row.get("rep_address", ""), room, row.get("evacuating", False))
