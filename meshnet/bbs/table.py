"""All actual LRPs in memory, found by process, by cell and by what waits for a cell."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from meshnet.bbs.converge import Balance
from meshnet.wire import bbs_api as api

Key = tuple[str, int]  # process guid, index
_ON_A_CELL = (api.CLAIMED, api.RUNNING)


def key_of(lrp: Any) -> Key:
    """What names an instance's place: process guid and index."""
    return lrp.actual_lrp_key.process_guid, lrp.actual_lrp_key.index


class Table:
    """ActualLRPs by key. No look-up walks more records than it returns, `all` excepted."""

    def __init__(self) -> None:
        self.balance = Balance()
        self._rows: dict[Key, Any] = {}
        self._apps: dict[Key, str] = {}
        self._processes: defaultdict[str, set[Key]] = defaultdict(set)
        self._cells: defaultdict[str, set[Key]] = defaultdict(set)
        self._unclaimed: dict[Key, None] = {}  # in the order they came

    def get(self, key: Key) -> Any | None:
        """The record, or None."""
        return self._rows.get(key)

    def app(self, key: Key) -> str:
        """The app that the record of `key` belongs to."""
        return self._apps[key]

    def all(self) -> Iterator[Any]:
        """Every record."""
        return iter(self._rows.values())

    def of_process(self, process_guid: str) -> list[Any]:
        """The records of a process by index."""
        return [self._rows[key] for key in sorted(self._processes.get(process_guid, ()))]

    def on_cell(self, cell_id: str) -> list[Any]:
        """What a cell has to run or runs, by key."""
        return [self._rows[key] for key in sorted(self._cells.get(cell_id, ()))]

    def unclaimed(self) -> list[Any]:
        """What waits for a cell, longest first."""
        return [self._rows[key] for key in self._unclaimed]

    def cells(self) -> list[str]:
        """Cells that have something."""
        return sorted(self._cells)

    def put(self, lrp: Any, app: str) -> None:
        """Add a record or replace the one of the same key."""
        key = key_of(lrp)
        self.remove(key)
        self._rows[key], self._apps[key] = lrp, app
        self._processes[key[0]].add(key)
        if lrp.state == api.UNCLAIMED:
            self._unclaimed[key] = None
        elif lrp.state in _ON_A_CELL:
            cell = lrp.actual_lrp_instance_key.cell_id
            self._cells[cell].add(key)
            self.balance.add(app, cell)

    def remove(self, key: Key) -> None:
        """Forget a record, if there is one."""
        lrp = self._rows.pop(key, None)
        if lrp is None:
            return
        app = self._apps.pop(key)
        _discard(self._processes, key[0], key)
        self._unclaimed.pop(key, None)
        if lrp.state in _ON_A_CELL:
            cell = lrp.actual_lrp_instance_key.cell_id
            _discard(self._cells, cell, key)
            self.balance.take(app, cell)


def _discard(sets: defaultdict[str, set[Key]], name: str, key: Key) -> None:
    sets[name].discard(key)
    if not sets[name]:
        del sets[name]
