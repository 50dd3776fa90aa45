"""Processes: each app's one, `web`, by its own guid (the app's) or by app and type.

While a deployment lasts the versions that it takes away have one each, to look at only.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

from fastapi import APIRouter, Request, Response

from meshnet.capi import (
    app_present,
    app_writes,
    flags,
    made_for_apps,
    process_rules,
    quotas,
    stats,
    validate,
)
from meshnet.capi.app_records import STARTED, WEB, App, OldProcess
from meshnet.capi.errors import not_found, unavailable
from meshnet.capi.listing import Collection, listed, one_page
from meshnet.capi.metadata import Metadata, applied
from meshnet.capi.permissions import Permissions
from meshnet.capi.process_rules import HealthCheck, ReadinessCheck
from meshnet.capi.service import Base, Body, Service, Svc, User
from meshnet.capi.tables import Record
from meshnet.model.errors import MeshnetError, NotFound, PeerError

router = APIRouter()
PROCESSES = Collection[App](filters={"app_guids": "app_guid", "types": lambda app: WEB})


def _process(user: Permissions, guid: str) -> App:
    """A process by its guid. Raises ApiError 404."""
    app = user.records.apps.find(guid)
    if app is None or not user.sees(app.space):
        raise not_found("Process")
    return app


def _seen(user: Permissions, guid: str) -> App:
    """A process to look at, also one that leaves. Raises ApiError 404."""
    old = user.records.old_process(guid)
    return old if old and user.sees(old.space) else _process(user, guid)


def _typed(user: Permissions, guid: str, kind: str) -> App:
    """A process by its app's guid and its type. Raises ApiError 404."""
    app = user.app(guid)
    if kind != WEB:
        raise not_found("Process")
    return app


def _shown(service: Service, user: Permissions, base: str, app: App) -> dict[str, Any]:
    text = app_writes.command(service.records, app)
    return app_present.process(base, app, text, hidden=made_for_apps.hidden(user, app.app_guid))


def _listed(service: Service, base: str, app: App) -> dict[str, Any]:
    text = app_writes.command(service.records, app)
    return app_present.process(base, app, text, hidden=app_present.HIDDEN_IN_LISTS)


@router.get("/v3/processes")
async def processes(request: Request, service: Svc, user: User, base: Base) -> dict[str, Any]:
    """List processes."""
    seen = (app for app in service.records.apps if user.sees(app.space))
    found = (process for app in seen for process in service.records.processes(app))
    return listed(request, PROCESSES, found, lambda app: _listed(service, base, app))


@router.get("/v3/apps/{guid}/processes")
async def of_app(
    guid: str, request: Request, service: Svc, user: User, base: Base
) -> dict[str, Any]:
    """An app's processes: web, more than once while a deployment lasts."""
    found = service.records.processes(user.app(guid))
    return listed(request, PROCESSES, found, lambda app: _listed(service, base, app))


@router.get("/v3/processes/{guid}")
async def show(guid: str, service: Svc, user: User, base: Base) -> dict[str, Any]:
    """One process."""
    return _shown(service, user, base, _seen(user, guid))


@router.get("/v3/apps/{guid}/processes/{kind}")
async def show_typed(guid: str, kind: str, service: Svc, user: User, base: Base) -> dict[str, Any]:
    """One process, by app and type."""
    return _shown(service, user, base, _typed(user, guid, kind))


class ProcessPatch(Body):
    """PATCH of a process; null takes the command away."""

    command: str | None = None
    health_check: HealthCheck | None = None
    readiness_health_check: ReadinessCheck | None = None
    metadata: Metadata | None = None


async def _change(service: Service, user: Permissions, app: App, body: ProcessPatch) -> App:
    user.write(app.space)
    app_writes.check_idle(service.records, app, app_writes.UPDATE_BUSY)
    after = app
    if "command" in body.model_fields_set:
        if body.command is not None:
            validate.command(body.command)
        after = replace(after, command=body.command)
    after = process_rules.checked_by(after, body.health_check, body.readiness_health_check)
    mine = applied(Record(metadata=app.process_metadata), body.metadata).metadata
    return service.records.apps.put(replace(after, process_metadata=mine))


@router.patch("/v3/processes/{guid}")
async def change(
    guid: str, body: ProcessPatch, service: Svc, user: User, base: Base
) -> dict[str, Any]:
    """Change the start command or health checks; instances take them at the next restart."""
    return _shown(service, user, base, await _change(service, user, _process(user, guid), body))


@router.patch("/v3/apps/{guid}/processes/{kind}")
async def change_typed(
    guid: str, kind: str, body: ProcessPatch, service: Svc, user: User, base: Base
) -> dict[str, Any]:
    """As PATCH /v3/processes/G, by app and type."""
    return _shown(service, user, base, await _change(service, user, _typed(user, guid, kind), body))


class Scale(Body):
    """POST actions/scale."""

    instances: int | None = None
    memory_in_mb: int | None = None
    disk_in_mb: int | None = None
    log_rate_limit_in_bytes_per_second: int | None = None


async def _scale(service: Service, user: Permissions, app: App, body: Scale) -> App:
    user.operate(app.space)
    app_writes.check_idle(service.records, app, app_writes.SCALE_BUSY)
    given = body.model_dump(exclude_none=True)
    if "log_rate_limit_in_bytes_per_second" in given:
        given["log_rate_limit"] = given.pop("log_rate_limit_in_bytes_per_second")
    process_rules.check_scale(given)
    flags.require(user, "app_scaling")
    after = replace(app, **given)
    quotas.check_app(service.records, app, after)
    return await app_writes.save(service, app, after)


@router.post("/v3/processes/{guid}/actions/scale", status_code=202)
async def scale(guid: str, body: Scale, service: Svc, user: User, base: Base) -> dict[str, Any]:
    """Change instances (at once) and limits (at the next restart)."""
    return _shown(service, user, base, await _scale(service, user, _process(user, guid), body))


@router.post("/v3/apps/{guid}/processes/{kind}/actions/scale", status_code=202)
async def scale_typed(
    guid: str, kind: str, body: Scale, service: Svc, user: User, base: Base
) -> dict[str, Any]:
    """As POST /v3/processes/G/actions/scale, by app and type."""
    return _shown(service, user, base, await _scale(service, user, _typed(user, guid, kind), body))


async def _stats(service: Service, app: App) -> dict[str, Any]:
    coming = app if isinstance(app, OldProcess) else service.records.versions(app)[0]
    if app.state != STARTED:
        return {"resources": stats.rows(coming, [], {}, time.time_ns())}
    try:
        lrps = await service.bbs.actual_lrps(process_guid=app.process_guid)
    except PeerError as exc:
        raise unavailable("Stats server temporarily unavailable.") from exc
    usage = await service.logs.usage(app.app_guid, lrps)
    return {"resources": stats.rows(coming, lrps, usage, time.time_ns())}


@router.get("/v3/processes/{guid}/stats")
async def show_stats(guid: str, service: Svc, user: User) -> dict[str, Any]:
    """The state of each instance."""
    return await _stats(service, _seen(user, guid))


@router.get("/v3/apps/{guid}/processes/{kind}/stats")
async def show_stats_typed(guid: str, kind: str, service: Svc, user: User) -> dict[str, Any]:
    """The state of each instance, by app and type."""
    return await _stats(service, _typed(user, guid, kind))


@router.get("/v3/processes/{guid}/sidecars")
@router.get("/v3/apps/{guid}/sidecars")
async def sidecars(guid: str, request: Request, user: User) -> dict[str, Any]:
    """No app-defined sidecar processes."""
    _seen(user, guid)
    return one_page([], str(request.url.replace(query="")))


async def _end(service: Service, user: Permissions, app: App, index: int) -> Response:
    user.operate(app.space)
    if app.state != STARTED or not 0 <= index < app.instances:
        raise not_found("Instance")
    try:
        await service.bbs.remove_actual(app.process_guid, index)
    except NotFound as exc:
        raise not_found("Instance") from exc
    except MeshnetError as exc:
        raise unavailable(f"The instance cannot be ended now: {exc}") from exc
    return Response(status_code=204)


@router.delete("/v3/processes/{guid}/instances/{index}", status_code=204)
async def end_instance(guid: str, index: int, service: Svc, user: User) -> Response:
    """End one instance; another one takes its place."""
    return await _end(service, user, _process(user, guid), index)


@router.delete("/v3/apps/{guid}/processes/{kind}/instances/{index}", status_code=204)
async def end_instance_typed(
    guid: str, kind: str, index: int, service: Svc, user: User
) -> Response:
    """End one instance, by app and type."""
    return await _end(service, user, _typed(user, guid, kind), index)
