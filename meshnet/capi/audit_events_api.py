"""Audit events: what was done to which app, when and by whom."""

from __future__ import annotations

from functools import partial
from typing import Any

from fastapi import APIRouter, Request

from meshnet.capi import present
from meshnet.capi.audit import Event
from meshnet.capi.errors import not_found
from meshnet.capi.listing import Collection, listed
from meshnet.capi.service import Base, Svc, User

router = APIRouter()
EVENTS = Collection[Event](
    filters={
        "types": "type",
        "target_guids": lambda event: str(event.target["guid"]),
        "space_guids": "space",
        "organization_guids": "organization",
    }
)


def _shown(base: str, record: Event) -> dict[str, Any]:
    return {
        **present.base(record),
        "type": record.type,
        "actor": record.actor,
        "target": record.target,
        "data": record.data,
        "space": {"guid": record.space},
        "organization": {"guid": record.organization},
        **present.links(base, self=f"/v3/audit_events/{record.guid}"),
    }


@router.get("/v3/audit_events")
async def events(request: Request, service: Svc, user: User, base: Base) -> dict[str, Any]:
    """List audit events that somebody may see."""
    found = (e for e in service.records.events if user.sees_events(e.space, e.organization))
    return listed(request, EVENTS, found, partial(_shown, base))


@router.get("/v3/audit_events/{guid}")
async def show(guid: str, service: Svc, user: User, base: Base) -> dict[str, Any]:
    """One audit event."""
    found = service.records.events.find(guid)
    if found is None or not user.sees_events(found.space, found.organization):
        raise not_found("Event")
    return _shown(base, found)
