"""Records as the v3 API shows them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from meshnet.capi.app_records import App, Droplet
from meshnet.capi.domains import Domain
from meshnet.capi.records import Records, Route
from meshnet.capi.tables import Record, shown_time
from meshnet.capi.tenancy_records import Organization, Space
from meshnet.wire import bbs_api


def to_one(**guids: str | None) -> dict[str, Any]:
    """Relationships to one object each; None: to none."""
    return {k: {"data": {"guid": v} if v else None} for k, v in guids.items()}


def listing(resources: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """A collection, in one page."""
    found = list(resources)
    pagination = {"total_results": len(found), "total_pages": 1, "next": None, "previous": None}
    return {"pagination": pagination, "resources": found}


def base(record: Record) -> dict[str, Any]:
    """What every object begins with."""
    return {
        "guid": record.guid,
        "created_at": shown_time(record.created_at),
        "updated_at": shown_time(record.updated_at or record.created_at),
    }


def links(base_url: str, **paths: str) -> dict[str, Any]:
    """{"links": {name: {"href": absolute}}}."""
    return {"links": {name: {"href": base_url + path} for name, path in paths.items()}}


def organization(record: Organization) -> dict[str, Any]:
    """An organization."""
    return {**base(record), "name": record.name, "suspended": False}


def space(record: Space) -> dict[str, Any]:
    """A space."""
    relationships = to_one(organization=record.organization)
    return {**base(record), "name": record.name, "relationships": relationships}


def domain(record: Domain) -> dict[str, Any]:
    """A shared domain."""
    return {
        **base(record),
        "metadata": record.metadata,
        "name": record.name,
        "internal": record.internal,
        "router_group": None,
        "supported_protocols": ["http"],
        "relationships": {
            **to_one(organization=record.organization),
            "shared_organizations": {"data": [{"guid": guid} for guid in record.shared]},
        },
    }


def app(record: App) -> dict[str, Any]:
    """An app."""
    return {
        **base(record),
        "name": record.name,
        "state": record.state,
        "lifecycle": {"type": "buildpack", "data": {"buildpacks": ["binary_buildpack"]}},
        "relationships": {
            **to_one(space=record.space, current_droplet=record.droplet),
        },
    }


def process(record: App) -> dict[str, Any]:
    """An app's web process."""
    return {
        **base(record),
        "type": "web",
        "version": record.version,
        "command": record.command,
        "instances": record.instances,
        "memory_in_mb": record.memory_in_mb,
        "disk_in_mb": record.disk_in_mb,
        "health_check": {"type": "port", "data": {"timeout": None}},
        "relationships": to_one(app=record.guid),
    }


def droplet(record: Droplet) -> dict[str, Any]:
    """A droplet."""
    return {
        **base(record),
        "state": "STAGED" if record.sha256 else "AWAITING_UPLOAD",
        "checksum": {"type": "sha256", "value": record.sha256} if record.sha256 else None,
        "stack": None,
        "image": None,
        "buildpacks": [],
        "relationships": to_one(app=record.app),
    }


def destination(record: Any) -> dict[str, Any]:
    """One destination of a route."""
    return {
        "guid": record.guid,
        "app": {"guid": record.app, "process": {"type": "web"}},
        "weight": record.weight,
        "port": 8080,
        "protocol": "http1",
    }


def route(records: Records, record: Route) -> dict[str, Any]:
    """A route."""
    return {
        **base(record),
        "metadata": record.metadata,
        "protocol": "http",
        "host": record.host,
        "path": record.path,
        "port": None,
        "url": records.fqdn(record) + record.path,
        "destinations": [destination(d) for d in record.destinations],
        "relationships": to_one(space=record.space, domain=record.domain),
    }


def stats(record: App, lrps: Iterable[Any], now_ns: int) -> list[dict[str, Any]]:
    """One row per wanted instance; those that BBS has not yet are DOWN."""
    by_index = {lrp.actual_lrp_key.index: lrp for lrp in lrps}
    return [_stat(record, index, by_index.get(index), now_ns) for index in range(record.instances)]


_STATES = {
    bbs_api.CLAIMED: "STARTING",
    bbs_api.RUNNING: "RUNNING",
    bbs_api.CRASHED: "CRASHED",
}


def _state(lrp: Any) -> str:
    """As the Cloud Controller shows it: what waits for a cell starts, or is down and says why."""
    if lrp.state == bbs_api.UNCLAIMED:
        return "DOWN" if lrp.placement_error else "STARTING"
    return _STATES.get(lrp.state, "DOWN")


def _stat(record: App, index: int, lrp: Any | None, now_ns: int) -> dict[str, Any]:
    row: dict[str, Any] = {
        "type": "web",
        "index": index,
        "state": _state(lrp) if lrp is not None else "DOWN",
        "uptime": 0,
        "usage": {"cpu": 0.0, "mem": 0, "disk": 0},
        "mem_quota": record.memory_in_mb * 1024 * 1024,
        "disk_quota": record.disk_in_mb * 1024 * 1024,
        "details": None,
        "isolation_segment": None,
    }
    if lrp is None:
        return row
    row["details"] = lrp.crash_reason if lrp.state == bbs_api.CRASHED else lrp.placement_error
    row["details"] = row["details"] or None
    if lrp.state == bbs_api.RUNNING:
        net = lrp.actual_lrp_net_info
        row["uptime"] = max(0, (now_ns - lrp.since) // 1_000_000_000)
        row["host"] = net.address
        row["instance_internal_ip"] = net.instance_address
        row["instance_guid"] = lrp.actual_lrp_instance_key.instance_guid
        row["cell_id"] = lrp.actual_lrp_instance_key.cell_id
        row["instance_ports"] = [
            {"internal": p.container_port, "external": p.host_port} for p in net.ports
        ]
    return row
