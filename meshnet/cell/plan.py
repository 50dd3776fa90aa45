"""What BBS wants of this cell against what the cell has. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from meshnet.wire import bbs_api as api


@dataclass(frozen=True)
class Plan:
    """Instances to start (ActualLRPs), to stop (guids), and to report crashed (ActualLRPs)."""

    start: tuple[Any, ...]
    stop: tuple[str, ...]
    crashed: tuple[Any, ...]


def plan(wanted: Iterable[Any], present: Iterable[str]) -> Plan:
    """Compare BBS's records of this cell with the guids of the instances it has.

    A CLAIMED instance that is not there is started. A RUNNING one that is not there was lost with
    the agent or the machine: BBS hears of its crash, and decides. The rest is stopped.
    """
    have = set(present)
    active = {
        lrp.actual_lrp_instance_key.instance_guid: lrp
        for lrp in wanted
        if lrp.state in (api.CLAIMED, api.RUNNING)
    }
    missing = [lrp for guid, lrp in active.items() if guid not in have]
    return Plan(
        start=tuple(lrp for lrp in missing if lrp.state == api.CLAIMED),
        stop=tuple(sorted(have - active.keys())),
        crashed=tuple(lrp for lrp in missing if lrp.state == api.RUNNING),
    )


def plan_healing(news: Iterable[Any] | None, down: set[str]) -> set[str] | None:
    """Which links went down and came up again; None = any might have.

    Args:
        news: LinkStates, oldest first; None where some were lost.
        down: the links known to be down, which this brings up to date.
    """
    if news is None:
        return None
    came_up: set[str] = set()
    for link in news:
        if not link.up:
            down.add(link.name)
            came_up.discard(link.name)
        elif link.name in down:
            down.discard(link.name)
            came_up.add(link.name)
    return came_up
