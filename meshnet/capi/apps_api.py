"""Apps: made, listed, changed, started, stopped, deleted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse
from pydantic import Field

from meshnet.capi import app_present, app_writes, lifecycle, removal, validate
from meshnet.capi.app_records import App
from meshnet.capi.errors import unprocessable
from meshnet.capi.includes import orgs_of_spaces, spaces_of
from meshnet.capi.jobs_api import accepted
from meshnet.capi.lifecycle import Lifecycle
from meshnet.capi.listing import Collection, included, listed
from meshnet.capi.metadata import Metadata, applied
from meshnet.capi.records import Records
from meshnet.capi.service import Base, Body, Svc, ToOne, User

router = APIRouter()
_NO_SPACE = "Invalid space. Ensure that the space exists and you have access to it."


class AppRelationships(Body):
    """The space of a new app."""

    space: ToOne


class NewApp(Body):
    """POST /v3/apps."""

    name: str
    relationships: AppRelationships
    environment_variables: dict[str, str] = Field(default_factory=dict)
    lifecycle: Lifecycle | None = None
    metadata: Metadata | None = None


class AppPatch(Body):
    """PATCH /v3/apps/G."""

    name: str | None = None
    lifecycle: Lifecycle | None = None
    metadata: Metadata | None = None


def collection(records: Records) -> Collection[App]:
    """What the list of apps understands."""

    def organization(app: App) -> str:
        space = records.spaces.find(app.space)
        return space.organization if space else ""

    def spaces(apps: Sequence[App]) -> tuple[str, list[dict[str, Any]]]:
        return "spaces", spaces_of(records, (app.space for app in apps))

    def orgs(apps: Sequence[App]) -> tuple[str, list[dict[str, Any]]]:
        return "organizations", orgs_of_spaces(records, (app.space for app in apps))

    return Collection(
        filters={
            "names": "name",
            "space_guids": "space",
            "organization_guids": organization,
            "stacks": lambda app: app.stack or "",
            "lifecycle_type": "lifecycle",
        },
        orders=("name", "state"),
        includes={"space": spaces, "space.organization": orgs, "org": orgs},
    )


@router.get("/v3/apps")
async def apps(request: Request, service: Svc, user: User, base: Base) -> dict[str, Any]:
    """List apps."""
    records = service.records
    found = (app for app in records.apps if user.sees(app.space))
    return listed(request, collection(records), found, lambda app: app_present.app(base, app))


@router.post("/v3/apps", status_code=201)
async def create(body: NewApp, service: Svc, user: User, base: Base) -> dict[str, Any]:
    """Create an app with its web process, stopped."""
    space = user.visible_space(body.relationships.space.data.guid)
    if space is None:
        raise unprocessable(
            "Invalid space. Ensure that the space exists and you have access to it."
        )
    user.write(space.guid)
    app_writes.check_name(service.records, space.guid, body.name)
    validate.env(dict(body.environment_variables))
    validate.env_size(body.environment_variables)
    app = App(name=body.name, space=space.guid, env=body.environment_variables)
    app = lifecycle.applied(applied(app, body.metadata), body.lifecycle)
    return app_present.app(base, service.records.apps.put(app))


@router.get("/v3/apps/{guid}")
async def show(guid: str, request: Request, service: Svc, user: User, base: Base) -> dict[str, Any]:
    """One app."""
    app = user.app(guid)
    more = included(request, collection(service.records), app)
    return {**app_present.app(base, app), **more}


@router.patch("/v3/apps/{guid}")
async def change(guid: str, body: AppPatch, service: Svc, user: User, base: Base) -> dict[str, Any]:
    """Change an app's name, lifecycle or metadata."""
    app = user.app(guid)
    user.write(app.space)
    if body.name is not None:
        app_writes.check_name(service.records, app.space, body.name, guid)
    after = replace(app, name=body.name if body.name is not None else app.name)
    after = lifecycle.applied(applied(after, body.metadata), body.lifecycle)
    return app_present.app(base, service.records.apps.put(after))


@router.delete("/v3/apps/{guid}", status_code=202)
async def delete(guid: str, request: Request, service: Svc, user: User) -> JSONResponse:
    """Delete an app with its mappings and policies; its routes stay."""
    app = user.app(guid)
    user.write(app.space)
    job = await removal.carry_out(service, removal.of_app(service.records, app), "app.delete")
    return accepted(request, job)


@router.post("/v3/apps/{guid}/actions/{action}")
async def act(
    guid: str,
    action: Literal["start", "stop", "restart"],
    service: Svc,
    user: User,
    base: Base,
) -> dict[str, Any]:
    """Start, stop or restart."""
    app = user.app(guid)
    user.operate(app.space)
    return app_present.app(base, await app_writes.act(service, app, action))
