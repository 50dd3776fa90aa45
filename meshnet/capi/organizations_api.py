"""Organizations."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from meshnet.capi import flags, present, quotas, removal, tenancy_present, validate
from meshnet.capi.errors import not_authorized
from meshnet.capi.jobs_api import accepted
from meshnet.capi.listing import Collection, listed
from meshnet.capi.metadata import Metadata, applied
from meshnet.capi.records import Records
from meshnet.capi.service import Base, Body, Svc, User, taken
from meshnet.capi.tenancy_records import Organization, Role

router = APIRouter()
ORGANIZATIONS = Collection[Organization](filters={"names": "name"}, orders=("name",))


class NewOrganization(Body):
    """POST /v3/organizations."""

    name: str
    suspended: bool | None = None
    metadata: Metadata | None = None


class OrganizationPatch(Body):
    """PATCH /v3/organizations/G."""

    name: str | None = None
    suspended: bool | None = None
    metadata: Metadata | None = None


def _check_free(records: Records, name: str, but: str = "") -> None:
    same = (o for o in records.organizations if o.name.lower() == name.lower())
    exists = any(o.guid != but for o in same)
    taken(exists, f"Organization '{name}' already exists.")


@router.get("/v3/organizations")
async def organizations(request: Request, service: Svc, user: User, base: Base) -> dict[str, Any]:
    """List organizations."""
    records = service.records
    seen = (o for o in records.organizations if user.sees_org(o.guid))
    return listed(request, ORGANIZATIONS, seen, partial(tenancy_present.organization, base))


@router.post("/v3/organizations", status_code=201)
async def create(body: NewOrganization, service: Svc, user: User, base: Base) -> dict[str, Any]:
    """Create an organization; one who is no administrator becomes its manager."""
    records = service.records
    if not user.admin and not flags.enabled(user, "user_org_creation"):
        raise not_authorized()
    validate.name(body.name)
    _check_free(records, body.name)
    org = Organization(
        name=body.name,
        suspended=bool(body.suspended),
        quota=records.default_quota.guid,
    )
    org = applied(org, body.metadata)
    with records.changes() as changes:
        records.organizations.put(org, changes)
        if not user.admin:
            for kind in ("organization_user", "organization_manager"):
                records.roles.put(Role(type=kind, user=user.guid, target=org.guid), changes)
    return tenancy_present.organization(base, org)


@router.get("/v3/organizations/{guid}")
async def show(guid: str, service: Svc, user: User, base: Base) -> dict[str, Any]:
    """One organization."""
    return tenancy_present.organization(base, user.org(guid))


@router.patch("/v3/organizations/{guid}")
async def change(
    guid: str, body: OrganizationPatch, service: Svc, user: User, base: Base
) -> dict[str, Any]:
    """Rename or suspend an organization, or change its metadata."""
    org = user.org(guid)
    user.write_org(guid)
    if body.suspended is not None:
        user.require_admin()
    after = org
    if body.name is not None:
        validate.name(body.name)
        _check_free(service.records, body.name, but=guid)
        after = replace(after, name=body.name)
    if body.suspended is not None:
        after = replace(after, suspended=body.suspended)
    after = service.records.organizations.put(applied(after, body.metadata))
    return tenancy_present.organization(base, after)


@router.delete("/v3/organizations/{guid}", status_code=202)
async def delete(guid: str, request: Request, service: Svc, user: User) -> JSONResponse:
    """Delete an organization with everything in it."""
    org = user.org(guid)
    user.require_admin()
    going = removal.of_organization(service.records, org)
    return accepted(request, await removal.carry_out(service, going, "organization.delete"))


@router.get("/v3/organizations/{guid}/usage_summary")
async def usage_summary(guid: str, service: Svc, user: User, base: Base) -> dict[str, Any]:
    """What an organization uses of what its quota limits."""
    records, org = service.records, user.org(guid)
    spaces = quotas.spaces_of(records, guid)
    domains = sum(d.organization == guid for d in records.domains)
    path = f"/v3/organizations/{org.guid}"
    return {
        "usage_summary": {**quotas.summary(records, spaces), "domains": domains},
        **present.links(base, self=f"{path}/usage_summary", organization=path),
    }


@router.get("/v3/organizations/{guid}/relationships/default_isolation_segment")
async def isolation_segment(guid: str, service: Svc, user: User, base: Base) -> dict[str, Any]:
    """No organization has one: all cells are of the shared segment."""
    path = f"/v3/organizations/{user.org(guid).guid}"
    link = f"{path}/relationships/default_isolation_segment"
    return {"data": None, **present.links(base, self=link)}
