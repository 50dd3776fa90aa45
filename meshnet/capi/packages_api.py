"""Packages: what users push, before it is staged."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import FileResponse, JSONResponse

from meshnet.capi import app_present, archives, expiry, flags, made_for_apps, uploads
from meshnet.capi.app_records import AWAITING, READY, Package
from meshnet.capi.errors import ApiError, unprocessable
from meshnet.capi.jobs_api import accepted
from meshnet.capi.lifecycle import NO_DOCKER
from meshnet.capi.listing import listed
from meshnet.capi.made_for_apps import AppRelationships
from meshnet.capi.metadata import Metadata, MetadataPatch, applied
from meshnet.capi.permissions import Permissions
from meshnet.capi.service import Base, Body, Service, Svc, User

router = APIRouter()
_NO_APP = "App is invalid. Ensure it exists and you have access to it."


class NewPackage(Body):
    """POST /v3/packages."""

    type: str
    relationships: AppRelationships
    data: dict[str, Any] | None = None
    metadata: Metadata | None = None


def _package(user: Permissions, guid: str) -> Package:
    package = user.records.packages.get(guid)
    made_for_apps.require_read(user, package.app, "Package")
    return package


def _listed(
    request: Request, service: Service, base: str, found: Iterable[Package]
) -> dict[str, Any]:
    kinds = made_for_apps.collection(service.records, states="state", types=lambda package: "bits")
    return listed(request, kinds, found, lambda p: app_present.package(base, p))


@router.get("/v3/packages")
async def packages(request: Request, service: Svc, user: User, base: Base) -> dict[str, Any]:
    """List packages."""
    found = made_for_apps.visible(user, service.records.packages)
    return _listed(request, service, base, found)


@router.get("/v3/apps/{guid}/packages")
async def of_app(
    guid: str, request: Request, service: Svc, user: User, base: Base
) -> dict[str, Any]:
    """An app's packages."""
    app = user.app(guid)
    found = (p for p in service.records.packages if p.app == app.guid)
    return _listed(request, service, base, found)


@router.post("/v3/packages", status_code=201)
async def create(body: NewPackage, service: Svc, user: User, base: Base) -> dict[str, Any]:
    """Create a package without bits."""
    if body.type == "docker":
        raise unprocessable(NO_DOCKER)
    if body.type != "bits":
        raise unprocessable("Type must be one of 'bits, docker'")
    if body.data:
        raise unprocessable("Data must be empty if provided for bits packages")
    app = made_for_apps.app_to_write(user, body.relationships.app.data.guid, _NO_APP)
    package = applied(Package(app=app.guid), body.metadata)
    return app_present.package(base, service.records.packages.put(package))


@router.get("/v3/packages/{guid}")
async def show(guid: str, user: User, base: Base) -> dict[str, Any]:
    """One package."""
    return app_present.package(base, _package(user, guid))


@router.patch("/v3/packages/{guid}")
async def change(
    guid: str, body: MetadataPatch, service: Svc, user: User, base: Base
) -> dict[str, Any]:
    """Change a package's metadata."""
    package = _package(user, guid)
    made_for_apps.write(user, package.app)
    after = applied(package, body.metadata)
    return app_present.package(base, service.records.packages.put(after))


@router.delete("/v3/packages/{guid}", status_code=202)
async def delete(guid: str, request: Request, service: Svc, user: User) -> JSONResponse:
    """Delete a package; droplets made of it stay."""
    package = _package(user, guid)
    made_for_apps.write(user, package.app)
    with service.records.changes() as tx:
        service.records.packages.delete(guid, tx)
        job = service.records.jobs.done("package.delete", tx)
    service.bits.remove(guid)
    return accepted(request, job)


_UPLOAD = uploads.described(resources="JSON: files that need no upload; none are known here")


@router.post("/v3/packages/{guid}/upload", openapi_extra=_UPLOAD)
async def upload(
    guid: str, request: Request, service: Svc, user: User, base: Base
) -> dict[str, Any]:
    """Take a package's bits: a zip, a tar or a gzipped tar; it is READY when this answers."""
    package = _package(user, guid)
    made_for_apps.write(user, package.app)
    flags.require(user, "app_bits_upload")
    _check_once(package)
    async with uploads.sent(request) as sent:
        _check_resources(sent.fields.get("resources"))
        if sent.bits is None:
            raise unprocessable("Upload must include either resources or bits")
        refusal = "The app upload is invalid"
        async with service.bits.uploaded(sent.bits, archives.check_package, refusal) as written:
            # Again: another upload, or the app's end, may have been quicker.
            package = service.records.packages.get(guid)
            _check_once(package)
            written.keep(service.bits.path(guid))
            after = replace(package, state=READY, sha256=written.sha256)
            after = service.records.packages.put(after)
    expiry.expire(service.records, service.bits, package.app)
    return app_present.package(base, after)


def _check_once(package: Package) -> None:
    if package.state != AWAITING:
        text = "Bits may be uploaded only once. Create a new package to upload different bits."
        raise ApiError(400, 150004, "CF-PackageBitsAlreadyUploaded", text)


def _check_resources(text: str | None) -> None:
    """Nothing is ever matched, so a client has nothing to name here."""
    try:
        resources = json.loads(text or "[]")
    except (ValueError, RecursionError) as exc:
        raise unprocessable("Resources is not valid JSON") from exc
    if not isinstance(resources, list):
        raise unprocessable("Resources must be an array")
    if resources:
        raise unprocessable("Resources are not kept here: upload all files as bits")


@router.get("/v3/packages/{guid}/download", response_class=FileResponse)
async def download(guid: str, service: Svc, user: User) -> FileResponse:
    """A package's bits."""
    package = _package(user, guid)
    made_for_apps.see_secrets(user, package.app)
    if package.state != READY:
        raise unprocessable("Package has no bits to download")
    return made_for_apps.file(service, guid, "Package")


class Resources(Body):
    """POST /v3/resource_matches."""

    resources: list[dict[str, Any]]


@router.post("/v3/resource_matches", status_code=201)
async def match(body: Resources, user: User) -> dict[str, Any]:
    """Files that need no upload: none, so that a client uploads them all."""
    return {"resources": []}
