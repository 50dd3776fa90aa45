"""Droplets: created, uploaded and copied by users, downloaded by them and by cells."""

from __future__ import annotations

import hmac
import os
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from fastapi.responses import FileResponse, JSONResponse
from fastapi.security import HTTPBasic, HTTPBasicCredentials

from meshnet.capi import app_present, expiry, made_for_apps, staging, uploads, validate
from meshnet.capi.app_records import AWAITING, Droplet
from meshnet.capi.errors import not_found, unauthenticated, unprocessable
from meshnet.capi.jobs_api import accepted
from meshnet.capi.listing import listed
from meshnet.capi.made_for_apps import AppRelationships
from meshnet.capi.metadata import Metadata, MetadataPatch, applied
from meshnet.capi.permissions import Permissions
from meshnet.capi.service import Base, Body, Service, Svc, User, taken

router = APIRouter()


class NewDroplet(Body):
    """POST /v3/droplets."""

    relationships: AppRelationships
    process_types: dict[str, str] | None = None
    metadata: Metadata | None = None


def _droplet(user: Permissions, guid: str) -> Droplet:
    droplet = user.records.droplets.get(guid)
    made_for_apps.require_read(user, droplet.app, "Droplet")
    return droplet


def _listed(
    request: Request, service: Service, base: str, found: Iterable[Droplet]
) -> dict[str, Any]:
    kinds = made_for_apps.collection(service.records, states="state", package_guids="package")

    def shown(droplet: Droplet) -> dict[str, Any]:
        return app_present.droplet(base, droplet, hidden=app_present.HIDDEN_IN_LISTS)

    return listed(request, kinds, found, shown)


@router.get("/v3/droplets")
async def droplets(request: Request, service: Svc, user: User, base: Base) -> dict[str, Any]:
    """List droplets."""
    return _listed(request, service, base, made_for_apps.visible(user, service.records.droplets))


@router.get("/v3/apps/{guid}/droplets")
async def of_app(
    guid: str, request: Request, service: Svc, user: User, base: Base
) -> dict[str, Any]:
    """An app's droplets."""
    app = user.app(guid)
    return _listed(
        request, service, base, (d for d in service.records.droplets if d.app == app.guid)
    )


@router.get("/v3/packages/{guid}/droplets")
async def of_package(
    guid: str, request: Request, service: Svc, user: User, base: Base
) -> dict[str, Any]:
    """The droplets a package was staged to."""
    package = service.records.packages.get(guid)
    made_for_apps.require_read(user, package.app, "Package")
    return _listed(
        request, service, base, (d for d in service.records.droplets if d.package == guid)
    )


@router.post("/v3/droplets", status_code=201)
async def create(
    body: NewDroplet, service: Svc, user: User, base: Base, source_guid: str | None = None
) -> dict[str, Any]:
    """Create a droplet without bits, or a copy of another one for this app."""
    guid = body.relationships.app.data.guid
    text = f'App with guid "{guid}" does not exist, or you do not have access to it.'
    app = made_for_apps.app_to_write(user, guid, text)
    types = body.process_types or {}
    for command in types.values():
        validate.command(command)
    new = applied(Droplet(app=app.guid, process_types=types), body.metadata)
    if source_guid is not None:
        source = _droplet(user, source_guid)
        # Whoever may not have its bits gets them by no copy either.
        made_for_apps.see_secrets(user, source.app)
        if not source.sha256:
            raise unprocessable("source droplet is not staged")
        new = replace(
            source, guid=new.guid, created_at=new.created_at, app=app.guid, metadata=new.metadata
        )

        def link(path: Path) -> None:
            path.unlink()
            os.link(service.bits.path(source.guid), path)

        async with service.bits.written(link) as written:
            if service.records.apps.find(app.guid) is None:
                raise unprocessable(text)  # it was deleted meanwhile
            written.keep(service.bits.path(new.guid))
    return app_present.droplet(base, service.records.droplets.put(new))


@router.get("/v3/droplets/{guid}")
async def show(guid: str, user: User, base: Base) -> dict[str, Any]:
    """One droplet."""
    droplet = _droplet(user, guid)
    hidden = made_for_apps.hidden(user, droplet.app)
    return app_present.droplet(base, droplet, hidden=hidden)


@router.patch("/v3/droplets/{guid}")
async def change(
    guid: str, body: MetadataPatch, service: Svc, user: User, base: Base
) -> dict[str, Any]:
    """Change a droplet's metadata."""
    droplet = _droplet(user, guid)
    made_for_apps.write(user, droplet.app)
    after = applied(droplet, body.metadata)
    return app_present.droplet(base, service.records.droplets.put(after))


@router.delete("/v3/droplets/{guid}", status_code=202)
async def delete(guid: str, request: Request, service: Svc, user: User) -> JSONResponse:
    """Delete a droplet that no app runs."""
    droplet = _droplet(user, guid)
    made_for_apps.write(user, droplet.app)
    taken(guid in expiry.in_use(service.records), "The droplet is the current one of its app.")
    with service.records.changes() as tx:
        service.records.droplets.delete(guid, tx)
        job = service.records.jobs.done("droplet.delete", tx)
    service.bits.remove(guid)
    return accepted(request, job)


@router.post("/v3/droplets/{guid}/upload", status_code=202, openapi_extra=uploads.described())
async def upload(guid: str, request: Request, service: Svc, user: User) -> JSONResponse:
    """Take a droplet's bits: a gzipped tar that holds the app."""
    droplet = _droplet(user, guid)
    made_for_apps.write(user, droplet.app)
    _check_once(droplet)
    refusal = "Uploaded droplet file is invalid"
    async with (
        uploads.sent(request) as sent,
        service.bits.uploaded(sent.needed(), staging.look_into, refusal) as written,
    ):
        # Again: another upload, or the app's end, may have been quicker.
        droplet = service.records.droplets.get(guid)
        _check_once(droplet)
        written.keep(service.bits.path(guid))
        after = replace(
            droplet,
            sha256=written.sha256,
            process_types=written.found.process_types | droplet.process_types,
            detected_buildpack=written.found.detected_buildpack,
        )
        with service.records.changes() as tx:
            service.records.droplets.put(after, tx)
            job = service.records.jobs.done("droplet.upload", tx)
    expiry.expire(service.records, service.bits, droplet.app)
    return accepted(request, job)


def _check_once(droplet: Droplet) -> None:
    taken(
        droplet.state != AWAITING,
        "Droplet may be uploaded only once. Create a new droplet to upload bits.",
    )


@router.get("/v3/droplets/{guid}/download", response_class=FileResponse)
async def download(guid: str, service: Svc, user: User) -> FileResponse:
    """A droplet's bits, for users."""
    droplet = _droplet(user, guid)
    made_for_apps.see_secrets(user, droplet.app)
    if not droplet.sha256:
        raise unprocessable("Only staged droplets can be downloaded.")
    return made_for_apps.file(service, guid, "Droplet")


Login = Annotated[HTTPBasicCredentials, Depends(HTTPBasic(auto_error=False))]


@router.get("/internal/v4/droplets/{guid}/{sha256}/download", response_class=FileResponse)
async def download_for_cell(guid: str, sha256: str, service: Svc, login: Login) -> FileResponse:
    """A droplet's bits, for cells."""
    if login is None or not _is_cell(service, login):
        raise unauthenticated()
    if service.records.droplets.get(guid).sha256 != sha256:
        raise not_found("Droplet")
    return made_for_apps.file(service, guid, "Droplet")


def _is_cell(service: Service, login: HTTPBasicCredentials) -> bool:
    user, password = service.internal_login
    good = hmac.compare_digest(login.username.encode(), user.encode())
    return hmac.compare_digest(login.password.encode(), password.encode()) and good
