"""Builds: a package is staged to a droplet."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from fastapi import APIRouter, Request

from meshnet.capi import app_present, lifecycle, made_for_apps
from meshnet.capi.app_records import Build
from meshnet.capi.errors import ApiError, unprocessable
from meshnet.capi.lifecycle import Lifecycle
from meshnet.capi.listing import listed
from meshnet.capi.metadata import Metadata, MetadataPatch, applied
from meshnet.capi.permissions import Permissions
from meshnet.capi.process_rules import check_scale
from meshnet.capi.service import Base, Body, Guid, Service, Svc, User, taken

router = APIRouter()
_NO_PACKAGE = "Unable to use package. Ensure that the package exists and you have access to it."


class NewBuild(Body):
    """POST /v3/builds."""

    package: Guid
    lifecycle: Lifecycle | None = None
    staging_memory_in_mb: int | None = None
    staging_disk_in_mb: int | None = None
    staging_log_rate_limit_bytes_per_second: int | None = None
    metadata: Metadata | None = None


def _build(user: Permissions, guid: str) -> Build:
    build = user.records.builds.get(guid)
    made_for_apps.require_read(user, build.app, "Build")
    return build


def _listed(
    request: Request, service: Service, base: str, found: Iterable[Build]
) -> dict[str, Any]:
    kinds = made_for_apps.collection(service.records, states="state", package_guids="package")
    return listed(request, kinds, found, lambda b: app_present.build(base, b))


@router.get("/v3/builds")
async def builds(request: Request, service: Svc, user: User, base: Base) -> dict[str, Any]:
    """List builds."""
    found = made_for_apps.visible(user, service.records.builds)
    return _listed(request, service, base, found)


@router.get("/v3/apps/{guid}/builds")
async def of_app(
    guid: str, request: Request, service: Svc, user: User, base: Base
) -> dict[str, Any]:
    """An app's builds."""
    app = user.app(guid)
    found = (b for b in service.records.builds if b.app == app.guid)
    return _listed(request, service, base, found)


@router.post("/v3/builds", status_code=201)
async def create(body: NewBuild, service: Svc, user: User, base: Base) -> dict[str, Any]:
    """Begin to stage a package."""
    records = service.records
    package = records.packages.find(body.package.guid)
    if package is None:
        raise unprocessable(_NO_PACKAGE)
    app = made_for_apps.app_to_write(user, package.app, _NO_PACKAGE)
    if package.state != "READY":
        text = "Cannot stage package whose state is not ready."
        raise ApiError(422, 150001, "CF-InvalidPackage", text)
    busy = any(b.app == app.guid and b.state == "STAGING" for b in records.builds)
    taken(busy, "Only one build can be STAGING at a time per application.")
    buildpacks, stack = app.buildpacks, app.stack
    if body.lifecycle is not None:
        given, given_stack = lifecycle.read(body.lifecycle)
        buildpacks, stack = given or buildpacks, given_stack or stack
    sizes = {"memory_in_mb": body.staging_memory_in_mb, "disk_in_mb": body.staging_disk_in_mb}
    limits: dict[str, Any] = {name: size for name, size in sizes.items() if size is not None}
    check_scale(limits)
    build = Build(
        app=app.guid,
        package=package.guid,
        buildpacks=buildpacks,
        stack=stack,
        created_by={"guid": user.guid, "name": user.name, "email": user.name},
        **limits,
    )
    build = records.builds.put(applied(build, body.metadata))
    service.stager.begin(build)
    return app_present.build(base, build)


@router.get("/v3/builds/{guid}")
async def show(guid: str, user: User, base: Base) -> dict[str, Any]:
    """One build."""
    return app_present.build(base, _build(user, guid))


@router.patch("/v3/builds/{guid}")
async def change(
    guid: str, body: MetadataPatch, service: Svc, user: User, base: Base
) -> dict[str, Any]:
    """Change a build's metadata."""
    build = _build(user, guid)
    made_for_apps.write(user, build.app)
    after = applied(build, body.metadata)
    return app_present.build(base, service.records.builds.put(after))
