"""Routes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from meshnet.capi import route_present, routing
from meshnet.capi.errors import not_found, unprocessable
from meshnet.capi.jobs_api import accepted
from meshnet.capi.listing import Collection, included, listed
from meshnet.capi.metadata import Metadata, MetadataPatch, applied
from meshnet.capi.permissions import Permissions
from meshnet.capi.records import Records
from meshnet.capi.route_records import Route, Routes
from meshnet.capi.service import Base, Body, Service, Svc, ToOne, User

router = APIRouter()


class RouteRelationships(Body):
    """The space and domain of a new route."""

    space: ToOne
    domain: ToOne


class NewRoute(Body):
    """POST /v3/routes."""

    host: str | None = None
    path: str | None = None
    port: int | None = None
    relationships: RouteRelationships
    metadata: Metadata | None = None


def _collection(records: Records, base: str, user: Permissions) -> Collection[Route]:
    """What lists of routes understand."""

    def organization(route: Route) -> str:
        return records.spaces.get(route.space).organization

    return Collection(
        filters={
            "hosts": "host",
            "paths": "path",
            "domain_guids": "domain",
            "space_guids": "space",
            "organization_guids": organization,
            "app_guids": lambda route: [d.app for d in route.destinations],
            # HTTP routes have no port: CC's clients ask for 0 where they mean none.
            "ports": lambda route: "0",
        },
        includes=route_present.includes(records, base, user.sees_org),
    )


def _listed(request: Request, service: Service, user: Permissions, routes: Any) -> dict[str, Any]:
    records, base = service.records, str(request.base_url).rstrip("/")
    seen = (r for r in routes if user.sees_routes(r.space))
    show = partial(route_present.route, records, base)
    return listed(request, _collection(records, base, user), seen, show)


def visible(service: Service, user: Permissions, guid: str) -> Route:
    """One route that somebody may see. Raises ApiError 404."""
    route = service.records.routes.get(guid)
    if not user.sees_routes(route.space):
        raise not_found("Route")
    return route


@router.get("/v3/routes")
async def routes(request: Request, service: Svc, user: User) -> dict[str, Any]:
    """List routes."""
    found = _candidates(request.query_params, service.records.routes)
    return _listed(request, service, user, found)


def _candidates(params: Mapping[str, str], routes: Routes) -> Iterable[Route]:
    """The routes that can pass, where an index knows: `cf map-route` asks so for each mapping."""
    if "app_guids" in params:
        apps = params["app_guids"].split(",")
        return {r.guid: r for app in apps for r in routes.of_app(app)}.values()
    if "domain_guids" in params and "hosts" in params:
        domains, hosts = (params[name].split(",") for name in ("domain_guids", "hosts"))
        return {r.guid: r for d in domains for h in hosts for r in routes.at(d, h)}.values()
    return routes


@router.post("/v3/routes", status_code=201)
async def create(body: NewRoute, service: Svc, user: User, base: Base) -> dict[str, Any]:
    """Create a route without destinations."""
    records = service.records
    space = user.visible_space(body.relationships.space.data.guid)
    domain = records.domains.find(body.relationships.domain.data.guid)
    if space is None:
        raise _invalid("space")
    if domain is None or not routing.sees_domain(user, domain):
        raise _invalid("domain")
    user.operate(space.guid)
    if body.port is not None:
        raise unprocessable("Routes with protocol 'http' do not support ports.")
    wanted = Route(host=body.host or "", path=body.path or "", domain=domain.guid, space=space.guid)
    route = await routing.create(service, user, applied(wanted, body.metadata))
    return route_present.route(records, base, route)


def _invalid(what: str) -> Exception:
    return unprocessable(
        f"Invalid {what}. Ensure that the {what} exists and you have access to it."
    )


@router.get("/v3/routes/{guid}")
async def show(guid: str, request: Request, service: Svc, user: User, base: Base) -> dict[str, Any]:
    """One route."""
    route = visible(service, user, guid)
    return {
        **route_present.route(service.records, base, route),
        **included(request, _collection(service.records, base, user), route),
    }


@router.patch("/v3/routes/{guid}")
async def change(
    guid: str, body: MetadataPatch, service: Svc, user: User, base: Base
) -> dict[str, Any]:
    """Change a route's metadata."""
    route = visible(service, user, guid)
    user.operate(route.space)
    route = service.records.routes.put(applied(route, body.metadata))
    return route_present.route(service.records, base, route)


@router.delete("/v3/routes/{guid}", status_code=202)
async def delete(guid: str, request: Request, service: Svc, user: User) -> JSONResponse:
    """Delete a route with its mappings."""
    route = visible(service, user, guid)
    user.operate(route.space)
    return accepted(request, await routing.delete(service, [route], "route.delete"))


@router.get("/v3/apps/{guid}/routes")
async def app_routes(guid: str, request: Request, service: Svc, user: User) -> dict[str, Any]:
    """The routes that lead to an app."""
    user.app(guid)
    return _listed(request, service, user, service.records.routes_of(guid))


@router.delete("/v3/spaces/{guid}/routes", status_code=202)
async def delete_unmapped(guid: str, request: Request, service: Svc, user: User) -> JSONResponse:
    """Delete the routes of a space that lead nowhere."""
    if request.query_params.get("unmapped") != "true":
        raise unprocessable(
            "Mass delete not supported for mapped routes."
            " Use 'unmapped=true' parameter to delete all unmapped routes."
        )
    space = user.space(guid)
    user.write(space.guid)
    routes = [r for r in service.records.routes if r.space == guid and not r.destinations]
    return accepted(request, await routing.delete(service, routes, "space.delete_unmapped_routes"))
