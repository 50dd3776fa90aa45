"""The few calls of the v2 API that clients of the mesh still make, by `cf curl`.

Bodies and errors are v2's: {"metadata": {...}, "entity": {...}} and {"description", "error_code",
"code"}.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response

from meshnet.capi import domain_rules, routing
from meshnet.capi.app_records import WEB
from meshnet.capi.domains import Domain
from meshnet.capi.errors import ApiError, bad_query
from meshnet.capi.permissions import Permissions
from meshnet.capi.route_records import Destination, Route
from meshnet.capi.service import Body, Service, Svc, User
from meshnet.capi.tables import Record, shown_time

router = APIRouter()
Json = dict[str, Any]


def _resource(record: Record, path: str, entity: Json) -> Json:
    """One object. `guid` comes first of all: clients take the first one they find."""
    metadata = {
        "guid": record.guid,
        "url": f"{path}/{record.guid}",
        "created_at": shown_time(record.created_at),
        "updated_at": shown_time(record.updated_at) if record.updated_at else None,
    }
    return {"metadata": metadata, "entity": entity}


def _route(record: Route) -> Json:
    url = f"/v2/routes/{record.guid}"
    entity = {
        "host": record.host,
        "path": record.path,
        "domain_guid": record.domain,
        "space_guid": record.space,
        "service_instance_guid": None,
        "port": None,
        "apps_url": f"{url}/apps",
        "route_mappings_url": f"{url}/route_mappings",
    }
    return _resource(record, "/v2/routes", entity)


def _domain(record: Domain) -> Json:
    if record.organization:
        owner = {"owning_organization_guid": record.organization}
        return _resource(record, "/v2/private_domains", {"name": record.name, **owner})
    entity = {
        "name": record.name,
        "internal": record.internal,
        "router_group_guid": None,
        "router_group_type": None,
    }
    return _resource(record, "/v2/shared_domains", entity)


def _listing(rows: Iterable[Json]) -> Json:
    found = list(rows)
    pages = {"total_results": len(found), "total_pages": 1, "prev_url": None, "next_url": None}
    return {**pages, "resources": found}


Test = Callable[[Any], bool]


def _chosen(request: Request, known: dict[str, Callable[[Any], str]]) -> Test:
    """What the query's `q`s ask for: each NAME:VALUE or NAME IN A,B; several with ; between."""
    tests = []
    for part in (one for q in request.query_params.getlist("q") for one in q.split(";")):
        name, colon, value = part.partition(":")
        values = [value]
        if not colon:
            name, _, value = part.partition(" IN ")
            values = value.split(",")
        if name not in known:
            raise bad_query(f"The query parameter is invalid: {part}")
        tests.append((known[name], {v.lower() for v in values}))
    return lambda record: all(of(record).lower() in values for of, values in tests)


@router.get("/v2/routes")
async def routes(request: Request, service: Svc, user: User) -> Json:
    """List routes; `q` takes host, path, domain_guid."""
    test = _chosen(
        request,
        {
            "host": lambda r: r.host,
            "path": lambda r: r.path,
            "domain_guid": lambda r: r.domain,
            "space_guid": lambda r: r.space,
        },
    )
    found = (r for r in service.records.routes.all() if user.sees_routes(r.space) and test(r))
    return _listing(map(_route, found))


def _domains(request: Request, service: Service, user: Permissions) -> Sequence[Domain]:
    test = _chosen(request, {"name": lambda d: d.name})
    rows = service.records.domains.all()
    return [d for d in rows if routing.sees_domain(user, d) and test(d)]


@router.get("/v2/domains")
async def domains(request: Request, service: Svc, user: User) -> Json:
    """List domains; `q` takes name."""
    return _listing(map(_domain, _domains(request, service, user)))


@router.get("/v2/shared_domains")
async def shared_domains(request: Request, service: Svc, user: User) -> Json:
    """List domains that belong to no organization; `q` takes name."""
    found = _domains(request, service, user)
    return _listing(_domain(d) for d in found if not d.organization)


class NewSharedDomain(Body):
    """POST /v2/shared_domains."""

    name: str
    internal: bool = False


@router.post("/v2/shared_domains", status_code=201)
async def create_shared_domain(body: NewSharedDomain, service: Svc, user: User) -> Json:
    """Create a shared domain."""
    user.require_admin()
    records, name = service.records, body.name.strip()
    if records.domains.named(name):
        text = f"The domain name is taken: {name}"
        raise ApiError(400, 130003, "CF-DomainNameTaken", text)
    served = records.domains.served(name, body.internal)
    domain = Domain(name=name, internal=body.internal, istio=served)
    try:
        domain_rules.syntax(name)
        domain_rules.free(records, domain)
    except ApiError as exc:
        text = f"The domain is invalid: {exc.detail}"
        raise ApiError(400, 130001, "CF-DomainInvalid", text) from exc
    return _domain(records.domains.put(domain))


@router.put("/v2/apps/{app}/routes/{route}", status_code=201)
async def map_app(app: str, route: str, service: Svc, user: User) -> Json:
    """Map a route to an app; the app."""
    await _map(service, user, app, route)
    record = service.records.apps.get(app)
    entity = {
        "name": record.name,
        "space_guid": record.space,
        "state": record.state,
        "instances": record.instances,
        "memory": record.memory_in_mb,
        "disk_quota": record.disk_in_mb,
        "command": record.command,
        "routes_url": f"/v2/apps/{app}/routes",
    }
    return _resource(record, "/v2/apps", entity)


@router.put("/v2/routes/{route}/apps/{app}", status_code=201)
async def map_route(route: str, app: str, service: Svc, user: User) -> Json:
    """Map a route to an app; the route."""
    return _route(await _map(service, user, app, route))


@router.delete("/v2/apps/{app}/routes/{route}", status_code=204)
async def unmap_app(app: str, route: str, service: Svc, user: User) -> Response:
    """Unmap a route from an app."""
    return await _unmap(service, user, app, route)


@router.delete("/v2/routes/{route}/apps/{app}", status_code=204)
async def unmap_route(route: str, app: str, service: Svc, user: User) -> Response:
    """Unmap a route from an app."""
    return await _unmap(service, user, app, route)


async def _map(service: Service, user: Permissions, app: str, route: str) -> Route:
    found = _found(service, user, app, route)
    try:
        return await routing.add(service, found, [Destination(app=app)])
    except ApiError as exc:
        raise ApiError(400, 1002, "CF-InvalidRelation", exc.detail) from exc


async def _unmap(service: Service, user: Permissions, app: str, route: str) -> Response:
    found = _found(service, user, app, route)
    for destination in found.destinations:
        if (destination.app, destination.process) == (app, WEB):
            await routing.remove(service, found, destination.guid)
    return Response(status_code=204)


def _found(service: Service, user: Permissions, app: str, route: str) -> Route:
    found_app, found = service.records.apps.find(app), service.records.routes.find(route)
    if found_app is None or not user.sees(found_app.space):
        raise ApiError(404, 100004, "CF-AppNotFound", f"The app could not be found: {app}")
    if found is None or not user.sees_routes(found.space):
        text = f"The route could not be found: {route}"
        raise ApiError(404, 210002, "CF-RouteNotFound", text)
    user.operate(found.space)
    return found
