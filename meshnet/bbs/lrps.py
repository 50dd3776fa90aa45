"""Desired and actual LRPs: their transitions, each one unit of work, as Diego has them."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from meshnet.bbs import converge
from meshnet.bbs.table import Key, Table, key_of
from meshnet.bbs.work import State, Work
from meshnet.model.errors import Conflict, InputError, NotFound
from meshnet.wire import bbs_api as api
from meshnet.wire.gen import bbs_pb2 as pb

MAX_INSTANCES = 10_000  # of one process: a slip of the finger must not fill the memory
_MAX_ROUTES_BYTES = 131_072
_MAX_REASON = 1024
# Diego's words for a placement error (auctiontypes, rep.InsufficientResourcesError).
NO_CELL, NO_ROOM = "found no compatible cell", "insufficient resources: containers"


def copy(message: Any) -> Any:
    """A protobuf message of its own with equal content."""
    twin = type(message)()
    twin.CopyFrom(message)
    return twin


class Lrps:
    """What may happen to LRPs. Records handed out or in are never changed afterwards."""

    def __init__(self, state: State, now_ns: Callable[[], int] = time.time_ns) -> None:
        self._state, self._now_ns = state, now_ns

    @property
    def desired(self) -> dict[str, Any]:
        """DesiredLRPs by process guid."""
        return self._state.desired

    @property
    def table(self) -> Table:
        """ActualLRPs."""
        return self._state.table

    # --- desired ---

    def desire(self, lrp: Any) -> None:
        """Add a desired LRP with its instances, or take over scale and routes of a present one.

        Raises:
            InputError: it lacks its guid, domain or action, or its scale or routes are too large.
        """
        if not lrp.process_guid or not lrp.domain or not lrp.HasField("action"):
            raise InputError("a desired LRP needs process_guid, domain and action")
        _check(lrp.instances, lrp.routes)
        if lrp.process_guid in self.desired:
            update = pb.DesiredLRPUpdate(instances=lrp.instances, routes=lrp.routes)
            return self.update(lrp.process_guid, update)
        fresh = copy(lrp)
        fresh.modification_tag.CopyFrom(_first_tag())
        with self._state.work() as work:
            work.put_desired(fresh)
            work.tell(api.DESIRED_CREATED, pb.DesiredLRPCreatedEvent(desired_lrp=fresh))
            self._scale(work, fresh)

    def update(self, process_guid: str, update: Any) -> None:
        """Apply a DesiredLRPUpdate. Raises NotFound, InputError."""
        before = self._desired(process_guid)
        after = copy(before)
        if update.HasField("instances"):
            after.instances = update.instances
        # Not set and empty are one: a change of no more than that would be told for nothing.
        if update.HasField("routes") and update.routes != before.routes:
            after.routes.CopyFrom(update.routes)
        _check(after.instances, after.routes)
        with self._state.work() as work:
            if after != before:
                after.modification_tag.index += 1
                work.put_desired(after)
                event = pb.DesiredLRPChangedEvent(before=before, after=after)
                work.tell(api.DESIRED_CHANGED, event)
            self._scale(work, after)

    def remove(self, process_guid: str) -> None:
        """Remove a desired LRP with its instances. Raises NotFound."""
        lrp = self._desired(process_guid)
        with self._state.work() as work:
            for actual in self.table.of_process(process_guid):
                work.drop(actual)
            work.drop_desired(lrp)

    def converge(self) -> None:
        """Make the instances' records fit the desired ones, whatever a store holds."""
        with self._state.work() as work:
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
        present = {a.actual_lrp_key.index: a for a in self.table.of_process(lrp.process_guid)}
        create, remove = converge.indexes(lrp.instances, present)
        for index in create:
            key = pb.ActualLRPKey(process_guid=lrp.process_guid, index=index, domain=lrp.domain)
            work.create(self._fresh(key))
        for index in remove:
            work.drop(present[index])

    def _fresh(self, key: Any) -> Any:
        return pb.ActualLRP(
            actual_lrp_key=key,
            state=api.UNCLAIMED,
            since=self._now_ns(),
            modification_tag=_first_tag(),
        )

    # --- placement ---

    def place(
        self, keys: Iterable[Key], cells: Sequence[str], room: Mapping[str, int] = {}
    ) -> None:
        """Give UNCLAIMED and CRASHED instances a cell each, under a new instance guid.

        Where no cell has room they become, or stay, UNCLAIMED and say why.

        Args:
            room: as in Balance.choose.
        """
        with self._state.work() as work:
            for lrp, cell in self._choose(keys, cells, room):
                if cell is None:
                    self._wait(work, lrp, NO_ROOM if cells else NO_CELL)
                else:
                    guid = str(uuid.uuid4())
                    instance = pb.ActualLRPInstanceKey(instance_guid=guid, cell_id=cell)
                    self._claim(work, lrp, instance)

    def _choose(
        self, keys: Iterable[Key], cells: Sequence[str], room: Mapping[str, int]
    ) -> list[tuple[Any, str | None]]:
        """Instances that need a cell, each with the cell it gets."""
        balance, chosen = self.table.balance, list[tuple[Any, str | None]]()
        for key in keys:
            lrp = self.table.get(key)
            if lrp is None or lrp.state not in (api.UNCLAIMED, api.CRASHED):
                continue
            app = self.table.app(key)
            chosen.append((lrp, cell := balance.choose(app, cells, room)))
            if cell is not None:
                balance.add(app, cell)  # for the next one to see; the records themselves count
        for lrp, cell in chosen:  # once they are committed, so these are taken back
            if cell is not None:
                balance.take(self.table.app(key_of(lrp)), cell)
        return chosen

    def renew_lost(self, cell_id: str) -> list[Key]:
        """Start over what a lost cell had: removed, then created anew; its keys."""
        lost = self.table.on_cell(cell_id)
        with self._state.work() as work:
            for lrp in lost:
                work.create(self._fresh(lrp.actual_lrp_key))
                work.drop(lrp)
        return [key_of(lrp) for lrp in lost]

    def _claim(self, work: Work, lrp: Any, instance: Any) -> None:
        after = copy(lrp)
        after.state, after.since, after.placement_error = api.CLAIMED, self._now_ns(), ""
        after.actual_lrp_instance_key.CopyFrom(instance)
        work.change(lrp, after)

    def _wait(self, work: Work, lrp: Any, reason: str) -> None:
        if lrp.state == api.UNCLAIMED and lrp.placement_error == reason:
            return
        after = copy(lrp)
        after.state, after.placement_error = api.UNCLAIMED, reason
        after.ClearField("actual_lrp_instance_key")
        work.change(lrp, after)

    # --- what cells report ---

    def claim(self, process_guid: str, index: int, instance: Any) -> None:
        """A cell takes an UNCLAIMED instance by itself. Raises NotFound, Conflict."""
        lrp = self.table.get((process_guid, index))
        if lrp is None:
            raise NotFound(f"no instance {index} of process {process_guid!r}")
        if not instance.instance_guid or not instance.cell_id:
            raise InputError("a claim needs instance_guid and cell_id")
        if lrp.state == api.CLAIMED and lrp.actual_lrp_instance_key == instance:
            return
        if lrp.state != api.UNCLAIMED:
            raise Conflict(
                f"instance {instance.instance_guid} cannot be claimed: it is {lrp.state}"
            )
        with self._state.work() as work:
            self._claim(work, lrp, instance)

    def start(self, key: Any, instance: Any, net_info: Any) -> None:
        """An instance runs. Raises Conflict where that instance is not the one wanted."""
        lrp = self._instance((key.process_guid, key.index), instance, "started")
        after = copy(lrp)
        after.actual_lrp_net_info.CopyFrom(net_info)
        if lrp.state != api.RUNNING:
            after.state, after.since = api.RUNNING, self._now_ns()
        if after != lrp:
            with self._state.work() as work:
                work.change(lrp, after)

    def crash(self, key: Any, instance: Any, reason: str) -> None:
        """An instance crashed. Raises Conflict as `start`, so a report said twice counts once."""
        lrp = self._instance((key.process_guid, key.index), instance, "crashed")
        now = self._now_ns()
        ran = (now - lrp.since) / 1e9 if lrp.state == api.RUNNING else 0.0
        after = copy(lrp)
        after.crash_count = converge.next_crash_count(lrp.crash_count, ran)
        after.state, after.crash_reason, after.since = api.CRASHED, reason[:_MAX_REASON], now
        after.ClearField("actual_lrp_net_info")
        event = pb.ActualLRPCrashedEvent(
            actual_lrp_key=lrp.actual_lrp_key,
            actual_lrp_instance_key=instance,
            crash_count=after.crash_count,
            crash_reason=after.crash_reason,
            since=now,
        )
        with self._state.work() as work:
            work.change(lrp, after)
            work.tell(api.CRASHED_EVENT, event, lrp)

    def remove_actual(self, process_guid: str, index: int, instance: Any | None) -> None:
        """A cell has stopped an instance; it starts over if it is still wanted.

        Raises NotFound, and Conflict where `instance` is given and is not the one recorded.
        """
        lrp = self.table.get((process_guid, index))
        if lrp is None:
            raise NotFound(f"no instance {index} of process {process_guid!r}")
        if instance is not None and lrp.actual_lrp_instance_key != instance:
            raise Conflict(f"instance {instance.instance_guid} cannot be removed: it is not there")
        desired = self.desired.get(process_guid)
        with self._state.work() as work:
            if desired is not None and index < desired.instances:
                work.create(self._fresh(lrp.actual_lrp_key))
            work.drop(lrp)

    def _instance(self, key: Key, instance: Any, verb: str) -> Any:
        lrp = self.table.get(key)
        guid = instance.instance_guid
        if lrp is None or lrp.actual_lrp_instance_key != instance:
            raise Conflict(f"instance {guid} cannot be {verb}: it is not wanted any longer")
        if lrp.state not in (api.CLAIMED, api.RUNNING):
            raise Conflict(f"instance {guid} cannot be {verb}: it is {lrp.state}")
        return lrp


def _first_tag() -> Any:
    return pb.ModificationTag(epoch=str(uuid.uuid4()))


def _check(instances: int, routes: Any) -> None:
    if not 0 <= instances <= MAX_INSTANCES:
        raise InputError(f"instances must be 0 to {MAX_INSTANCES}, not {instances}")
    if sum(len(value) for value in routes.routes.values()) > _MAX_ROUTES_BYTES:
        raise InputError(f"routes are larger than {_MAX_ROUTES_BYTES} bytes")
