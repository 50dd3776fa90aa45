"""The arrow to BBS: paths, event names and messages, as Diego has them (bbs routes.go, events/)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from meshnet.wire.gen import bbs_pb2 as pb

CONTENT_TYPE = "application/x-protobuf"

PING = "/v1/ping"
DOMAINS = "/v1/domains/list"
UPSERT_DOMAIN = "/v1/domains/upsert"
DESIRE = "/v1/desired_lrp/desire.r2"
UPDATE = "/v1/desired_lrp/update"
REMOVE_DESIRED = "/v1/desired_lrp/remove"
DESIRED_LIST = "/v1/desired_lrps/list.r3"
DESIRED_BY_GUID = "/v1/desired_lrps/get_by_process_guid.r3"
SCHEDULING_LIST = "/v1/desired_lrp_scheduling_infos/list"
SCHEDULING_BY_GUID = "/v1/desired_lrp_scheduling_infos/get_by_process_guid"
ROUTING_LIST = "/v1/desired_lrp_routing_infos/list"
ACTUAL_LIST = "/v1/actual_lrps/list"
ACTUAL_BY_GUIDS = "/v1/actual_lrps/list_by_process_guids"
GROUP_LIST = "/v1/actual_lrp_groups/list"
GROUPS_BY_GUID = "/v1/actual_lrp_groups/list_by_process_guid"
GROUP_BY_INDEX = "/v1/actual_lrp_groups/get_by_process_guid_and_index"
CLAIM = "/v1/actual_lrps/claim"
START = "/v1/actual_lrps/start.r1"
CRASH = "/v1/actual_lrps/crash"
FAIL = "/v1/actual_lrps/fail"
REMOVE_ACTUAL = "/v1/actual_lrps/remove"
RETIRE = "/v1/actual_lrps/retire"
EVACUATE_CLAIMED = "/v1/actual_lrps/evacuate_claimed"
EVACUATE_CRASHED = "/v1/actual_lrps/evacuate_crashed"
EVACUATE_STOPPED = "/v1/actual_lrps/evacuate_stopped"
EVACUATE_RUNNING = "/v1/actual_lrps/evacuate_running.r1"
REMOVE_EVACUATING = "/v1/actual_lrps/remove_evacuating"
CELLS = "/v1/cells/list.r1"
PRESENCE = "/v1/cells/presence"
EVENTS = "/v1/events/lrp_instances.r1"
GROUP_EVENTS = "/v1/events.r1"
# Diego's older names of a call that takes and answers the same.
OLDER = {
    START: "/v1/actual_lrps/start",
    EVACUATE_RUNNING: "/v1/actual_lrps/evacuate_running",
    DESIRED_LIST: "/v1/desired_lrps/list.r2",
    DESIRED_BY_GUID: "/v1/desired_lrps/get_by_process_guid.r2",
    EVENTS: "/v1/events/lrp_instances",
    GROUP_EVENTS: "/v1/events",
}

UNCLAIMED, CLAIMED, RUNNING, CRASHED = "UNCLAIMED", "CLAIMED", "RUNNING", "CRASHED"

CREATED = "actual_lrp_instance_created"
CHANGED = "actual_lrp_instance_changed"
REMOVED = "actual_lrp_instance_removed"
GROUP_CREATED, GROUP_CHANGED = "actual_lrp_created", "actual_lrp_changed"
GROUP_REMOVED = "actual_lrp_removed"
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


_SHARED = (
    "actual_lrp_net_info",
    "crash_count",
    "crash_reason",
    "state",
    "placement_error",
    "since",
    "modification_tag",
    "presence",
    "routable",
    "availability_zone",
)


def one_each(lrps: Iterable[Any]) -> list[Any]:
    """Of the ActualLRPs of each place the one that counts: that runs, and the ordinary of two."""
    best: dict[tuple[str, int], Any] = {}
    for lrp in sorted(lrps, key=lambda lrp: (lrp.state != RUNNING, lrp.presence)):
        best.setdefault((lrp.actual_lrp_key.process_guid, lrp.actual_lrp_key.index), lrp)
    return list(best.values())


def info(lrp: Any) -> Any:
    """The part of an ActualLRP that its changed event carries before and after."""
    return pb.ActualLRPInfo(**_shared(lrp))


def routable(lrp: Any) -> bool:
    """Whether an ActualLRP takes requests: it runs, and was not said not to be ready."""
    return bool(lrp.state == RUNNING and not (lrp.HasField("routable") and not lrp.routable))


def changed_lrp(event: Any) -> Any:
    """The ActualLRP that a changed event leaves behind."""
    return _whole(event, event.after)


def unchanged_lrp(event: Any) -> Any:
    """The ActualLRP that a changed event says was there before."""
    return _whole(event, event.before)


def _whole(event: Any, part: Any) -> Any:
    return pb.ActualLRP(
        actual_lrp_key=event.actual_lrp_key,
        actual_lrp_instance_key=event.actual_lrp_instance_key,
        **_shared(part),
    )


def _shared(message: Any) -> dict[str, Any]:
    """What ActualLRP and ActualLRPInfo have in common; what is not set stays not set."""
    return {field.name: value for field, value in message.ListFields() if field.name in _SHARED}
