"""Applies manifests: each app with its routes is planned whole, then written in one transaction."""

from __future__ import annotations

import re
import secrets
from collections.abc import Coroutine, Iterable
from dataclasses import dataclass, replace
from typing import Any

from meshnet.capi import app_writes, process_rules, quotas, routing, validate
from meshnet.capi.app_records import App
from meshnet.capi.domains import Domain
from meshnet.capi.errors import ApiError, unprocessable
from meshnet.capi.manifest import AppManifest
from meshnet.capi.metadata import applied
from meshnet.capi.permissions import Permissions
from meshnet.capi.records import Records
from meshnet.capi.route_records import Destination, Route
from meshnet.capi.sync import Sync
from meshnet.capi.tenancy_records import Space

_SCHEME = re.compile(r"https?://", re.IGNORECASE)


@dataclass(frozen=True)
class Plan:
    """What is to be written for one app: the app, and its routes, each before and after."""

    before: App | None
    after: App
    routes: list[tuple[Route | None, Route]]


def write(records: Records, user: Permissions, space: Space, manifest: AppManifest) -> Plan:
    """Create or change one app with its routes, all of it or nothing; then `push` it.

    Raises:
        ApiError: it is not allowed; nothing was written.
    """
    try:
        plan = _plan(records, user, space, manifest)
    except ApiError as exc:
        text = f"For application '{manifest.name}': {exc.detail}"
        raise ApiError(exc.status, exc.code, exc.title, text) from exc
    with records.changes() as tx:
        records.apps.put(plan.after, tx)
        for _, route in plan.routes:
            records.routes.put(route, tx)
    return plan


async def push(sync: Sync, plans: Iterable[Plan]) -> None:
    """Tell BBS and Copilot what was written."""
    pushes: list[Coroutine[Any, Any, None]] = []
    for plan in plans:
        if plan.before:
            pushes.append(sync.app_changed(plan.after, plan.before.process_guid))
        pushes += (sync.route_changed(before, after) for before, after in plan.routes)
    await sync.together(*pushes)


def _plan(records: Records, user: Permissions, space: Space, manifest: AppManifest) -> Plan:
    here = (app for app in records.apps if app.space == space.guid)
    before = next((app for app in here if app.name == manifest.name), None)
    if before is None:
        app_writes.check_name(records, space.guid, manifest.name)
    elif manifest.fields or manifest.health or manifest.readiness:
        app_writes.check_idle(records, before, app_writes.UPDATE_BUSY)
    app = before or App(name=manifest.name, space=space.guid)
    after = applied(replace(app, **manifest.fields), manifest.metadata)
    after = process_rules.checked_by(after, manifest.health, manifest.readiness)
    merged = {**after.env, **manifest.env}
    after = replace(after, env={k: v for k, v in merged.items() if v is not None})
    validate.env_size(after.env)
    quotas.check_app(records, before, after)
    return Plan(before, after, _routes(records, user, space, manifest, after))


def _routes(
    records: Records, user: Permissions, space: Space, manifest: AppManifest, app: App
) -> list[tuple[Route | None, Route]]:
    mine = records.routes_of(app.guid)
    if manifest.no_route:
        return [(route, _unmapped(route, app)) for route in mine]
    urls = list(manifest.routes or ())
    if manifest.routes is None and not mine and (manifest.default_route or manifest.random_route):
        urls = [_made_up(records, space, manifest)]
    planned: dict[str, tuple[Route | None, Route]] = {}
    for url in urls:
        before, after = _mapped(records, user, space, app, url)
        if before is not after:
            planned.setdefault(records.fqdn(after).lower() + after.path, (before, after))
    quotas.check_route(records, space.guid, sum(b is None for b, _ in planned.values()))
    return list(planned.values())


def _unmapped(route: Route, app: App) -> Route:
    return replace(route, destinations=tuple(d for d in route.destinations if d.app != app.guid))


def _mapped(
    records: Records, user: Permissions, space: Space, app: App, url: str
) -> tuple[Route | None, Route]:
    """A route and the same with the app among its destinations; None where it is new."""
    wanted = parsed(records, space, url)
    here = records.routes.at(wanted.domain, wanted.host)
    route = next((r for r in here if r.path == wanted.path), None)
    mapping = Destination(app=app.guid)
    if route is None:
        routing.check_new(records, user, wanted)
        return None, replace(wanted, destinations=(mapping,))
    if any(d.same(mapping) for d in route.destinations):
        return route, route
    if route.space != space.guid:
        raise unprocessable("Routes cannot be mapped to destinations in different spaces.")
    if route.weighted:
        raise unprocessable(
            "Destinations cannot be inserted when there are weighted destinations already"
            " configured."
        )
    routing.check_room(route, 1)
    return route, replace(route, destinations=(*route.destinations, mapping))


def parsed(records: Records, space: Space, url: str) -> Route:
    """The route a URL names: in the longest domain that it ends with. Raises ApiError 422."""
    name, slash, rest = _SCHEME.sub("", url, count=1).partition("/")
    host, path = name, slash + rest if rest else ""
    if not host or not url.isprintable() or " " in url or ":" in host:
        raise unprocessable(f"The route '{url[:200]}' is not a properly formed URL")
    domain = _domain(records, space, host)
    if domain is None:
        raise unprocessable(f"The route '{url[:200]}' did not match any existing domains.")
    label = host[: -len(domain.name)].removesuffix(".")
    return Route(host=label, path=path, domain=domain.guid, space=space.guid)


def _domain(records: Records, space: Space, host: str) -> Domain | None:
    lower = host.lower()
    fitting = [
        d
        for d in records.domains
        if routing.usable(d, space.organization)
        and (lower == d.name.lower() or lower.endswith("." + d.name.lower()))
    ]
    return max(fitting, key=lambda d: len(d.name), default=None)


def _made_up(records: Records, space: Space, manifest: AppManifest) -> str:
    """The URL of `default-route` or `random-route`."""
    domains = [d for d in records.domains.all() if not d.internal and not d.organization]
    if not domains:
        raise unprocessable("No default domains available")
    host = re.sub(r"[^a-z0-9-]+", "-", manifest.name.lower()).strip("-") or "app"
    if manifest.random_route:
        host = f"{host[: validate.MAX_HOST - 9]}-{secrets.token_hex(4)}"
    return f"{host[: validate.MAX_HOST]}.{domains[0].name}"
