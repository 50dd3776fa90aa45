"""Desired LRPs, and the cells that their instances get: each transition one unit of work."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from meshnet.bbs.converge import Room
from meshnet.bbs.records import check_desired, check_scale, copy, first_tag, fresh
from meshnet.bbs.table import Key, Table, key_of
from meshnet.bbs.work import State, Work
from meshnet.model.errors import NotFound
from meshnet.wire import bbs_api as api
from meshnet.wire.gen import bbs_pb2 as pb

NO_CELL = "found no compatible cell"  # Diego's words (auctiontypes)


class Lrps:
    """What is desired, and where it goes. Records handed out or in are never changed afterwards."""

    def __init__(self, state: State, now_ns: Callable[[], int] = time.time_ns) -> None:
        self.state, self.now_ns = state, now_ns

    @property
    def desired(self) -> dict[str, Any]:
        """DesiredLRPs by process guid."""
        return self.state.desired

    @property
    def table(self) -> Table:
        """ActualLRPs."""
        return self.state.table

    # --- desired ---

    def desire(self, lrp: Any) -> None:
        """Add a desired LRP with its instances, or take over scale and routes of a present one.

        Raises:
            InputError: it lacks its guid, domain or action, or its scale or routes are too large.
        """
        check_desired(lrp)
        if lrp.process_guid in self.desired:
            update = pb.DesiredLRPUpdate(instances=lrp.instances, routes=lrp.routes)
            return self.update(lrp.process_guid, update)
        new = copy(lrp)
        new.modification_tag.CopyFrom(first_tag())
        with self.state.work() as work:
            work.put_desired(new)
            work.tell(api.DESIRED_CREATED, pb.DesiredLRPCreatedEvent(desired_lrp=new))
            self._scale(work, new)

    def update(self, process_guid: str, update: Any) -> None:
        """Apply a DesiredLRPUpdate. Raises NotFound, InputError."""
        before = self._desired(process_guid)
        after = copy(before)
        if update.HasField("instances"):
            after.instances = update.instances
        if update.HasField("annotation"):
            after.annotation = update.annotation
        # Not set and empty are one: a change of no more than that would be told for nothing.
        if update.HasField("routes") and update.routes != before.routes:
            after.routes.CopyFrom(update.routes)
        check_scale(after)
        with self.state.work() as work:
            if after != before:
                after.modification_tag.index += 1
                work.put_desired(after)
                event = pb.DesiredLRPChangedEvent(before=before, after=after)
                work.tell(api.DESIRED_CHANGED, event)
            self._scale(work, after)

    def remove(self, process_guid: str) -> None:
        """Remove a desired LRP with its instances. Raises NotFound."""
        lrp = self._desired(process_guid)
        with self.state.work() as work:
            for actual in self.table.of_process(process_guid):
                work.drop(actual)
            work.drop_desired(lrp)

    def wants(self, key: Key) -> bool:
        """Whether an instance is desired at a place."""
        desired = self.desired.get(key[0])
        return desired is not None and 0 <= key[1] < desired.instances

    def converge(self) -> None:
        """Make the instances' records fit the desired ones, whatever a store holds."""
        with self.state.work() as work:
            for lrp in self.desired.values():
                self._scale(work, lrp)
            for actual in list(self.table.all()):
                if actual.actual_lrp_key.process_guid not in self.desired:
                    work.drop(actual)

    def _desired(self, process_guid: str) -> Any:
        if (lrp := self.desired.get(process_guid)) is None:
            raise NotFound(f"no desired LRP {process_guid!r}")
        return lrp

    def _scale(self, work: Work, lrp: Any) -> None:
        present = self.table.of_process(lrp.process_guid)
        ordinary = {a.actual_lrp_key.index for a in present if a.presence == pb.ORDINARY}
        for index in sorted(set(range(lrp.instances)) - ordinary):
            key = pb.ActualLRPKey(process_guid=lrp.process_guid, index=index, domain=lrp.domain)
            work.create(fresh(key, self.now_ns()))
        for actual in present:
            if not 0 <= actual.actual_lrp_key.index < lrp.instances:
                work.drop(actual)

    # --- placement ---

    def place(
        self, keys: Iterable[Key], cells: Sequence[str], rooms: Mapping[str, Room] = {}
    ) -> None:
        """Give UNCLAIMED and CRASHED instances a cell each, under a new instance guid.

        Where no cell has room they become, or stay, UNCLAIMED and say why.

        Args:
            rooms: as in Balance.choose.
        """
        with self.state.work() as work:
            for lrp, cell, lacks in self._choose(keys, cells, rooms):
                if cell is None:
                    self._wait(work, lrp, lacks)
                else:
                    guid = str(uuid.uuid4())
                    instance = pb.ActualLRPInstanceKey(instance_guid=guid, cell_id=cell)
                    self.claim(work, lrp, instance, rooms.get(cell, Room()).zone)

    def _choose(
        self, keys: Iterable[Key], cells: Sequence[str], rooms: Mapping[str, Room]
    ) -> list[tuple[Any, str | None, str]]:
        """Instances that need a cell, each with the cell it gets, or what every cell lacks."""
        balance, chosen = self.table.balance, list[tuple[Any, str | None, str]]()
        refused: dict[int, str] = {}  # memory to what all lack; there is never more room below
        for key in keys:
            lrp = self.table.get(key)
            if lrp is None or lrp.state not in (api.UNCLAIMED, api.CRASHED):
                continue
            app, memory_mb = self.table.owner(lrp)
            cell = None
            if memory_mb not in refused:
                cell = balance.choose(app, memory_mb, cells, rooms)
            if cell is not None:
                balance.add(app, cell, memory_mb)  # for the next one; the records count themselves
                chosen.append((lrp, cell, ""))
                continue
            if memory_mb not in refused:
                refused[memory_mb] = balance.lacking(memory_mb, cells, rooms) or NO_CELL
            chosen.append((lrp, None, refused[memory_mb]))
        for lrp, cell, _ in chosen:  # once they are committed, so these are taken back
            if cell is not None:
                app, memory_mb = self.table.owner(lrp)
                balance.take(app, cell, memory_mb)
        return chosen

    def claim(self, work: Work, lrp: Any, instance: Any, zone: str = "") -> None:
        """An instance is a cell's to start."""
        after = copy(lrp)
        after.state, after.since, after.placement_error = api.CLAIMED, self.now_ns(), ""
        after.actual_lrp_instance_key.CopyFrom(instance)
        after.availability_zone = zone
        work.change(lrp, after)

    def _wait(self, work: Work, lrp: Any, reason: str) -> None:
        if lrp.state == api.UNCLAIMED and lrp.placement_error == reason:
            return
        after = copy(lrp)
        after.state, after.placement_error = api.UNCLAIMED, reason
        after.ClearField("actual_lrp_instance_key")
        work.change(lrp, after)

    def renew(self, work: Work, lrp: Any) -> None:
        """Drop a record; the instance starts over if it is ordinary and still wanted."""
        if lrp.presence == pb.ORDINARY and self.wants(key_of(lrp)):
            work.create(fresh(lrp.actual_lrp_key, self.now_ns()))
        work.drop(lrp)
