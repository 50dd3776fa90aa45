"""Quotas of organizations."""

from __future__ import annotations

from collections.abc import Collection as Guids
from dataclasses import replace
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from meshnet.capi import present, tenancy_present
from meshnet.capi.errors import not_found, unprocessable
from meshnet.capi.jobs_api import accepted
from meshnet.capi.listing import Collection, listed
from meshnet.capi.permissions import Permissions
from meshnet.capi.quota_bodies import DomainLimits, QuotaPatch, changed, quoted
from meshnet.capi.records import Records
from meshnet.capi.service import Base, Body, Svc, ToMany, User, taken
from meshnet.capi.tenancy_records import DEFAULT_QUOTA, Quota

router = APIRouter()
Json = dict[str, Any]


class OrganizationQuotaRelationships(Body):
    """The organizations a new quota is given to."""

    organizations: ToMany | None = None


class OrganizationQuotaPatch(QuotaPatch):
    """PATCH /v3/organization_quotas/G."""

    domains: DomainLimits | None = None


class NewOrganizationQuota(OrganizationQuotaPatch):
    """POST /v3/organization_quotas."""

    name: str
    relationships: OrganizationQuotaRelationships | None = None


def _orgs_with(records: Records, quota: Quota) -> set[str]:
    return {o.guid for o in records.organizations if o.quota == quota.guid}


def _sees_org_quota(user: Permissions, quota: Quota) -> bool:
    return user.sees_all or any(map(user.sees_org, _orgs_with(user.records, quota)))


def _org_quota(user: Permissions, guid: str) -> Quota:
    quota = user.records.organization_quotas.get(guid)
    if not _sees_org_quota(user, quota):
        raise not_found("Organization quota")
    return quota


def _show_org_quota(user: Permissions, base: str, quota: Quota) -> Json:
    seen = sorted(filter(user.sees_org, _orgs_with(user.records, quota)))
    return tenancy_present.organization_quota(base, quota, seen)


def _check_org_quota_name(records: Records, quota: Quota) -> None:
    same = (q for q in records.organization_quotas if q.guid != quota.guid)
    exists = any(q.name.lower() == quota.name.lower() for q in same)
    taken(exists, f"Organization Quota '{quota.name}' already exists.")


@router.get("/v3/organization_quotas")
async def organization_quotas(request: Request, service: Svc, user: User, base: Base) -> Json:
    """List organization quotas."""
    records = service.records
    collection = Collection[Quota](
        filters={"names": "name", "organization_guids": lambda q: _orgs_with(records, q)},
        orders=("name",),
    )
    seen = (q for q in records.organization_quotas if _sees_org_quota(user, q))
    return listed(request, collection, seen, lambda q: _show_org_quota(user, base, q))


@router.post("/v3/organization_quotas", status_code=201)
async def create_organization_quota(
    body: NewOrganizationQuota, service: Svc, user: User, base: Base
) -> Json:
    """Create an organization quota."""
    user.require_admin()
    quota = changed(Quota(), body)
    _check_org_quota_name(service.records, quota)
    given = body.relationships.organizations if body.relationships else None
    _give_to_orgs(service.records, quota, given.guids() if given else ())
    return _show_org_quota(user, base, quota)


def _give_to_orgs(records: Records, quota: Quota, guids: Guids[str]) -> None:
    missing = [guid for guid in guids if records.organizations.find(guid) is None]
    if missing:
        raise unprocessable(
            f"Organizations with guids {quoted(missing)} do not exist, or you do not have access"
            " to them."
        )
    with records.changes() as changes:
        records.organization_quotas.put(quota, changes)
        for guid in guids:
            org = replace(records.organizations.get(guid), quota=quota.guid)
            records.organizations.put(org, changes)


@router.get("/v3/organization_quotas/{guid}")
async def organization_quota(guid: str, service: Svc, user: User, base: Base) -> Json:
    """One organization quota."""
    return _show_org_quota(user, base, _org_quota(user, guid))


@router.patch("/v3/organization_quotas/{guid}")
async def change_organization_quota(
    guid: str, body: OrganizationQuotaPatch, service: Svc, user: User, base: Base
) -> Json:
    """Change an organization quota; what is in use stays, and may not grow."""
    before = _org_quota(user, guid)
    user.require_admin()
    quota = changed(before, body)
    if before.name == DEFAULT_QUOTA != quota.name:
        raise unprocessable("The default quota cannot be renamed.")
    _check_org_quota_name(service.records, quota)
    return _show_org_quota(user, base, service.records.organization_quotas.put(quota))


@router.delete("/v3/organization_quotas/{guid}", status_code=202)
async def delete_organization_quota(
    guid: str, request: Request, service: Svc, user: User
) -> JSONResponse:
    """Delete an organization quota that no organization has."""
    records, quota = service.records, _org_quota(user, guid)
    user.require_admin()
    if _orgs_with(records, quota):
        raise unprocessable(
            "This quota is applied to one or more organizations. Apply different quotas to those"
            " organizations before deleting."
        )
    if quota.name == DEFAULT_QUOTA:
        raise unprocessable("The default quota cannot be deleted.")
    with records.changes() as changes:
        records.organization_quotas.delete(guid, changes)
        job = records.jobs.done("organization_quota.delete", changes)
    return accepted(request, job)


@router.post("/v3/organization_quotas/{guid}/relationships/organizations")
async def apply_to_organizations(
    guid: str, body: ToMany, service: Svc, user: User, base: Base
) -> Json:
    """Give organizations a quota."""
    quota = _org_quota(user, guid)
    user.require_admin()
    _give_to_orgs(service.records, quota, body.guids())
    link = f"/v3/organization_quotas/{guid}/relationships/organizations"
    orgs = sorted(_orgs_with(service.records, quota))
    return {**tenancy_present.to_many(orgs), **present.links(base, self=link)}
