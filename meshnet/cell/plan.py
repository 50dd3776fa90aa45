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


def environment(
    lrp_env: dict[str, str], *, guid: str, index: int, address: str, cell_ip: str, host_port: int
) -> dict[str, str]:
    """The app's environment: what the Cloud Controller set, and what only the cell knows.

    Source: Diego's executor (containerstore/container.go) and rep (conversion).
    """
    port = lrp_env.get("PORT", "8080")
    return {
        "HOME": "/home/vcap/app",
        "USER": "vcap",
        "TMPDIR": "/tmp",
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        **lrp_env,
        "INSTANCE_GUID": guid,
        "INSTANCE_INDEX": str(index),
        "CF_INSTANCE_GUID": guid,
        "CF_INSTANCE_INDEX": str(index),
        "CF_INSTANCE_IP": cell_ip,
        "CF_INSTANCE_INTERNAL_IP": address,
        "CF_INSTANCE_PORT": str(host_port),
        "CF_INSTANCE_ADDR": f"{cell_ip}:{host_port}",
        "CF_INSTANCE_PORTS": f'[{{"external":{host_port},"internal":{port}}}]',
    }


_LISTEN = "0A"  # TCP_LISTEN in /proc/net/tcp


def listens(proc_net_tcp: str, port: int) -> bool:
    """Whether a /proc/<pid>/net/tcp or tcp6 text shows a listener on `port`."""
    for line in proc_net_tcp.splitlines()[1:]:
        fields = line.split()
        if fields[3] == _LISTEN and int(fields[1].rpartition(":")[2], 16) == port:
            return True
    return False
