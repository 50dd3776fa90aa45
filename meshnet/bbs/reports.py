"""What cells report of their instances: claimed, running, crashed, stopped."""

from __future__ import annotations

from typing import Any

from meshnet.bbs import converge
from meshnet.bbs.lrps import Lrps
from meshnet.bbs.records import MAX_REASON, check_instance, check_key, copy
from meshnet.bbs.table import Key
from meshnet.model.errors import Conflict, NotFound
from meshnet.wire import bbs_api as api
from meshnet.wire.gen import bbs_pb2 as pb


class Reports:
    """Each report one unit of work. InputError where a key names nothing."""

    def __init__(self, lrps: Lrps) -> None:
        self._lrps, self._table = lrps, lrps.table

    def claim(self, process_guid: str, index: int, instance: Any) -> None:
        """A cell takes an UNCLAIMED instance by itself. Raises NotFound, Conflict."""
        key = pb.ActualLRPKey(process_guid=process_guid, index=index)
        check_key(key)
        check_instance(instance)
        lrp = self._ordinary(key)
        if lrp.state == api.CLAIMED and lrp.actual_lrp_instance_key == instance:
            return
        if lrp.state != api.UNCLAIMED:
            raise Conflict(
                f"instance {instance.instance_guid} cannot be claimed: it is {lrp.state}"
            )
        with self._lrps.state.work() as work:
            self._lrps.claim(work, lrp, instance)

    def start(self, report: Any) -> None:
        """An instance runs: a StartActualLRPRequest.

        The suspect and the evacuating instance that it replaces are removed.

        Raises:
            Conflict: that instance is not the one wanted.
        """
        check_key(report.actual_lrp_key)
        check_instance(report.actual_lrp_instance_key)
        key, instance = _place(report.actual_lrp_key), report.actual_lrp_instance_key
        found = self._table.find(key, instance)
        if found is not None and found.presence == pb.SUSPECT:
            return  # its cell's presence, when it is back, says what becomes of it
        lrp = self._table.get(key)
        if lrp is None or (lrp.actual_lrp_instance_key != instance and lrp.state != api.UNCLAIMED):
            raise Conflict(
                f"instance {instance.instance_guid} cannot be started: it is not wanted any longer"
            )
        if lrp.state == api.CRASHED:
            raise Conflict(f"instance {instance.instance_guid} cannot be started: it is CRASHED")
        after = copy(lrp)
        after.actual_lrp_instance_key.CopyFrom(instance)
        take_report(after, report)
        if lrp.state != api.RUNNING:
            after.state, after.since, after.placement_error = api.RUNNING, self._lrps.now_ns(), ""
        replaced = [one for one in self._table.at(key) if one is not lrp]
        if after == lrp and not replaced:
            return
        with self._lrps.state.work() as work:
            if after != lrp:
                work.change(lrp, after)
            for one in replaced:
                work.drop(one)

    def crash(self, key: Any, instance: Any, reason: str) -> None:
        """An instance crashed. Raises Conflict as `start`, so a report said twice counts once."""
        check_key(key)
        lrp = self._table.find(_place(key), instance)
        guid = instance.instance_guid
        if lrp is None:
            raise Conflict(f"instance {guid} cannot be crashed: it is not wanted any longer")
        if lrp.state not in (api.CLAIMED, api.RUNNING):
            raise Conflict(f"instance {guid} cannot be crashed: it is {lrp.state}")
        if lrp.presence != pb.ORDINARY:  # its replacement is under way
            with self._lrps.state.work() as work:
                return work.drop(lrp)
        now = self._lrps.now_ns()
        ran = (now - lrp.since) / 1e9 if lrp.state == api.RUNNING else 0.0
        after = copy(lrp)
        after.crash_count = converge.next_crash_count(lrp.crash_count, ran)
        after.state, after.crash_reason, after.since = api.CRASHED, reason[:MAX_REASON], now
        after.ClearField("actual_lrp_net_info")
        event = pb.ActualLRPCrashedEvent(
            actual_lrp_key=lrp.actual_lrp_key,
            actual_lrp_instance_key=instance,
            crash_count=after.crash_count,
            crash_reason=after.crash_reason,
            since=now,
        )
        with self._lrps.state.work() as work:
            work.change(lrp, after)
            work.tell(api.CRASHED_EVENT, event, lrp)
        return None

    def fail(self, key: Any, reason: str) -> None:
        """An instance could not be placed, and why. Raises NotFound, Conflict."""
        check_key(key)
        lrp = self._ordinary(key)
        if lrp.state != api.UNCLAIMED:
            raise Conflict(f"an instance that is {lrp.state} cannot fail to be placed")
        after = copy(lrp)
        after.placement_error = reason[:MAX_REASON]
        if after != lrp:
            with self._lrps.state.work() as work:
                work.change(lrp, after)

    def remove(self, process_guid: str, index: int, instance: Any | None) -> None:
        """A cell has stopped an instance; it starts over if it is still wanted.

        Raises NotFound, and Conflict where `instance` is given and is not recorded.
        """
        key = pb.ActualLRPKey(process_guid=process_guid, index=index)
        check_key(key)
        lrp = self._ordinary(key)
        if instance is not None:
            lrp = self._table.find(_place(key), instance)
            if lrp is None:
                text = f"instance {instance.instance_guid} cannot be removed: it is not there"
                raise Conflict(text)
        with self._lrps.state.work() as work:
            self._lrps.renew(work, lrp)

    def retire(self, key: Any) -> None:
        """An instance is to be stopped, wherever it is. Raises NotFound.

        Its cell hears that the record is gone.
        """
        check_key(key)
        lrp = self._ordinary(key)
        with self._lrps.state.work() as work:
            self._lrps.renew(work, lrp)

    def _ordinary(self, key: Any) -> Any:
        if (lrp := self._table.get(_place(key))) is None:
            raise NotFound(f"no instance {key.index} of process {key.process_guid!r}")
        return lrp


def take_report(lrp: Any, report: Any) -> None:
    """Write into a record what a cell says of an instance that runs."""
    lrp.actual_lrp_net_info.CopyFrom(report.actual_lrp_net_info)
    del lrp.actual_lrp_internal_routes[:]
    lrp.actual_lrp_internal_routes.extend(report.actual_lrp_internal_routes)
    lrp.metric_tags.clear()
    lrp.metric_tags.update(report.metric_tags)
    lrp.ClearField("routable")
    if report.HasField("routable"):
        lrp.routable = report.routable
    lrp.availability_zone = report.availability_zone or lrp.availability_zone


def _place(key: Any) -> Key:
    return key.process_guid, key.index
