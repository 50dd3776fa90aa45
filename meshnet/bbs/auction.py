"""Places unclaimed instances, brings crashed ones back, and notices cells that are gone."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterable
from typing import Any

from meshnet.bbs import converge
from meshnet.bbs.lrps import Lrps
from meshnet.wire import bbs_api as api

log = logging.getLogger("meshnet")
_NO_CELL = "found no compatible cell"


class Auction:
    """Acts on events and timers; each act costs what it changes."""

    def __init__(self, lrps: Lrps, *, grace_seconds: float) -> None:
        """`grace_seconds`: how long after a start cells may be silent before they count as lost."""
        self._lrps = lrps
        self._expiry: dict[str, float] = {}
        self.addresses: dict[str, str] = {}
        self._timers: dict[tuple[str, int], asyncio.TimerHandle] = {}
        began = time.monotonic()
        for lrp in lrps.actual.values():
            if cell := lrp.actual_lrp_instance_key.cell_id:
                self._expiry[cell] = began + grace_seconds

    def cells(self) -> list[str]:
        """Ids of the cells that count as alive and have said so since this start."""
        return sorted(cell for cell in self._expiry if cell in self.addresses)

    def present(self, cell_id: str, address: str, ttl_seconds: float) -> None:
        """A cell says that it lives; instances waiting for a cell are placed."""
        known = cell_id in self.addresses
        self._expiry[cell_id] = time.monotonic() + ttl_seconds
        self.addresses[cell_id] = address
        if not known:
            log.info("cell %s is present at %s", cell_id, address)
            self.place_unclaimed()

    def place_unclaimed(self) -> None:
        """Give every instance that waits for a cell one, as far as there are cells.

        A CRASHED one waits when its back-off ended while there was no cell.
        """
        for lrp in [a for a in self._lrps.actual.values() if self._waits(a)]:
            self._place(lrp)

    @staticmethod
    def _waits(lrp: Any) -> bool:
        return lrp.state == api.UNCLAIMED or (
            lrp.state == api.CRASHED and bool(lrp.placement_error)
        )

    def crashed(self, lrp: Any) -> None:
        """Bring a CRASHED instance back when its back-off is over."""
        delay = converge.restart_delay(lrp.crash_count)
        key = lrp.actual_lrp_key.process_guid, lrp.actual_lrp_key.index
        if delay is None:
            log.warning("instance %s/%d crashed too often; it stays down", *key)
            return
        since = lrp.since / 1e9
        left = max(0.0, since + delay - time.time())
        if old := self._timers.pop(key, None):
            old.cancel()
        self._timers[key] = asyncio.get_running_loop().call_later(left, self._restart, key)

    def resume(self) -> None:
        """After a start: re-arm the back-offs and place what waits."""
        for lrp in list(self._lrps.actual.values()):
            if lrp.state == api.CRASHED:
                self.crashed(lrp)
        self.place_unclaimed()

    async def watch_cells(self) -> None:
        """Place the instances of a cell whose presence ends somewhere else; runs for ever."""
        while True:
            now = time.monotonic()
            for cell in converge.lost_cells(self._expiry, now):
                log.warning("cell %s is gone", cell)
                del self._expiry[cell]
                self.addresses.pop(cell, None)
                for lrp in self._lrps.unclaim_lost(self._on(cell)):
                    self._place(lrp)
            soonest = min(self._expiry.values(), default=now + 1.0)
            await asyncio.sleep(min(1.0, max(0.05, soonest - time.monotonic())))

    def _restart(self, key: tuple[str, int]) -> None:
        self._timers.pop(key, None)
        lrp = self._lrps.actual.get(key)
        if lrp is not None and lrp.state == api.CRASHED:
            self._place(lrp)

    def _place(self, lrp: Any) -> None:
        app = self._app(lrp)
        placed = [
            converge.Placed(self._app(other), other.actual_lrp_instance_key.cell_id)
            for other in self._lrps.actual.values()
            if other.state in (api.CLAIMED, api.RUNNING)
        ]
        cell = converge.place(app, self.cells(), placed)
        if cell is None:
            self._lrps.fail_placement(lrp, _NO_CELL)
        else:
            self._lrps.claim(lrp, cell)

    def _app(self, lrp: Any) -> str:
        desired = self._lrps.desired.get(lrp.actual_lrp_key.process_guid)
        return (desired.log_guid if desired else "") or lrp.actual_lrp_key.process_guid

    def _on(self, cell_id: str) -> Iterable[Any]:
        return [
            lrp
            for lrp in self._lrps.actual.values()
            if lrp.actual_lrp_instance_key.cell_id == cell_id
            and lrp.state in (api.CLAIMED, api.RUNNING)
        ]
