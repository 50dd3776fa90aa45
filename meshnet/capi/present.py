"""Records as the v3 API shows them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

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
    """An organization, but for its links."""
    return {
        **base(record),
        "name": record.name,
        "suspended": record.suspended,
        "relationships": to_one(quota=record.quota),
        "metadata": record.metadata,
    }


def space(record: Space) -> dict[str, Any]:
    """A space, but for its links."""
    return {
        **base(record),
        "name": record.name,
        "relationships": to_one(organization=record.organization, quota=record.quota),
        "metadata": record.metadata,
    }
