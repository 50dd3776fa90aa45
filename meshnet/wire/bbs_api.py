"""The arrow to BBS: paths, event names and messages, as Diego has them (bbs routes.go, events/)."""

from __future__ import annotations

from typing import Any

from meshnet.wire.gen import bbs_pb2 as pb

CONTENT_TYPE = "application/x-protobuf"

PING = "/v1/ping"
DESIRE = "/v1/desired_lrp/desire.r2"
UPDATE = "/v1/desired_lrp/update"
REMOVE_DESIRED = "/v1/desired_lrp/remove"
DESIRED_LIST = "/v1/desired_lrps/list.r3"
DESIRED_BY_GUID = "/v1/desired_lrps/get_by_process_guid.r3"
ACTUAL_LIST = "/v1/actual_lrps/list"
START = "/v1/actual_lrps/start.r1"
CRASH = "/v1/actual_lrps/crash"
REMOVE_ACTUAL = "/v1/actual_lrps/remove"
CELLS = "/v1/cells/list.r1"
PRESENCE = "/v1/cells/presence"
EVENTS = "/v1/events/lrp_instances.r1"

UNCLAIMED, CLAIMED, RUNNING, CRASHED = "UNCLAIMED", "CLAIMED", "RUNNING", "CRASHED"

CREATED = "actual_lrp_instance_created"
CHANGED = "actual_lrp_instance_changed"
REMOVED = "actual_lrp_instance_removed"
CRASHED_EVENT = "actual_lrp_crashed"
DESIRED_CREATED = "desired_lrp_created"
DESIRED_CHANGED = "desired_lrp_changed"
DESIRED_REMOVED = "desired_lrp_removed"

EVENT_TYPES: dict[str, Any] = {
    CREATED: pb.ActualLRPInstanceCreatedEvent,
    CHANGED: pb.ActualLRPInstanceChangedEvent,
    REMOVED: pb.ActualLRPInstanceRemovedEvent,
    CRASHED_EVENT: pb.ActualLRPCrashedEvent,
    DESIRED_CREATED: pb.DesiredLRPCreatedEvent,
    DESIRED_CHANGED: pb.DesiredLRPChangedEvent,
    DESIRED_REMOVED: pb.DesiredLRPRemovedEvent,
}
INTERNAL_ROUTER = "internal-router"  # key of DesiredLRP.routes: JSON [{"hostname": ...}]


def info(lrp: Any) -> Any:
    """The part of an ActualLRP that its changed event carries before and after."""
    return pb.ActualLRPInfo(
        actual_lrp_net_info=lrp.actual_lrp_net_info,
        crash_count=lrp.crash_count,
        crash_reason=lrp.crash_reason,
        state=lrp.state,
        placement_error=lrp.placement_error,
        since=lrp.since,
        modification_tag=lrp.modification_tag,
        presence=lrp.presence,
    )


def changed_lrp(event: Any) -> Any:
    """The ActualLRP that a changed event leaves behind."""
    after = event.after
    return pb.ActualLRP(
        actual_lrp_key=event.actual_lrp_key,
        actual_lrp_instance_key=event.actual_lrp_instance_key,
        actual_lrp_net_info=after.actual_lrp_net_info,
        crash_count=after.crash_count,
        crash_reason=after.crash_reason,
        state=after.state,
        placement_error=after.placement_error,
        since=after.since,
        modification_tag=after.modification_tag,
        presence=after.presence,
    )
