"""Makes, maps and deletes routes: what the v3 and v2 calls and manifests have in common.

Each function checks first and changes nothing where it refuses; Copilot and BBS hear of a change
before it returns.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from meshnet.capi import flags, quotas, validate
from meshnet.capi.domains import Domain
from meshnet.capi.errors import unprocessable
from meshnet.capi.jobs import Job
from meshnet.capi.permissions import Permissions
from meshnet.capi.records import Records
from meshnet.capi.route_records import Destination, Route
from meshnet.capi.service import Service

MAX_FQDN, MAX_DESTINATIONS = 253, 100


async def create(service: Service, user: Permissions, route: Route) -> Route:
    """Create a route without destinations, of a space and domain that exist.

    Raises:
        ApiError: 422 in CC's words, 403.
    """
    check_new(service.records, user, route)
    route = service.records.routes.put(route)
    await service.sync.route_changed(None, route)
    return route


def check_new(records: Records, user: Permissions, route: Route) -> None:
    """Refuse a route that CC would refuse. Raises ApiError 422, 403."""
    flags.require(user, "route_creation")
    domain, space = records.domains.get(route.domain), records.spaces.get(route.space)
    if not usable(domain, space.organization):
        org = records.organizations.get(space.organization).name
        raise unprocessable(
            f"Invalid domain. Domain '{domain.name}' is not available in organization '{org}'."
        )
    if route.host == "*" and not domain.organization and not domain.internal and not user.admin:
        raise unprocessable(
            "You do not have sufficient permissions to create a route with a wildcard host on a"
            " domain not scoped to an organization."
        )
    validate.host(route.host, domain)
    validate.path(route.path, domain)
    name = records.fqdn(route)
    if len(name) > MAX_FQDN:
        raise unprocessable("Host combined with domain name must be no more than 253 characters.")
    if route.host and records.domains.named(name):
        raise unprocessable(f"Route conflicts with domain '{name}'.")
    _check_free(records, route, domain)
    quotas.check_route(records, route.space)


def _check_free(records: Records, route: Route, domain: Domain) -> None:
    for other in records.routes.at(route.domain, route.host):
        if other.path == route.path:
            host = f" with host '{route.host}'" if route.host else ""
            word = "and" if route.host else "with"
            path = f" {word} path '{route.path}'" if route.path else ""
            raise unprocessable(f"Route already exists{host}{path} for domain '{domain.name}'.")
        if other.space != route.space:
            raise unprocessable(
                "Routes for this host and domain have been reserved for another space."
            )


def usable(domain: Domain, organization: str) -> bool:
    """Whether an organization (guid) may have routes in a domain."""
    return not domain.organization or organization in (domain.organization, *domain.shared)


def sees_domain(user: Permissions, domain: Domain) -> bool:
    """Whether somebody may see a domain: shared ones everybody may."""
    orgs = (domain.organization, *domain.shared)
    return not domain.organization or any(user.sees_org(org) for org in orgs)


async def add(service: Service, route: Route, new: Sequence[Destination]) -> Route:
    """Map destinations; one that is mapped already stays as it is. Raises ApiError 422."""
    _check(service.records, route, new)
    if any(d.weight is not None for d in new):
        raise unprocessable(
            "Destinations[0]: weighted destinations can only be used when replacing all"
            " destinations."
        )
    if route.weighted:
        raise unprocessable(
            "Destinations cannot be inserted when there are weighted destinations already"
            " configured."
        )
    added = [d for d in new if not any(d.same(old) for old in route.destinations)]
    if not added:
        return route
    check_room(route, len(added))
    return await _save(service, route, [*route.destinations, *added])


def check_room(route: Route, more: int) -> None:
    """422 where a route would lead to too many destinations."""
    if len(route.destinations) + more > MAX_DESTINATIONS:
        raise unprocessable(f"Routes can be mapped to at most {MAX_DESTINATIONS} destinations.")


async def put(service: Service, route: Route, new: Sequence[Destination]) -> Route:
    """Replace all destinations, with weights or without. Raises ApiError 422."""
    _check(service.records, route, new)
    validate.weights(d.weight for d in new)
    kept = [
        next((replace(d, guid=old.guid) for old in route.destinations if d.same(old)), d)
        for d in new
    ]
    return await _save(service, route, kept)


async def remove(service: Service, route: Route, destination: str) -> Route:
    """Unmap one destination (guid). Raises ApiError 422."""
    gone = next((d for d in route.destinations if d.guid == destination), None)
    if gone is None:
        raise unprocessable(
            "Unable to unmap route from destination."
            " Ensure the route has a destination with this guid."
        )
    if gone.weight is not None:
        raise unprocessable("Weighted destinations cannot be deleted individually.")
    return await _save(service, route, [d for d in route.destinations if d is not gone])


def _check(records: Records, route: Route, new: Sequence[Destination]) -> None:
    for one in new:
        app = records.apps.get(one.app)
        if app.space != route.space:
            raise unprocessable("Routes cannot be mapped to destinations in different spaces.")
    if any(a.same(b) for i, a in enumerate(new) for b in new[:i]):
        raise unprocessable("Destinations cannot contain duplicate entries")


async def _save(service: Service, before: Route, destinations: Iterable[Destination]) -> Route:
    after = service.records.routes.put(replace(before, destinations=tuple(destinations)))
    await service.sync.route_changed(before, after)
    return after


async def delete(service: Service, routes: Sequence[Route], operation: str) -> Job:
    """Delete routes with their mappings, all or none; the job that says so."""
    with service.records.changes() as changes:
        for route in routes:
            service.records.routes.delete(route.guid, changes)
        job = service.records.jobs.done(operation, changes)
    sync = service.sync
    await sync.together(*(sync.route_changed(route, None) for route in routes))
    return job
