"""What `/stats` says of the instances of a process."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from meshnet.capi.app_records import WEB, App
from meshnet.wire import bbs_api

_MB = 1024 * 1024
_STATES = {
    bbs_api.CLAIMED: "STARTING",
    bbs_api.RUNNING: "RUNNING",
    bbs_api.CRASHED: "CRASHED",
}


def rows(
    app: App, lrps: Iterable[Any], usage: Mapping[int, Mapping[str, Any]], now_ns: int
) -> list[dict[str, Any]]:
    """One row per wanted instance, whether BBS has it or not.

    A client takes an empty list for a start that is over.

    Args:
        lrps: the process's ActualLRPs.
        usage: by instance index, as `usage` is shown; what is not known is not there.
    """
    by_index = {lrp.actual_lrp_key.index: lrp for lrp in bbs_api.one_each(lrps)}
    return [_row(app, i, by_index.get(i), usage.get(i), now_ns) for i in range(app.instances)]


def _state(lrp: Any | None) -> str:
    """As CC shows it: what waits for a cell starts, or is down and says why."""
    if lrp is None:
        return "DOWN"
    if lrp.state == bbs_api.UNCLAIMED:
        return "DOWN" if lrp.placement_error else "STARTING"
    return _STATES.get(lrp.state, "DOWN")


def _row(
    app: App, index: int, lrp: Any | None, usage: Mapping[str, Any] | None, now_ns: int
) -> dict[str, Any]:
    row: dict[str, Any] = {
        "type": WEB,
        "index": index,
        "state": _state(lrp),
        "uptime": 0,
        "usage": dict(usage or {"cpu": 0.0, "mem": 0, "disk": 0}),
        "mem_quota": app.memory_in_mb * _MB,
        "disk_quota": app.disk_in_mb * _MB,
        "log_rate_limit": app.log_rate_limit,
        "fds_quota": 16384,
        "routable": False,
        "details": None,
        "isolation_segment": None,
    }
    if lrp is None:
        return row
    row["uptime"] = max(0, (now_ns - lrp.since) // 1_000_000_000)
    row["details"] = _details(lrp)
    if lrp.state == bbs_api.RUNNING:
        row |= _running(lrp)
    return row


def _details(lrp: Any) -> str | None:
    """Why it does not run: also of one that crashed and is on its way again, for that is quick."""
    if lrp.state == bbs_api.RUNNING:
        return None
    return lrp.placement_error or lrp.crash_reason or None


def _running(lrp: Any) -> dict[str, Any]:
    net, instance = lrp.actual_lrp_net_info, lrp.actual_lrp_instance_key
    ports = [
        {
            "internal": port.container_port,
            "external": port.host_port,
            "internal_tls_proxy_port": None,
            "external_tls_proxy_port": None,
        }
        for port in net.ports
    ]
    return {
        "routable": bbs_api.routable(lrp),
        "host": net.address,
        "instance_internal_ip": net.instance_address,
        "instance_guid": instance.instance_guid,
        "cell_id": instance.cell_id,
        "instance_ports": ports,
    }
