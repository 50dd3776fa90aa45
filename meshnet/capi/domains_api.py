"""Domains."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response

from meshnet.capi import domain_rules, removal, route_present, routing
from meshnet.capi.domains import Domain
from meshnet.capi.errors import not_found, unprocessable
from meshnet.capi.jobs_api import accepted
from meshnet.capi.listing import Collection, listed
from meshnet.capi.metadata import Metadata, MetadataPatch, applied
from meshnet.capi.permissions import Permissions
from meshnet.capi.service import Base, Body, Guid, Service, Svc, ToMany, ToOne, User, warn

router = APIRouter()
DOMAINS = Collection[Domain](
    filters={"names": "name", "organization_guids": "organization"}, orders=("name",)
)


class DomainRelationships(Body):
    """The organizations of a private domain."""

    organization: ToOne | None = None
    shared_organizations: ToMany | None = None

    @property
    def organization_guid(self) -> str:
        """The owner; "" = none."""
        return self.organization.data.guid if self.organization else ""

    @property
    def shared_guids(self) -> tuple[str, ...]:
        """Those it is shared with."""
        return self.shared_organizations.guids() if self.shared_organizations else ()


class NewDomain(Body):
    """POST /v3/domains."""

    name: str
    internal: bool | None = None
    router_group: Guid | None = None
    relationships: DomainRelationships | None = None
    metadata: Metadata | None = None


def _listed(
    request: Request, service: Service, user: Permissions, rows: Iterable[Domain]
) -> dict[str, Any]:
    base = str(request.base_url).rstrip("/")
    seen = (d for d in rows if routing.sees_domain(user, d))
    return listed(request, DOMAINS, seen, lambda d: route_present.domain(base, d, user.sees_org))


def visible(service: Service, user: Permissions, guid: str) -> Domain:
    """One domain that somebody may see. Raises ApiError 404."""
    domain = service.records.domains.get(guid)
    if not routing.sees_domain(user, domain):
        raise not_found("Domain")
    return domain


def _changeable(service: Service, user: Permissions, guid: str) -> Domain:
    """One domain that somebody may change: shared ones are an administrator's."""
    domain = visible(service, user, guid)
    if domain.organization:
        user.write_org(domain.organization)
    else:
        user.require_admin()
    return domain


@router.get("/v3/domains")
async def domains(request: Request, service: Svc, user: User) -> dict[str, Any]:
    """List domains."""
    return _listed(request, service, user, service.records.domains)


@router.post("/v3/domains", status_code=201)
async def create(
    body: NewDomain, service: Svc, user: User, base: Base, response: Response
) -> dict[str, Any]:
    """Create a shared domain, an internal one, or a private one of an organization."""
    records = service.records
    name, internal = body.name.strip(), bool(body.internal)
    domain_rules.syntax(name)
    if body.router_group:
        raise unprocessable(f"Router group with guid '{body.router_group.guid}' not found.")
    owner, shared = domain_rules.owners(service, user, body.relationships, internal)
    domain = Domain(
        name=name,
        internal=internal,
        istio=records.domains.served(name, internal),
        organization=owner,
        shared=shared,
    )
    domain_rules.free(records, domain)
    domain = records.domains.put(applied(domain, body.metadata))
    warn(response, records.domains.unserved(domain))
    return route_present.domain(base, domain, user.sees_org)


@router.get("/v3/domains/{guid}")
async def show(guid: str, service: Svc, user: User, base: Base) -> dict[str, Any]:
    """One domain."""
    return route_present.domain(base, visible(service, user, guid), user.sees_org)


@router.patch("/v3/domains/{guid}")
async def change(
    guid: str, body: MetadataPatch, service: Svc, user: User, base: Base
) -> dict[str, Any]:
    """Change a domain's metadata."""
    domain = _changeable(service, user, guid)
    domain = service.records.domains.put(applied(domain, body.metadata))
    return route_present.domain(base, domain, user.sees_org)


@router.delete("/v3/domains/{guid}", status_code=202)
async def delete(guid: str, request: Request, service: Svc, user: User) -> JSONResponse:
    """Delete a domain with its routes."""
    domain = _changeable(service, user, guid)
    if domain.of_lab:
        raise unprocessable("This domain is named in the lab file. Take it out there.")
    if domain.shared:
        raise unprocessable(
            "This domain is shared with other organizations. Unshare before deleting."
        )
    gone = removal.of_domain(service.records, domain)
    return accepted(request, await removal.carry_out(service, gone, "domain.delete"))


@router.get("/v3/domains/{guid}/route_reservations")
async def route_reservations(
    guid: str,
    service: Svc,
    user: User,
    host: str = "",
    path: str = "",
    port: int | None = None,
) -> dict[str, Any]:
    """Whether there is a route of a host and path, in whatever space."""
    domain = visible(service, user, guid)
    routes = service.records.routes.at(domain.guid, host)
    return {"matching_route": not port and any(r.path == path for r in routes)}


@router.get("/v3/organizations/{guid}/domains")
async def of_organization(guid: str, request: Request, service: Svc, user: User) -> dict[str, Any]:
    """The domains an organization may use."""
    org = user.org(guid)
    usable = (d for d in service.records.domains if routing.usable(d, org.guid))
    return _listed(request, service, user, usable)


@router.get("/v3/organizations/{guid}/domains/default")
async def default(guid: str, service: Svc, user: User, base: Base) -> dict[str, Any]:
    """The domain of routes that name none: the first that apps are reached by from outside."""
    org = user.org(guid)
    usable = [
        d for d in service.records.domains.all() if not d.internal and routing.usable(d, org.guid)
    ]
    if not usable:
        raise not_found("Domain")
    # Shared ones first, as in CC; those of the lab file before all others.
    first = min(usable, key=lambda d: (bool(d.organization), not d.of_lab, d.created_at))
    return route_present.domain(base, first, user.sees_org)


def _shared(user: Permissions, domain: Domain) -> dict[str, Any]:
    return route_present.to_many(filter(user.sees_org, domain.shared))


@router.get("/v3/domains/{guid}/relationships/shared_organizations")
async def shared(guid: str, service: Svc, user: User) -> dict[str, Any]:
    """The organizations that a private domain is shared with."""
    return _shared(user, visible(service, user, guid))


@router.post("/v3/domains/{guid}/relationships/shared_organizations")
async def share(guid: str, body: ToMany, service: Svc, user: User) -> dict[str, Any]:
    """Let more organizations use a private domain."""
    domain = _changeable(service, user, guid)
    new = domain_rules.sharable(service, user, body.guids(), domain.organization)
    if not domain.organization:
        raise unprocessable(
            "Domains cannot be shared with other organizations unless they are scoped to an"
            " organization."
        )
    both = tuple(dict.fromkeys((*domain.shared, *new)))
    return _shared(user, service.records.domains.put(replace(domain, shared=both)))


@router.delete("/v3/domains/{guid}/relationships/shared_organizations/{org}", status_code=204)
async def unshare(guid: str, org: str, service: Svc, user: User) -> Response:
    """Let an organization use a private domain no longer."""
    domain = visible(service, user, guid)
    domain_rules.check_unshare(service, user, domain, org)
    left = tuple(one for one in domain.shared if one != org)
    service.records.domains.put(replace(domain, shared=left))
    return Response(status_code=204)
