"""Where routes lead."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fastapi import APIRouter
from fastapi.responses import Response

from meshnet.capi import route_present, routing
from meshnet.capi.app_records import WEB
from meshnet.capi.errors import unprocessable
from meshnet.capi.permissions import Permissions
from meshnet.capi.route_records import Destination, Route
from meshnet.capi.routes_api import visible
from meshnet.capi.service import Base, Body, Service, Svc, User, warn

router = APIRouter()


class DestinationProcess(Body):
    """The process of a destination; null means web."""

    type: str | None = None


class DestinationApp(Body):
    """The app of a destination."""

    guid: str
    process: DestinationProcess | None = None


class NewDestination(Body):
    """One destination to add."""

    app: DestinationApp
    weight: int | None = None
    port: int | None = None
    protocol: str | None = None


class Destinations(Body):
    """POST and PATCH destinations."""

    destinations: list[NewDestination]


def _wanted(
    service: Service, user: Permissions, wanted: Sequence[NewDestination], least: int
) -> list[Destination]:
    """What a body asks for, with apps that somebody may see. Raises ApiError 422."""
    most = routing.MAX_DESTINATIONS
    if not least <= len(wanted) <= most:
        raise unprocessable(
            f"Destinations must be an array containing between {least} and {most}"
            " destination objects."
        )
    found, missing = [], []
    for index, one in enumerate(wanted):
        app = service.records.apps.find(one.app.guid)
        if app is None or not user.sees(app.space):
            missing.append(one.app.guid)
        _check(index, one)
        process = one.app.process.type if one.app.process else None
        found.append(Destination(app=one.app.guid, weight=one.weight, process=process or WEB))
    if missing:
        guids = '","'.join(missing)
        raise unprocessable(
            f'App(s) with guid(s) "{guids}" do not exist or you do not have access.'
        )
    return found


def _check(index: int, one: NewDestination) -> None:
    """The mesh reaches each app at one port, by HTTP/1.1: that is what its sidecar listens for."""
    if one.port not in (None, route_present.APP_PORT):
        raise unprocessable(f"Destinations[{index}]: port must be {route_present.APP_PORT}.")
    if one.protocol not in (None, "http1"):
        raise unprocessable(f"Destinations[{index}]: protocol must be 'http1'.")
    if one.app.process and one.app.process.type == "":
        raise unprocessable(
            f'Destinations[{index}]: process must have the structure {{"type": "process_type"}}'
        )


def _operated(service: Service, user: Permissions, guid: str) -> Route:
    route = visible(service, user, guid)
    user.operate(route.space)
    return route


@router.get("/v3/routes/{guid}/destinations")
async def destinations(guid: str, service: Svc, user: User, base: Base) -> dict[str, Any]:
    """A route's destinations."""
    return route_present.destinations(base, visible(service, user, guid))


@router.post("/v3/routes/{guid}/destinations")
async def add(
    guid: str, body: Destinations, service: Svc, user: User, base: Base, response: Response
) -> dict[str, Any]:
    """Map apps; one that is mapped already stays as it is."""
    route = _operated(service, user, guid)
    warn(response, service.records.domains.unserved(service.records.domains.get(route.domain)))
    new = _wanted(service, user, body.destinations, least=1)
    return route_present.destinations(base, await routing.add(service, route, new))


@router.patch("/v3/routes/{guid}/destinations")
async def replace_all(
    guid: str, body: Destinations, service: Svc, user: User, base: Base
) -> dict[str, Any]:
    """Replace all destinations, with weights or without."""
    route = _operated(service, user, guid)
    new = _wanted(service, user, body.destinations, least=0)
    return route_present.destinations(base, await routing.put(service, route, new))


@router.delete("/v3/routes/{guid}/destinations/{destination}", status_code=204)
async def remove(guid: str, destination: str, service: Svc, user: User) -> Response:
    """Unmap one destination."""
    await routing.remove(service, _operated(service, user, guid), destination)
    return Response(status_code=204)
