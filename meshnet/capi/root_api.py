"""The public documents, jobs, organizations, spaces and domains."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request

from meshnet.capi import present, validate
from meshnet.capi.service import Body, Svc, ToOne, User, base_url, check_filters, chooser, taken
from meshnet.capi.tenancy_records import Organization, Space

router = APIRouter()
API_VERSION = "3.91.0"
_RESOURCES = (
    *("apps", "builds", "domains", "droplets", "organizations", "packages", "processes"),
    *("routes", "spaces", "users", "roles", "jobs"),
)


@router.get("/")
async def root(request: Request) -> dict[str, Any]:
    """Where everything is; public."""
    base = base_url(request)
    meta = {"version": API_VERSION}
    return {
        "links": {
            "self": {"href": base},
            "cloud_controller_v3": {"href": f"{base}/v3", "meta": meta},
            "login": {"href": base},
            "uaa": {"href": base},
            "log_cache": {"href": base},
            "network_policy_v1": {"href": f"{base}/networking/v1/external"},
        }
    }


@router.get("/v3")
async def v3(request: Request) -> dict[str, Any]:
    """Where each resource is; public."""
    base = base_url(request)
    return {"links": {name: {"href": f"{base}/v3/{name}"} for name in _RESOURCES}}


@router.get("/v3/organizations")
async def organizations(request: Request, service: Svc, user: User) -> dict[str, Any]:
    """List organizations."""
    check_filters(request, "names", "guids")
    rows = map(present.organization, service.records.organizations.all())
    return present.listing(filter(chooser(request, names="name", guids="guid"), rows))


class NewOrganization(Body):
    """POST /v3/organizations."""

    name: str


@router.post("/v3/organizations", status_code=201)
async def create_organization(body: NewOrganization, service: Svc, user: User) -> dict[str, Any]:
    """Create an organization."""
    validate.name(body.name)
    table = service.records.organizations
    exists = any(o.name.lower() == body.name.lower() for o in table.all())
    taken(exists, f"Organization '{body.name}' already exists.")
    return present.organization(table.put(Organization(name=body.name)))


@router.get("/v3/spaces")
async def spaces(request: Request, service: Svc, user: User) -> dict[str, Any]:
    """List spaces."""
    check_filters(request, "names", "guids", "organization_guids")
    chosen = chooser(request, names="name", guids="guid", organization_guids="organization")
    found = service.records.spaces.all()
    return present.listing(present.space(s) for s in found if chosen(vars(s)))


class SpaceRelationships(Body):
    """The organization of a new space."""

    organization: ToOne


class NewSpace(Body):
    """POST /v3/spaces."""

    name: str
    relationships: SpaceRelationships


@router.post("/v3/spaces", status_code=201)
async def create_space(body: NewSpace, service: Svc, user: User) -> dict[str, Any]:
    """Create a space."""
    validate.name(body.name)
    org = service.records.organizations.get(body.relationships.organization.data.guid)
    table = service.records.spaces
    exists = any(s.name == body.name and s.organization == org.guid for s in table.all())
    taken(exists, "Name must be unique per organization")
    return present.space(table.put(Space(name=body.name, organization=org.guid)))
