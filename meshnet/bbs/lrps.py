"""Desired and actual LRPs: durable records, their transitions, and the events these make."""

from __future__ import annotations

import base64
import time
import uuid
from collections.abc import Callable, Iterable
from typing import Any

from meshnet.bbs import converge
from meshnet.bbs.events import Hub, cells_of
from meshnet.model.errors import Conflict, InputError, NotFound
from meshnet.store import Store, Transaction
from meshnet.wire import bbs_api as api
from meshnet.wire.gen import bbs_pb2 as pb

_DESIRED, _ACTUAL = "desired", "actual"
_MAX_ROUTES_BYTES = 131_072


def _text(message: Any) -> str:
    return base64.b64encode(message.SerializeToString()).decode("ascii")


def _name(lrp: Any) -> str:
    return f"{lrp.actual_lrp_key.process_guid}/{lrp.actual_lrp_key.index}"


def copy(message: Any) -> Any:
    """A protobuf message of its own with equal content."""
    twin = type(message)()
    twin.CopyFrom(message)
    return twin


class Lrps:
    """The state behind BBS. Every method commits before its events go out."""

    def __init__(self, store: Store, hub: Hub, now_ns: Callable[[], int] = time.time_ns) -> None:
        self._store, self._hub, self._now_ns = store, hub, now_ns
        decode = base64.b64decode
        self.desired: dict[str, Any] = {
            guid: pb.DesiredLRP.FromString(decode(v)) for guid, v in store.list(_DESIRED).items()
        }
        self.actual: dict[tuple[str, int], Any] = {}
        for value in store.list(_ACTUAL).values():
            lrp = pb.ActualLRP.FromString(decode(value))
            self.actual[lrp.actual_lrp_key.process_guid, lrp.actual_lrp_key.index] = lrp

    # --- desired ---

    def desire(self, lrp: Any) -> None:
        """Add a desired LRP, or take over instances and routes of one that exists.

        Raises:
            InputError: it lacks its guid, domain or action, or its routes are too large.
        """
        if not lrp.process_guid or not lrp.domain or not lrp.HasField("action"):
            raise InputError("a desired LRP needs process_guid, domain and action")
        _check(lrp.instances, lrp.routes)
        if lrp.process_guid in self.desired:
            update = pb.DesiredLRPUpdate(instances=lrp.instances, routes=lrp.routes)
            return self.update(lrp.process_guid, update)
        lrp.modification_tag.epoch = str(uuid.uuid4())
        self._store.put(_DESIRED, lrp.process_guid, _text(lrp))
        self.desired[lrp.process_guid] = lrp
        self._hub.publish(api.DESIRED_CREATED, pb.DesiredLRPCreatedEvent(desired_lrp=lrp))
        self._scale(lrp)

    def update(self, process_guid: str, update: Any) -> None:
        """Apply a DesiredLRPUpdate. Raises NotFound."""
        before = self._desired(process_guid)
        after = copy(before)
        if update.HasField("instances"):
            after.instances = update.instances
        if update.HasField("routes"):
            after.routes.CopyFrom(update.routes)
        _check(after.instances, after.routes)
        if after == before:
            return
        after.modification_tag.index += 1
        self._store.put(_DESIRED, process_guid, _text(after))
        self.desired[process_guid] = after
        event = pb.DesiredLRPChangedEvent(before=before, after=after)
        self._hub.publish(api.DESIRED_CHANGED, event)
        self._scale(after)

    def remove(self, process_guid: str) -> None:
        """Remove a desired LRP with its instances. Raises NotFound."""
        lrp = self._desired(process_guid)
        gone = [a for (guid, _), a in self.actual.items() if guid == process_guid]
        with self._store.transaction() as tx:
            tx.delete(_DESIRED, process_guid)
            self._drop(tx, gone)
        del self.desired[process_guid]
        self._removed(gone)
        self._hub.publish(api.DESIRED_REMOVED, pb.DesiredLRPRemovedEvent(desired_lrp=lrp))

    def _desired(self, process_guid: str) -> Any:
        if (lrp := self.desired.get(process_guid)) is None:
            raise NotFound(f"no desired LRP {process_guid!r}")
        return lrp

    def _scale(self, lrp: Any) -> None:
        guid = lrp.process_guid
        create, remove = converge.indexes(
            lrp.instances, (index for g, index in self.actual if g == guid)
        )
        for index in create:
            key = pb.ActualLRPKey(process_guid=guid, index=index, domain=lrp.domain)
            actual = pb.ActualLRP(actual_lrp_key=key, state=api.UNCLAIMED, since=self._now_ns())
            actual.modification_tag.epoch = str(uuid.uuid4())
            self._put(actual)
            self._hub.publish(api.CREATED, pb.ActualLRPInstanceCreatedEvent(actual_lrp=actual))
        self.remove_actual([self.actual[guid, index] for index in remove])

    # --- actual ---

    def claim(self, lrp: Any, cell_id: str) -> None:
        """Give an UNCLAIMED or CRASHED instance to a cell, under a new instance guid."""
        after = copy(lrp)
        after.state, after.since, after.placement_error = api.CLAIMED, self._now_ns(), ""
        after.actual_lrp_instance_key.instance_guid = str(uuid.uuid4())
        after.actual_lrp_instance_key.cell_id = cell_id
        self._change(lrp, after)

    def fail_placement(self, lrp: Any, reason: str) -> None:
        """Note why an instance could not be placed."""
        if lrp.placement_error != reason:
            after = copy(lrp)
            after.placement_error = reason
            self._change(lrp, after)

    def start(self, key: Any, instance_key: Any, net_info: Any) -> None:
        """An instance runs. Raises Conflict where that instance is not the one wanted."""
        lrp = self._instance(key, instance_key, "started")
        after = copy(lrp)
        after.actual_lrp_net_info.CopyFrom(net_info)
        if lrp.state != api.RUNNING:
            after.state, after.since = api.RUNNING, self._now_ns()
        if after != lrp:
            self._change(lrp, after)

    def crash(self, key: Any, instance_key: Any, reason: str) -> Any:
        """An instance crashed; the CRASHED record. Raises Conflict as `start`."""
        lrp = self._instance(key, instance_key, "crashed")
        ran = (self._now_ns() - lrp.since) / 1e9 if lrp.state == api.RUNNING else 0.0
        after = copy(lrp)
        after.crash_count = converge.next_crash_count(lrp.crash_count, ran)
        after.state, after.crash_reason, after.since = api.CRASHED, reason[:1024], self._now_ns()
        after.ClearField("actual_lrp_net_info")
        event = pb.ActualLRPCrashedEvent(
            actual_lrp_key=key,
            actual_lrp_instance_key=instance_key,
            crash_count=after.crash_count,
            crash_reason=after.crash_reason,
            since=after.since,
        )
        self._change(lrp, after)
        self._hub.publish(api.CRASHED_EVENT, event, cells_of(lrp))
        return self.actual[key.process_guid, key.index]

    def unclaim_lost(self, lrps: Iterable[Any]) -> list[Any]:
        """Start over instances whose cell is gone: removed, then created anew; the new records."""
        renewed = []
        for lrp in list(lrps):
            fresh = pb.ActualLRP(
                actual_lrp_key=lrp.actual_lrp_key, state=api.UNCLAIMED, since=self._now_ns()
            )
            fresh.modification_tag.epoch = str(uuid.uuid4())
            self._put(fresh)
            self._removed([lrp])
            self._hub.publish(api.CREATED, pb.ActualLRPInstanceCreatedEvent(actual_lrp=fresh))
            renewed.append(fresh)
        return renewed

    def remove_actual(self, lrps: list[Any]) -> None:
        """Remove instances; their cells hear of it and stop them."""
        with self._store.transaction() as tx:
            self._drop(tx, lrps)
        self._removed(lrps)

    def _instance(self, key: Any, instance_key: Any, verb: str) -> Any:
        lrp = self.actual.get((key.process_guid, key.index))
        if lrp is None or lrp.actual_lrp_instance_key != instance_key:
            guid = instance_key.instance_guid
            raise Conflict(f"instance {guid} cannot be {verb}: it is not wanted any longer")
        return lrp

    def _put(self, lrp: Any) -> None:
        self._store.put(_ACTUAL, _name(lrp), _text(lrp))
        self.actual[lrp.actual_lrp_key.process_guid, lrp.actual_lrp_key.index] = lrp

    def _change(self, before: Any, after: Any) -> None:
        after.modification_tag.index += 1
        self._put(after)
        event = pb.ActualLRPInstanceChangedEvent(
            actual_lrp_key=after.actual_lrp_key,
            actual_lrp_instance_key=after.actual_lrp_instance_key,
            before=api.info(before),
            after=api.info(after),
        )
        self._hub.publish(api.CHANGED, event, cells_of(before, after))

    def _drop(self, tx: Transaction, lrps: Iterable[Any]) -> None:
        for lrp in lrps:
            tx.delete(_ACTUAL, _name(lrp))

    def _removed(self, lrps: Iterable[Any]) -> None:
        for lrp in lrps:
            key = lrp.actual_lrp_key.process_guid, lrp.actual_lrp_key.index
            if self.actual.get(key) is lrp:
                del self.actual[key]
            event = pb.ActualLRPInstanceRemovedEvent(actual_lrp=lrp)
            self._hub.publish(api.REMOVED, event, cells_of(lrp))


def _check(instances: int, routes: Any) -> None:
    if instances < 0:
        raise InputError(f"instances cannot be {instances}")
    if sum(len(value) for value in routes.routes.values()) > _MAX_ROUTES_BYTES:
        raise InputError(f"routes are larger than {_MAX_ROUTES_BYTES} bytes")
