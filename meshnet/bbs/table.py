"""All actual LRPs in memory, found by process, by cell and by what waits for a cell."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Any, NamedTuple

from meshnet.bbs.converge import Balance
from meshnet.wire import bbs_api as api
from meshnet.wire.gen import bbs_pb2 as pb

Key = tuple[str, int]  # process guid, index
Row = tuple[str, int, int]  # and presence: there may be one record each
_ON_A_CELL = (api.CLAIMED, api.RUNNING)


class Owner(NamedTuple):
    """What an instance counts for: the app (an LRP's log guid), and the memory it is given."""

    app: str
    memory_mb: int


def key_of(lrp: Any) -> Key:
    """What names an instance's place: process guid and index."""
    return lrp.actual_lrp_key.process_guid, lrp.actual_lrp_key.index


def row_of(lrp: Any) -> Row:
    """What names a record: an instance's place, and its presence."""
    return *key_of(lrp), lrp.presence


class Table:
    """ActualLRPs. No look-up walks more records than it returns, `all` excepted.

    At one place there may be, beside the ordinary record, a suspect one (its cell is silent) and
    an evacuating one (its cell is being emptied).
    """

    def __init__(self) -> None:
        self.balance = Balance()
        self._rows: dict[Row, Any] = {}
        self._owners: dict[Row, Owner] = {}
        self._processes: defaultdict[str, set[Row]] = defaultdict(set)
        self._cells: defaultdict[str, set[Row]] = defaultdict(set)
        self._unclaimed: dict[Row, None] = {}  # in the order they came

    def get(self, key: Key, presence: int = pb.ORDINARY) -> Any | None:
        """The record, or None."""
        return self._rows.get((*key, presence))

    def at(self, key: Key) -> list[Any]:
        """Every record at a place, the ordinary one first."""
        found = (self._rows.get((*key, presence)) for presence in pb.Presence.values())
        return [lrp for lrp in found if lrp is not None]

    def find(self, key: Key, instance: Any) -> Any | None:
        """The record of an instance at a place, or None."""
        return next((lrp for lrp in self.at(key) if lrp.actual_lrp_instance_key == instance), None)

    def owner(self, lrp: Any) -> Owner:
        """What the record counts for."""
        return self._owners[row_of(lrp)]

    def all(self) -> Iterator[Any]:
        """Every record."""
        return iter(self._rows.values())

    def of_process(self, process_guid: str) -> list[Any]:
        """The records of a process by index, at each the ordinary one first."""
        return [self._rows[row] for row in sorted(self._processes.get(process_guid, ()))]

    def on_cell(self, cell_id: str) -> list[Any]:
        """What a cell has to run or runs, by place."""
        return [self._rows[row] for row in sorted(self._cells.get(cell_id, ()))]

    def unclaimed(self) -> list[Any]:
        """What waits for a cell, longest first."""
        return [self._rows[row] for row in self._unclaimed]

    def cells(self) -> list[str]:
        """Cells that have something other than suspect instances."""
        return sorted(c for c, rows in self._cells.items() if any(r[2] != pb.SUSPECT for r in rows))

    def put(self, lrp: Any, owner: Owner) -> None:
        """Add a record or replace the one of the same place and presence."""
        row = row_of(lrp)
        self.remove(row)
        self._rows[row], self._owners[row] = lrp, owner
        self._processes[row[0]].add(row)
        if lrp.state == api.UNCLAIMED:
            self._unclaimed[row] = None
        elif lrp.state in _ON_A_CELL:
            cell = lrp.actual_lrp_instance_key.cell_id
            self._cells[cell].add(row)
            self.balance.add(owner.app, cell, owner.memory_mb)

    def remove(self, row: Row) -> None:
        """Forget a record, if there is one."""
        lrp = self._rows.pop(row, None)
        if lrp is None:
            return
        owner = self._owners.pop(row)
        _discard(self._processes, row[0], row)
        self._unclaimed.pop(row, None)
        if lrp.state in _ON_A_CELL:
            cell = lrp.actual_lrp_instance_key.cell_id
            _discard(self._cells, cell, row)
            self.balance.take(owner.app, cell, owner.memory_mb)


def _discard(sets: defaultdict[str, set[Row]], name: str, row: Row) -> None:
    sets[name].discard(row)
    if not sets[name]:
        del sets[name]
