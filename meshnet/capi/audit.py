"""Audit events: what was done to which app, when and by whom; the newest are kept.

What changes a record makes its event, in the same transaction, by `watch`: no handler can forget
it. What no record tells (a restart is a new version, as a deployment is) is said with `say`.
Types and data are cloud_controller_ng's (`app/repositories/*_event_repository.rb`).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from starlette.types import ASGIApp, Receive, Scope, Send

from meshnet.capi.app_records import CANCELING, App, Build, Deployment, Package
from meshnet.capi.route_records import Route
from meshnet.capi.tables import Changes, Record, Table
from meshnet.store import Store

# Enough for a look at what happened of late; CC forgets them too, after a month.
MAX_EVENTS = 2000
# With each new one: a transaction asks the store for each record that it deletes.
_MOST_FORGOTTEN = 10
HIDDEN = "[PRIVATE DATA HIDDEN]"
Json = dict[str, Any]
_SYSTEM = {"guid": "system", "type": "system", "name": "system"}
# Filled in once it is known who asks: handlers and their tasks inherit the same dictionary.
_actor: ContextVar[Json | None] = ContextVar("actor", default=None)


@dataclass(frozen=True)
class Event(Record):
    """One event.

    Attributes:
        actor, target: {"guid", "type", "name"}.
        space: the guid of the space that it happened in.
        data: what else there is to know.
    """

    type: str = ""
    actor: Json = field(default_factory=dict)
    target: Json = field(default_factory=dict)
    space: str = ""
    organization: str = ""
    data: Json = field(default_factory=dict)


class Actor:
    """Middleware: a place for who asks, one for each request."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One connection."""
        token = _actor.set({})
        try:
            await self._app(scope, receive, send)
        finally:
            _actor.reset(token)


def acts(guid: str, name: str) -> None:
    """Say who makes the request that is being answered."""
    if (actor := _actor.get()) is not None:
        actor.update({"guid": guid, "type": "user", "name": name})


class Events(Table[Event]):
    """The newest events."""

    def __init__(self, store: Store) -> None:
        super().__init__(store, Event, "Event")
        self._rows = {event.guid: event for event in self.all()}  # the oldest first, ever after

    def say(
        self,
        kind: str,
        app: App,
        organization: str,
        data: Json | None = None,
        *,
        actor: Json | None = None,
        changes: Changes | None = None,
    ) -> None:
        """Record an event of an app.

        Args:
            actor: default: who makes the request, or the platform itself.
        """
        event = Event(
            type=kind,
            actor=actor or _actor.get() or _SYSTEM,
            target={"guid": app.guid, "type": "app", "name": app.name},
            space=app.space,
            organization=organization,
            data=data or {},
        )
        beyond = max(0, len(self._rows) + 1 - MAX_EVENTS)
        for old in list(islice(self._rows, min(beyond, _MOST_FORGOTTEN))):
            self.delete(old, changes)
        self.put(event, changes)


Told = tuple[str, str, Json]  # an event's type, the guid of the app, and its data


def of_app(before: App | None, after: App | None) -> Iterator[Told]:
    """What became of an app."""
    if after is None:
        if before:
            yield "audit.app.delete-request", before.guid, {}
        return
    if before is None:
        yield "audit.app.create", after.guid, {"request": _scale(after) | {"name": after.name}}
        return
    if changed := {k: v for k, v in _scale(after).items() if _scale(before)[k] != v}:
        yield "audit.app.process.scale", after.guid, {"request": changed}
    if before.droplet != after.droplet:
        yield "audit.app.droplet.mapped", after.guid, {"request": {"droplet_guid": after.droplet}}
    request: Json = {"name": after.name} if before.name != after.name else {}
    if before.env != after.env:
        request["environment_json"] = HIDDEN
    if before.command != after.command:
        request["command"] = HIDDEN
    if request:
        yield "audit.app.update", after.guid, {"request": request}


def _scale(app: App) -> Json:
    sizes = {"memory": app.memory_in_mb, "disk_quota": app.disk_in_mb}
    return {"instances": app.instances, **sizes}


def of_route(before: Route | None, after: Route | None) -> Iterator[Told]:
    """Which apps a route leads to from now on, and which no longer."""
    old = {d.app for d in before.destinations} if before else set()
    new = {d.app for d in after.destinations} if after else set()
    guid = (after or before or Route()).guid
    for app in sorted(new - old):
        yield "audit.app.map-route", app, {"route_guid": guid}
    for app in sorted(old - new):
        yield "audit.app.unmap-route", app, {"route_guid": guid}


def of_deployment(before: Deployment | None, after: Deployment | None) -> Iterator[Told]:
    """A deployment that begins, or is cancelled."""
    if after and not before:
        data = {"deployment_guid": after.guid, "droplet_guid": after.droplet}
        yield "audit.app.deployment.create", after.app, data
    elif before and after and CANCELING == after.reason != before.reason:
        data = {"deployment_guid": after.guid, "droplet_guid": after.previous_droplet}
        yield "audit.app.deployment.cancel", after.app, data


def of_package(before: Package | None, after: Package | None) -> Iterator[Told]:
    """A package that is made, or has got its bits."""
    if after and not before:
        yield "audit.app.package.create", after.app, {"package_guid": after.guid}
    elif before and after and after.sha256 and not before.sha256:
        yield "audit.app.package.upload", after.app, {"package_guid": after.guid}


def of_build(before: Build | None, after: Build | None) -> Iterator[Told]:
    """A build that begins."""
    if after and not before:
        data = {"build_guid": after.guid, "package_guid": after.package}
        yield "audit.app.build.create", after.app, data
