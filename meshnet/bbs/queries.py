"""What is asked of BBS: request message in, response message out."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby
from typing import Any

from meshnet.bbs.lrps import Lrps
from meshnet.bbs.table import key_of
from meshnet.model.errors import NotFound
from meshnet.wire import bbs_api as api
from meshnet.wire.gen import bbs_pb2 as pb


class Queries:
    """One method per call; errors are MeshnetErrors, answered in band."""

    def __init__(self, lrps: Lrps) -> None:
        self._lrps, self._table = lrps, lrps.table

    # --- desired ---

    def desired_list(self, request: Any) -> Any:
        """Desired LRPs, of a domain or of some guids where named."""
        return pb.DesiredLRPsResponse(desired_lrps=self._desired(request))

    def routing_list(self, request: Any) -> Any:
        """As `desired_list`, but only what routers need."""
        return pb.DesiredLRPsResponse(
            desired_lrps=[
                pb.DesiredLRP(
                    process_guid=lrp.process_guid,
                    domain=lrp.domain,
                    log_guid=lrp.log_guid,
                    instances=lrp.instances,
                    routes=lrp.routes,
                    modification_tag=lrp.modification_tag,
                )
                for lrp in self._desired(request)
            ]
        )

    def scheduling_list(self, request: Any) -> Any:
        """As `desired_list`, but only what the auction needs."""
        return pb.DesiredLRPSchedulingInfosResponse(
            desired_lrp_scheduling_infos=[_scheduling(lrp) for lrp in self._desired(request)]
        )

    def desired_by_guid(self, request: Any) -> Any:
        """One desired LRP."""
        return pb.DesiredLRPResponse(desired_lrp=self._one(request.process_guid))

    def scheduling_by_guid(self, request: Any) -> Any:
        """What the auction needs of one desired LRP."""
        info = _scheduling(self._one(request.process_guid))
        return pb.DesiredLRPSchedulingInfoByProcessGuidResponse(desired_lrp_scheduling_info=info)

    def _desired(self, request: Any) -> list[Any]:
        desired = self._lrps.desired
        found: Iterable[Any] = desired.values()
        if request.process_guids:
            guids = dict.fromkeys(request.process_guids)
            found = [desired[guid] for guid in guids if guid in desired]
        return [lrp for lrp in found if not request.domain or lrp.domain == request.domain]

    def _one(self, process_guid: str) -> Any:
        if (lrp := self._lrps.desired.get(process_guid)) is None:
            raise NotFound(f"no desired LRP {process_guid!r}")
        return lrp

    # --- actual ---

    def actual_list(self, request: Any) -> Any:
        """Actual LRPs that fit every field that is set."""
        guid = request.process_guid
        rows = self._table.of_process(guid) if guid else self._table.all()
        return pb.ActualLRPsResponse(
            actual_lrps=[
                lrp
                for lrp in rows
                if _fits(lrp, request)
                and (not request.HasField("index") or lrp.actual_lrp_key.index == request.index)
            ]
        )

    def actual_by_guids(self, request: Any) -> Any:
        """Actual LRPs of some processes."""
        guids = dict.fromkeys(request.process_guids)
        found = [lrp for guid in guids for lrp in self._table.of_process(guid)]
        return pb.ActualLRPsByProcessGuidsResponse(actual_lrps=found)

    def group_list(self, request: Any) -> Any:
        """Groups of a domain or a cell, where named."""
        rows = sorted(self._table.all(), key=key_of)
        return _groups(lrp for lrp in rows if _fits(lrp, request))

    def groups_by_guid(self, request: Any) -> Any:
        """Groups of a process."""
        return _groups(self._table.of_process(request.process_guid))

    def group_by_index(self, request: Any) -> Any:
        """The group of a place."""
        rows = self._table.at((request.process_guid, request.index))
        if not rows:
            raise NotFound(f"no instance {request.index} of process {request.process_guid!r}")
        return pb.ActualLRPGroupResponse(actual_lrp_group=_group(rows))


def _fits(lrp: Any, request: Any) -> bool:
    key, instance = lrp.actual_lrp_key, lrp.actual_lrp_instance_key
    return (not request.domain or key.domain == request.domain) and (
        not request.cell_id or instance.cell_id == request.cell_id
    )


def _groups(rows: Iterable[Any]) -> Any:
    groups = [_group(list(found)) for _, found in groupby(rows, key_of)]
    return pb.ActualLRPGroupsResponse(actual_lrp_groups=groups)


def _group(rows: list[Any]) -> Any:
    """The evacuating record, and beside it the suspect one until the ordinary one runs."""
    by_presence = {lrp.presence: lrp for lrp in rows}
    instance, suspect = by_presence.get(pb.ORDINARY), by_presence.get(pb.SUSPECT)
    if suspect is not None and (instance is None or instance.state != api.RUNNING):
        instance = suspect
    return pb.ActualLRPGroup(instance=instance, evacuating=by_presence.get(pb.EVACUATING))


def _scheduling(lrp: Any) -> Any:
    return pb.DesiredLRPSchedulingInfo(
        desired_lrp_key=pb.DesiredLRPKey(
            process_guid=lrp.process_guid, domain=lrp.domain, log_guid=lrp.log_guid
        ),
        annotation=lrp.annotation,
        instances=lrp.instances,
        desired_lrp_resource=pb.DesiredLRPResource(
            memory_mb=lrp.memory_mb,
            disk_mb=lrp.disk_mb,
            root_fs=lrp.root_fs,
            max_pids=lrp.max_pids,
        ),
        routes=lrp.routes,
        modification_tag=lrp.modification_tag,
    )
