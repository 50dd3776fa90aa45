"""Spaces."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from meshnet.capi import present, quotas, removal, tenancy_present, validate
from meshnet.capi.errors import not_found, unprocessable
from meshnet.capi.jobs_api import accepted
from meshnet.capi.listing import Collection, included, listed
from meshnet.capi.metadata import Metadata, applied
from meshnet.capi.records import Records
from meshnet.capi.service import Base, Body, Svc, ToOne, User, taken
from meshnet.capi.tenancy_records import Space

router = APIRouter()


class SpaceRelationships(Body):
    """The organization of a new space."""

    organization: ToOne


class NewSpace(Body):
    """POST /v3/spaces."""

    name: str
    relationships: SpaceRelationships
    metadata: Metadata | None = None


class SpacePatch(Body):
    """PATCH /v3/spaces/G."""

    name: str | None = None
    metadata: Metadata | None = None


def _collection(records: Records, base: str) -> Collection[Space]:
    def organizations(spaces: Sequence[Space]) -> tuple[str, list[dict[str, Any]]]:
        guids = dict.fromkeys(space.organization for space in spaces)
        found = (records.organizations.get(guid) for guid in guids)
        return "organizations", [tenancy_present.organization(base, o) for o in found]

    return Collection(
        filters={"names": "name", "organization_guids": "organization"},
        orders=("name",),
        includes={"organization": organizations, "org": organizations},
    )


def _check_free(records: Records, name: str, organization: str, but: str = "") -> None:
    same = (s for s in records.spaces if s.organization == organization and s.guid != but)
    exists = any(s.name.lower() == name.lower() for s in same)
    taken(exists, "Name must be unique per organization")


@router.get("/v3/spaces")
async def spaces(request: Request, service: Svc, user: User, base: Base) -> dict[str, Any]:
    """List spaces."""
    seen = (s for s in service.records.spaces if user.sees(s.guid))
    collection = _collection(service.records, base)
    return listed(request, collection, seen, partial(tenancy_present.space, base))


@router.post("/v3/spaces", status_code=201)
async def create(body: NewSpace, service: Svc, user: User, base: Base) -> dict[str, Any]:
    """Create a space."""
    org = user.visible_org(body.relationships.organization.data.guid)
    if org is None:
        raise unprocessable(
            "Invalid organization. Ensure the organization exists and you have access to it."
        )
    user.write_org(org.guid)
    validate.name(body.name)
    _check_free(service.records, body.name, org.guid)
    space = applied(Space(name=body.name, organization=org.guid), body.metadata)
    return tenancy_present.space(base, service.records.spaces.put(space))


@router.get("/v3/spaces/{guid}")
async def show(guid: str, request: Request, service: Svc, user: User, base: Base) -> dict[str, Any]:
    """One space."""
    space = user.space(guid)
    extra = included(request, _collection(service.records, base), space)
    return {**tenancy_present.space(base, space), **extra}


@router.patch("/v3/spaces/{guid}")
async def change(
    guid: str, body: SpacePatch, service: Svc, user: User, base: Base
) -> dict[str, Any]:
    """Rename a space or change its metadata."""
    space = user.space(guid)
    user.manage(guid)
    if body.name is not None:
        validate.name(body.name)
        _check_free(service.records, body.name, space.organization, but=guid)
        space = replace(space, name=body.name)
    space = service.records.spaces.put(applied(space, body.metadata))
    return tenancy_present.space(base, space)


@router.delete("/v3/spaces/{guid}", status_code=202)
async def delete(guid: str, request: Request, service: Svc, user: User) -> JSONResponse:
    """Delete a space with its apps, routes and roles."""
    space = user.space(guid)
    user.write_org(space.organization)
    going = removal.of_space(service.records, space)
    return accepted(request, await removal.carry_out(service, going, "space.delete"))


@router.get("/v3/spaces/{guid}/usage_summary")
async def usage_summary(guid: str, service: Svc, user: User, base: Base) -> dict[str, Any]:
    """What a space uses of what quotas limit."""
    path = f"/v3/spaces/{user.space(guid).guid}"
    return {
        "usage_summary": quotas.summary(service.records, {guid}),
        **present.links(base, self=f"{path}/usage_summary", space=path),
    }


_SSH = {
    "name": "ssh",
    "description": "Enable SSHing into apps in the space.",
    "enabled": False,
}


@router.get("/v3/spaces/{guid}/features")
async def features(guid: str, service: Svc, user: User) -> dict[str, Any]:
    """A space's features: there is no ssh here."""
    user.space(guid)
    return {"features": [_SSH]}


@router.get("/v3/spaces/{guid}/features/{name}")
async def feature(guid: str, name: str, service: Svc, user: User) -> dict[str, Any]:
    """One feature of a space."""
    user.space(guid)
    if name != _SSH["name"]:
        raise not_found("Feature")
    return _SSH


@router.get("/v3/spaces/{guid}/relationships/isolation_segment")
async def isolation_segment(guid: str, service: Svc, user: User, base: Base) -> dict[str, Any]:
    """No space has one: all cells are of the shared segment."""
    path = f"/v3/spaces/{user.space(guid).guid}"
    return {
        "data": None,
        **present.links(base, self=f"{path}/relationships/isolation_segment"),
    }
