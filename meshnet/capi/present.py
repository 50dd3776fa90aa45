"""Records as the v3 API shows them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from meshnet.capi.domains import Domain
from meshnet.capi.records import Records, Route
from meshnet.capi.tables import Record, shown_time
from meshnet.capi.tenancy_records import Organization, Space


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
