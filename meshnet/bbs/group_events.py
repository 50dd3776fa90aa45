"""Instances' events as events of groups, which Diego's older clients listen to. Pure.

Source: cloudfoundry/bbs events/calculator, models/actual_lrp.go (ToActualLRPGroup).
"""

from __future__ import annotations

from typing import Any

from meshnet.wire import bbs_api as api
from meshnet.wire.gen import bbs_pb2 as pb


def grouped(name: str, message: Any) -> list[tuple[str, Any]]:
    """The events (name, message) of groups that one of an instance is; any other is itself."""
    if name == api.CREATED:
        return [_created(message.actual_lrp)]
    if name == api.REMOVED:
        return [_removed(message.actual_lrp)]
    if name != api.CHANGED:
        return [(name, message)]
    before, after = api.unchanged_lrp(message), api.changed_lrp(message)
    if _leaves(before) != _leaves(after):  # it moves to the other half of its group
        return [_created(after), _removed(before)]
    event = pb.ActualLRPChangedEvent(before=_group(before), after=_group(after))
    return [(api.GROUP_CHANGED, event)]


def _created(lrp: Any) -> tuple[str, Any]:
    return api.GROUP_CREATED, pb.ActualLRPCreatedEvent(actual_lrp_group=_group(lrp))


def _removed(lrp: Any) -> tuple[str, Any]:
    return api.GROUP_REMOVED, pb.ActualLRPRemovedEvent(actual_lrp_group=_group(lrp))


def _group(lrp: Any) -> Any:
    return pb.ActualLRPGroup(evacuating=lrp) if _leaves(lrp) else pb.ActualLRPGroup(instance=lrp)


def _leaves(lrp: Any) -> bool:
    return bool(lrp.presence == pb.EVACUATING)
