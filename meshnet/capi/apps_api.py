"""Apps, their process, scaling, starting and stopping."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse
from pydantic import Field

from meshnet.capi import present, removal, validate
from meshnet.capi.app_records import STARTED, STOPPED, App
from meshnet.capi.errors import unavailable, unprocessable
from meshnet.capi.jobs_api import accepted
from meshnet.capi.service import (
    Body,
    Guid,
    Service,
    Svc,
    ToOne,
    User,
    check_filters,
    chooser,
    taken,
)
from meshnet.model.errors import PeerError

router = APIRouter()


class AppRelationships(Body):
    """The space of a new app."""

    space: ToOne


class NewApp(Body):
    """POST /v3/apps."""

    name: str
    relationships: AppRelationships
    environment_variables: dict[str, str] = Field(default_factory=dict)


@router.get("/v3/apps")
async def apps(request: Request, service: Svc, user: User) -> dict[str, Any]:
    """List apps."""
    check_filters(request, "names", "guids", "space_guids")
    chosen = chooser(request, names="name", guids="guid", space_guids="space")
    found = (a for a in service.records.apps if chosen(vars(a)))
    return present.listing(present.app(a) for a in sorted(found, key=lambda a: (a.name, a.guid)))


@router.post("/v3/apps", status_code=201)
async def create(body: NewApp, service: Svc, user: User) -> dict[str, Any]:
    """Create an app with its web process, stopped."""
    validate.name(body.name)
    validate.env(dict(body.environment_variables))
    space = service.records.spaces.get(body.relationships.space.data.guid)
    same = (a for a in service.records.apps if a.space == space.guid)
    exists = any(a.name.lower() == body.name.lower() for a in same)
    taken(exists, f"App with the name '{body.name}' already exists.")
    app = App(name=body.name, space=space.guid, env=body.environment_variables)
    return present.app(service.records.apps.put(app))


@router.get("/v3/apps/{guid}")
async def show(guid: str, service: Svc, user: User) -> dict[str, Any]:
    """One app."""
    return present.app(service.records.apps.get(guid))


@router.delete("/v3/apps/{guid}", status_code=202)
async def delete(guid: str, request: Request, service: Svc, user: User) -> JSONResponse:
    """Delete an app with its mappings and policies; its routes stay."""
    app = user.app(guid)
    user.write(app.space)
    job = await removal.carry_out(service, removal.of_app(service.records, app), "app.delete")
    return accepted(request, job)


@router.post("/v3/apps/{guid}/actions/{action}")
async def act(guid: str, action: str, service: Svc, user: User) -> dict[str, Any]:
    """Start, stop or restart."""
    app = service.records.apps.get(guid)
    if action not in ("start", "stop", "restart"):
        raise unprocessable(f"Unknown action '{action}': start, stop or restart")
    if action != "stop" and not (app.droplet and app.command):
        raise unprocessable(
            "Assign a droplet before starting this app."
            if not app.droplet
            else "The app has no start command: set the process's command."
        )
    after = replace(app, state=STOPPED if action == "stop" else STARTED)
    # A start that starts nothing new keeps the instances; all else gives them a new version.
    if action == "restart" or after.state != app.state:
        after = after.renewed()
    await save(service, app, after)
    return present.app(after)


async def save(service: Service, before: App, after: App) -> None:
    """Write an app and tell BBS and Copilot."""
    service.records.apps.put(after)
    await service.sync.app_changed(after, before.process_guid)


@router.get("/v3/apps/{guid}/env")
async def env(guid: str, service: Svc, user: User) -> dict[str, Any]:
    """All environment of an app."""
    app = service.records.apps.get(guid)
    empty: dict[str, Any] = {}
    return {
        "environment_variables": app.env,
        "staging_env_json": empty,
        "running_env_json": empty,
        "system_env_json": {"VCAP_SERVICES": {}},
        "application_env_json": {"VCAP_APPLICATION": {"name": app.name, "application_id": guid}},
    }


class Variables(Body):
    """PATCH environment_variables; null removes one."""

    var: dict[str, str | None]


@router.patch("/v3/apps/{guid}/environment_variables")
async def set_env(guid: str, body: Variables, service: Svc, user: User) -> dict[str, Any]:
    """Change environment variables; they reach instances at the next restart."""
    app = service.records.apps.get(guid)
    validate.env(body.var)
    merged = {**app.env, **body.var}
    after = replace(app, env={k: v for k, v in merged.items() if v is not None})
    service.records.apps.put(after)
    return {"var": after.env}


class CurrentDroplet(Body):
    """PATCH current_droplet."""

    data: Guid


@router.patch("/v3/apps/{guid}/relationships/current_droplet")
async def set_droplet(guid: str, body: CurrentDroplet, service: Svc, user: User) -> dict[str, Any]:
    """Assign a droplet; instances take it at the next restart."""
    app = service.records.apps.get(guid)
    droplet = service.records.droplets.find(body.data.guid)
    if droplet is None or droplet.app != guid or not droplet.sha256:
        raise unprocessable(
            "Unable to assign current droplet. Ensure the droplet exists and belongs to this app."
        )
    service.records.apps.put(replace(app, droplet=droplet.guid))
    return {"data": {"guid": droplet.guid}}


@router.get("/v3/apps/{guid}/processes")
async def app_processes(guid: str, service: Svc, user: User) -> dict[str, Any]:
    """An app's processes: web."""
    return present.listing([present.process(service.records.apps.get(guid))])


@router.get("/v3/processes")
async def processes(request: Request, service: Svc, user: User) -> dict[str, Any]:
    """List processes."""
    check_filters(request, "app_guids", "guids")
    chosen = chooser(request, app_guids="guid", guids="guid")
    found = service.records.apps.all()
    return present.listing(present.process(a) for a in found if chosen(vars(a)))


@router.get("/v3/processes/{guid}")
async def process(guid: str, service: Svc, user: User) -> dict[str, Any]:
    """One process."""
    return present.process(service.records.apps.get(guid))


class ProcessPatch(Body):
    """PATCH /v3/processes/G."""

    command: str | None = None


@router.patch("/v3/processes/{guid}")
async def patch_process(guid: str, body: ProcessPatch, service: Svc, user: User) -> dict[str, Any]:
    """Set the start command; instances take it at the next restart."""
    app = service.records.apps.get(guid)
    if "command" not in body.model_fields_set:
        return present.process(app)
    if body.command is not None:
        validate.command(body.command)
    return present.process(service.records.apps.put(replace(app, command=body.command)))


@router.get("/v3/processes/{guid}/sidecars")
async def sidecars(guid: str, service: Svc, user: User) -> dict[str, Any]:
    """No app-defined sidecar processes."""
    return present.listing([])


class Scale(Body):
    """POST actions/scale."""

    instances: int | None = None
    memory_in_mb: int | None = None
    disk_in_mb: int | None = None


@router.post("/v3/processes/{guid}/actions/scale", status_code=202)
async def scale(guid: str, body: Scale, service: Svc, user: User) -> dict[str, Any]:
    """Change instances (at once) and limits (at the next restart)."""
    before = after = service.records.apps.get(guid)
    if body.instances is not None:
        validate.instances(body.instances)
        after = replace(after, instances=body.instances)
    if body.memory_in_mb is not None:
        validate.memory(body.memory_in_mb)
        after = replace(after, memory_in_mb=body.memory_in_mb)
    if body.disk_in_mb is not None:
        validate.disk(body.disk_in_mb)
        after = replace(after, disk_in_mb=body.disk_in_mb)
    await save(service, before, after)
    return present.process(after)


@router.post("/v3/apps/{guid}/processes/web/actions/scale", status_code=202)
async def scale_app(guid: str, body: Scale, service: Svc, user: User) -> dict[str, Any]:
    """Scale an app's web process."""
    return await scale(guid, body, service, user)


@router.get("/v3/processes/{guid}/stats")
async def stats(guid: str, service: Svc, user: User) -> dict[str, Any]:
    """The state of each instance."""
    app = service.records.apps.get(guid)
    if app.state != STARTED:
        return {"resources": present.stats(app, [], time.time_ns())}
    try:
        lrps = await service.bbs.actual_lrps(process_guid=app.process_guid)
    except PeerError as exc:
        raise unavailable("Stats unavailable: BBS does not answer") from exc
    return {"resources": present.stats(app, lrps, time.time_ns())}
