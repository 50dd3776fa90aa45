"""Routes and their destinations."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response

from meshnet.capi import present, validate
from meshnet.capi.errors import not_found, unprocessable
from meshnet.capi.jobs_api import accepted
from meshnet.capi.listing import Collection, listed
from meshnet.capi.records import Destination, Records, Route
from meshnet.capi.service import Body, Service, Svc, ToOne, User, taken

router = APIRouter()


class RouteRelationships(Body):
    """The space and domain of a new route."""

    space: ToOne
    domain: ToOne


class NewRoute(Body):
    """POST /v3/routes."""

    host: str = ""
    path: str = ""
    port: int | None = None
    relationships: RouteRelationships


ROUTES = Collection[Route](
    filters={
        "hosts": "host",
        "paths": "path",
        "domain_guids": "domain",
        "space_guids": "space",
        "app_guids": lambda route: [d.app for d in route.destinations],
    },
)


@router.get("/v3/routes")
async def routes(request: Request, service: Svc, user: User) -> dict[str, Any]:
    """List routes."""
    return listed(request, ROUTES, service.records.routes, partial(present.route, service.records))


@router.post("/v3/routes", status_code=201)
async def create(body: NewRoute, service: Svc, user: User) -> dict[str, Any]:
    """Create a route without destinations."""
    records = service.records
    space = records.spaces.find(body.relationships.space.data.guid)
    domain = records.domains.find(body.relationships.domain.data.guid)
    if space is None or domain is None:
        what = "space" if space is None else "domain"
        raise unprocessable(f"Invalid {what}. Ensure that the {what} exists and you have access.")
    if body.port is not None:
        raise unprocessable("Routes with protocol 'http' do not support ports.")
    validate.host(body.host, domain)
    validate.path(body.path, domain)
    route = Route(host=body.host, path=body.path, domain=domain.guid, space=space.guid)
    _check_free(records, route)
    records.routes.put(route)
    await service.sync.route_changed(None, route)
    return present.route(records, route)


def _check_free(records: Records, route: Route) -> None:
    domain = records.domains.get(route.domain).name
    path = f" and path '{route.path}'" if route.path else ""
    taken(
        records.routes.same(route),
        f"Route already exists with host '{route.host}'{path} for domain '{domain}'.",
    )


@router.get("/v3/routes/{guid}")
async def show(guid: str, service: Svc, user: User) -> dict[str, Any]:
    """One route."""
    return present.route(service.records, service.records.routes.get(guid))


@router.delete("/v3/routes/{guid}", status_code=202)
async def delete(guid: str, request: Request, service: Svc, user: User) -> JSONResponse:
    """Delete a route with its mappings."""
    route = service.records.routes.get(guid)
    with service.records.changes() as changes:
        service.records.routes.delete(guid, changes)
        job = service.records.jobs.done("route.delete", changes)
    await service.sync.route_changed(route, None)
    return accepted(request, job)


@router.get("/v3/apps/{guid}/routes")
async def app_routes(guid: str, request: Request, service: Svc, user: User) -> dict[str, Any]:
    """The routes that lead to an app."""
    service.records.apps.get(guid)
    found = service.records.routes_of(guid)
    return listed(request, ROUTES, found, partial(present.route, service.records))


class DestinationProcess(Body):
    """The process of a destination: web."""

    type: str = "web"


class DestinationApp(Body):
    """The app of a destination."""

    guid: str
    process: DestinationProcess = DestinationProcess()


class NewDestination(Body):
    """One destination to add."""

    app: DestinationApp
    weight: int | None = None
    port: int | None = None
    protocol: str | None = None


class NewDestinations(Body):
    """POST and PATCH destinations."""

    destinations: list[NewDestination]


def _checked(service: Service, wanted: Iterable[NewDestination]) -> list[Destination]:
    found = []
    for one in wanted:
        if service.records.apps.find(one.app.guid) is None:
            raise unprocessable(f'App(s) with guid(s) "{one.app.guid}" do not exist.')
        if one.app.process.type != "web" or one.port not in (None, 8080):
            raise unprocessable("Destinations lead to process 'web' on port 8080.")
        found.append(Destination(app=one.app.guid, weight=one.weight))
    validate.weights(d.weight for d in found)
    return found


async def _save(service: Service, before: Route, destinations: list[Destination]) -> Route:
    after = replace(before, destinations=tuple(destinations))
    service.records.routes.put(after)
    await service.sync.route_changed(before, after)
    return after


def _shown(route: Route) -> dict[str, Any]:
    return {"destinations": [present.destination(d) for d in route.destinations]}


@router.get("/v3/routes/{guid}/destinations")
async def destinations(guid: str, service: Svc, user: User) -> dict[str, Any]:
    """A route's destinations."""
    return _shown(service.records.routes.get(guid))


@router.post("/v3/routes/{guid}/destinations")
async def add(guid: str, body: NewDestinations, service: Svc, user: User) -> dict[str, Any]:
    """Map apps; one that is mapped already stays as it is."""
    route = service.records.routes.get(guid)
    new = _checked(service, body.destinations)
    if any(d.weight is not None for d in new):
        raise unprocessable("Weighted destinations cannot be added: replace them all with PATCH.")
    if any(d.weight is not None for d in route.destinations):
        raise unprocessable(
            "Destinations cannot be inserted when there are weighted destinations already."
        )
    present_apps = {d.app for d in route.destinations}
    added = [d for d in new if d.app not in present_apps]
    return _shown(await _save(service, route, [*route.destinations, *added]))


@router.patch("/v3/routes/{guid}/destinations")
async def replace_all(guid: str, body: NewDestinations, service: Svc, user: User) -> dict[str, Any]:
    """Replace all destinations, with weights or without."""
    route = service.records.routes.get(guid)
    new = _checked(service, body.destinations)
    if len({d.app for d in new}) != len(new):
        raise unprocessable("Destinations cannot contain duplicate entries")
    kept = {d.app: d.guid for d in route.destinations}
    new = [replace(d, guid=kept.get(d.app, d.guid)) for d in new]
    return _shown(await _save(service, route, new))


@router.delete("/v3/routes/{guid}/destinations/{destination}", status_code=204)
async def remove(guid: str, destination: str, service: Svc, user: User) -> Response:
    """Unmap one destination."""
    route = service.records.routes.get(guid)
    left = [d for d in route.destinations if d.guid != destination]
    if len(left) == len(route.destinations):
        raise not_found("Destination")
    if any(d.weight is not None for d in route.destinations):
        raise unprocessable("Cannot unmap weighted routes. Replace the destinations with PATCH.")
    await _save(service, route, left)
    return Response(status_code=204)
