"""Places unclaimed instances, brings crashed ones back, and replaces those of lost cells."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Any

from meshnet.bbs import converge
from meshnet.bbs.cells import Cell, Cells
from meshnet.bbs.lrps import Lrps
from meshnet.bbs.moves import Moves
from meshnet.bbs.table import Key, key_of
from meshnet.model.errors import MeshnetError
from meshnet.store import Store
from meshnet.wire import bbs_api as api

log = logging.getLogger("meshnet")
_RETRY_SECONDS = 1.0


class Auction:
    """Acts on events and timers; each act costs what it changes."""

    def __init__(self, lrps: Lrps, store: Store) -> None:
        self._lrps, self._moves = lrps, Moves(lrps)
        self.cells = Cells(store, self._lost)
        self._timers: dict[Key, asyncio.TimerHandle] = {}

    def resume(self, *, grace_seconds: float) -> None:
        """After a start: mend records, re-arm the back-offs, place what waits.

        Args:
            grace_seconds: how long cells may be silent before they count as lost.
        """
        table = self._lrps.table
        self.cells.resume(table.cells(), grace_seconds)
        self._lrps.converge()
        for lrp in [lrp for lrp in table.all() if lrp.state == api.CRASHED]:
            self._await_restart(lrp)
        self.place_unclaimed()

    def present(self, cell_id: str, cell: Cell, ttl_seconds: float) -> None:
        """A cell says that it lives; what it had is trusted again, and what waits is placed."""
        if self.cells.present(cell_id, cell, ttl_seconds):
            log.info("cell %s is present at %s", cell_id, cell.address)
            self._moves.cell_back(cell_id)
            self.place_unclaimed()

    def place_unclaimed(self) -> None:
        """Give every UNCLAIMED instance a cell, as far as there are cells."""
        self._place([key_of(lrp) for lrp in self._lrps.table.unclaimed()])

    def crashed(self, process_guid: str, index: int) -> None:
        """Bring an instance that crashed back when its back-off is over."""
        lrp = self._lrps.table.get((process_guid, index))
        if lrp is not None and lrp.state == api.CRASHED:
            self._await_restart(lrp)

    def _await_restart(self, lrp: Any) -> None:
        key, delay = key_of(lrp), converge.restart_delay(lrp.crash_count)
        if delay is None:
            log.warning("instance %s/%d crashed too often; it stays down", *key)
            return
        # The wall clock, for back-offs outlive this process; it may have been set back since.
        left = min(delay, max(0.0, lrp.since / 1e9 + delay - time.time()))
        self._arm(key, left)

    def _arm(self, key: Key, seconds: float) -> None:
        if old := self._timers.pop(key, None):
            old.cancel()
        self._timers[key] = asyncio.get_running_loop().call_later(seconds, self._restart, key)

    def _restart(self, key: Key) -> None:
        self._timers.pop(key, None)
        try:
            self._place([key])
        except MeshnetError as exc:
            log.error("instance %s/%d cannot be restarted: %s", *key, exc)
            self._arm(key, _RETRY_SECONDS)

    def _lost(self, cell_id: str) -> None:
        self._place(self._moves.cell_lost(cell_id))

    def _place(self, keys: list[Key]) -> None:
        self._lrps.place(keys, self.cells.open(), self.cells.rooms())
