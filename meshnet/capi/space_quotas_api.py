"""Quotas of spaces."""

from __future__ import annotations

from collections.abc import Collection as Guids
from dataclasses import replace
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response

from meshnet.capi import present, tenancy_present
from meshnet.capi.errors import not_found, unprocessable
from meshnet.capi.jobs_api import accepted
from meshnet.capi.listing import Collection, listed
from meshnet.capi.permissions import Permissions
from meshnet.capi.quota_bodies import QuotaPatch, changed, quoted
from meshnet.capi.records import Records
from meshnet.capi.service import Base, Body, Svc, ToMany, ToOne, User, taken
from meshnet.capi.tenancy_records import Quota

router = APIRouter()
Json = dict[str, Any]


class SpaceQuotaRelationships(Body):
    """The organization whose spaces a quota is for, and those it is given to."""

    organization: ToOne
    spaces: ToMany | None = None


class NewSpaceQuota(QuotaPatch):
    """POST /v3/space_quotas."""

    name: str
    relationships: SpaceQuotaRelationships


def _spaces_with(records: Records, quota: Quota) -> set[str]:
    return {space.guid for space in records.spaces if space.quota == quota.guid}


def _sees_space_quota(user: Permissions, quota: Quota) -> bool:
    if user.sees_all or user.may_write_org(quota.organization):
        return True
    return any(map(user.sees, _spaces_with(user.records, quota)))


def _space_quota(user: Permissions, guid: str) -> Quota:
    quota = user.records.space_quotas.get(guid)
    if not _sees_space_quota(user, quota):
        raise not_found("Space quota")
    return quota


def _show_space_quota(user: Permissions, base: str, quota: Quota) -> Json:
    seen = sorted(filter(user.sees, _spaces_with(user.records, quota)))
    return tenancy_present.space_quota(base, quota, seen)


def _check_space_quota_name(records: Records, quota: Quota) -> None:
    same = (
        q
        for q in records.space_quotas
        if q.organization == quota.organization and q.guid != quota.guid
    )
    exists = any(q.name.lower() == quota.name.lower() for q in same)
    taken(exists, f"Space Quota '{quota.name}' already exists.")


@router.get("/v3/space_quotas")
async def space_quotas(request: Request, service: Svc, user: User, base: Base) -> Json:
    """List space quotas."""
    records = service.records
    collection = Collection[Quota](
        filters={
            "names": "name",
            "organization_guids": "organization",
            "space_guids": lambda q: _spaces_with(records, q),
        },
        orders=("name",),
    )
    seen = (q for q in records.space_quotas if _sees_space_quota(user, q))
    return listed(request, collection, seen, lambda q: _show_space_quota(user, base, q))


@router.post("/v3/space_quotas", status_code=201)
async def create_space_quota(body: NewSpaceQuota, service: Svc, user: User, base: Base) -> Json:
    """Create a space quota."""
    org = user.visible_org(body.relationships.organization.data.guid)
    if org is None:
        raise unprocessable(
            "Organization with guid"
            f" '{body.relationships.organization.data.guid}' does not exist, or you do not have"
            " access to it."
        )
    user.write_org(org.guid)
    quota = changed(Quota(organization=org.guid), body)
    _check_space_quota_name(service.records, quota)
    given = body.relationships.spaces
    _give_to_spaces(user, quota, given.guids() if given else ())
    return _show_space_quota(user, base, quota)


def _give_to_spaces(user: Permissions, quota: Quota, guids: Guids[str]) -> None:
    records = user.records
    found = {guid: user.visible_space(guid) for guid in guids}
    missing = [g for g, s in found.items() if s is None or s.organization != quota.organization]
    if missing:
        raise unprocessable(
            f"Spaces with guids {quoted(missing)} do not exist within the organization specified,"
            " or you do not have access to them."
        )
    with records.changes() as changes:
        records.space_quotas.put(quota, changes)
        for guid in guids:
            records.spaces.put(replace(records.spaces.get(guid), quota=quota.guid), changes)


@router.get("/v3/space_quotas/{guid}")
async def space_quota(guid: str, service: Svc, user: User, base: Base) -> Json:
    """One space quota."""
    return _show_space_quota(user, base, _space_quota(user, guid))


@router.patch("/v3/space_quotas/{guid}")
async def change_space_quota(
    guid: str, body: QuotaPatch, service: Svc, user: User, base: Base
) -> Json:
    """Change a space quota."""
    quota = _space_quota(user, guid)
    user.write_org(quota.organization)
    quota = changed(quota, body)
    _check_space_quota_name(service.records, quota)
    return _show_space_quota(user, base, service.records.space_quotas.put(quota))


@router.delete("/v3/space_quotas/{guid}", status_code=202)
async def delete_space_quota(guid: str, request: Request, service: Svc, user: User) -> JSONResponse:
    """Delete a space quota; spaces that have it lose it."""
    records, quota = service.records, _space_quota(user, guid)
    user.write_org(quota.organization)
    with records.changes() as changes:
        for space in _spaces_with(records, quota):
            records.spaces.put(replace(records.spaces.get(space), quota=None), changes)
        records.space_quotas.delete(guid, changes)
        job = records.jobs.done("space_quota.delete", changes)
    return accepted(request, job)


@router.post("/v3/space_quotas/{guid}/relationships/spaces")
async def apply_to_spaces(guid: str, body: ToMany, service: Svc, user: User, base: Base) -> Json:
    """Give spaces a quota."""
    quota = _space_quota(user, guid)
    user.write_org(quota.organization)
    _give_to_spaces(user, quota, body.guids())
    link = f"/v3/space_quotas/{guid}/relationships/spaces"
    spaces = sorted(_spaces_with(service.records, quota))
    return {**tenancy_present.to_many(spaces), **present.links(base, self=link)}


@router.delete("/v3/space_quotas/{guid}/relationships/spaces/{space}", status_code=204)
async def take_from_space(guid: str, space: str, service: Svc, user: User) -> Response:
    """Take a quota from a space."""
    quota = _space_quota(user, guid)
    user.write_org(quota.organization)
    found = user.visible_space(space)
    if found is None or found.quota != guid:
        raise unprocessable(
            f"Unable to remove quota from space with guid '{space}'. Ensure the space quota is"
            " applied to this space."
        )
    service.records.spaces.put(replace(found, quota=None))
    return Response(status_code=204)
