"""Droplets: created, uploaded by users, downloaded by cells."""

from __future__ import annotations

import gzip
import hashlib
import hmac
import os
import tarfile
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, BinaryIO

from fastapi import APIRouter, Depends, Request, UploadFile
from fastapi.responses import FileResponse, JSONResponse
from fastapi.security import HTTPBasic, HTTPBasicCredentials
from starlette.concurrency import run_in_threadpool

from meshnet.capi import present
from meshnet.capi.app_records import Droplet
from meshnet.capi.errors import ApiError, not_found, unauthenticated, unprocessable
from meshnet.capi.jobs_api import accepted
from meshnet.capi.service import Body, Svc, ToOne, User, taken
from meshnet.capi.tables import new_guid

router = APIRouter()
MAX_BYTES, MAX_UNPACKED_BYTES = 1024**3, 4 * 1024**3
MAX_FILES = 200_000
_BLOCK = 1024 * 1024


class DropletRelationships(Body):
    """The app of a new droplet."""

    app: ToOne


class NewDroplet(Body):
    """POST /v3/droplets."""

    relationships: DropletRelationships
    process_types: dict[str, str] | None = None


@router.post("/v3/droplets", status_code=201)
async def create(body: NewDroplet, service: Svc, user: User) -> dict[str, Any]:
    """Create a droplet without bits."""
    app = service.records.apps.find(body.relationships.app.data.guid)
    if app is None:
        raise unprocessable("App with guid does not exist, or you do not have access to it.")
    return present.droplet(service.records.droplets.put(Droplet(app=app.guid)))


@router.get("/v3/droplets/{guid}")
async def show(guid: str, service: Svc, user: User) -> dict[str, Any]:
    """One droplet."""
    return present.droplet(service.records.droplets.get(guid))


@router.get("/v3/apps/{guid}/droplets/current")
async def current(guid: str, service: Svc, user: User) -> dict[str, Any]:
    """The droplet an app is assigned."""
    app = service.records.apps.get(guid)
    if not app.droplet:
        raise not_found("Droplet")
    return present.droplet(service.records.droplets.get(app.droplet))


@router.post("/v3/droplets/{guid}/upload", status_code=202)
async def upload(
    guid: str, request: Request, bits: UploadFile, service: Svc, user: User
) -> JSONResponse:
    """Take a droplet's bits: a gzipped tar that holds the app."""
    droplet = service.records.droplets.get(guid)
    new = service.droplet_dir / f"{guid}.{new_guid()}.new"
    try:
        _check_once(droplet)
        sha256 = await run_in_threadpool(_keep, bits.file, new)
        # Again: another upload, or the app's end, may have been quicker.
        droplet = service.records.droplets.get(guid)
        _check_once(droplet)
        new.rename(service.droplet_dir / guid)
    finally:
        new.unlink(missing_ok=True)
    service.records.droplets.put(replace(droplet, sha256=sha256))
    return accepted(request, service.records.jobs.done("droplet.upload"))


def _check_once(droplet: Droplet) -> None:
    taken(
        bool(droplet.sha256),
        "Bits may be uploaded only once. Create a new droplet to upload bits.",
    )


def _keep(source: BinaryIO, new: Path) -> str:
    """Store the bits durably and check them; their SHA-256."""
    digest, size = hashlib.sha256(), 0
    try:
        with new.open("wb") as target:
            while block := source.read(_BLOCK):
                size += len(block)
                if size > MAX_BYTES:
                    raise unprocessable(f"The droplet is larger than {MAX_BYTES} bytes")
                digest.update(block)
                target.write(block)
            target.flush()
            os.fsync(target.fileno())
    except OSError as exc:
        raise ApiError(500, 10001, "UnknownError", f"Cannot keep the bits: {exc}") from exc
    _check(new)
    return digest.hexdigest()


def _check(path: Path) -> None:
    try:
        # As a stream and to its end: a tarfile that may seek never sees gzip's checksum.
        with gzip.open(path) as unpacked:
            with tarfile.open(fileobj=unpacked, mode="r|") as archive:
                found = _holds_app(archive)
            while unpacked.read(_BLOCK):
                if unpacked.tell() > MAX_UNPACKED_BYTES:
                    raise _too_much()
    except (tarfile.TarError, OSError, EOFError, ValueError, zlib.error) as exc:
        raise unprocessable(f"The droplet is no gzipped tar: {exc}") from exc
    if not found:
        raise unprocessable("The droplet holds no file in app/")


def _too_much() -> ApiError:
    text = f"The droplet holds more than {MAX_FILES} files or {MAX_UNPACKED_BYTES} bytes"
    return unprocessable(text)


def _holds_app(archive: tarfile.TarFile) -> bool:
    """Whether there is something in app/; gives up early on what would not fit a cell."""
    size, found = 0, False
    for count, member in enumerate(archive):
        size += member.size
        if size > MAX_UNPACKED_BYTES or count >= MAX_FILES:
            raise _too_much()
        found = found or member.name.removeprefix("./").startswith("app/")
    return found


Login = Annotated[HTTPBasicCredentials, Depends(HTTPBasic())]


@router.get("/internal/v4/droplets/{guid}/{sha256}/download")
async def download(guid: str, sha256: str, service: Svc, login: Login) -> FileResponse:
    """A droplet's bits, for cells."""
    user, password = service.internal_login
    good = hmac.compare_digest(login.username.encode(), user.encode())
    if not (hmac.compare_digest(login.password.encode(), password.encode()) and good):
        raise unauthenticated()
    droplet = service.records.droplets.get(guid)
    if droplet.sha256 != sha256:
        raise ApiError(404, 10010, "CF-ResourceNotFound", "Droplet not found")
    return FileResponse(service.droplet_dir / guid, media_type="application/gzip")
