"""Manifests: applied to a space, compared with it, and made of an app."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response
from starlette.concurrency import run_in_threadpool

from meshnet.capi import app_writes, manifest, manifest_apply, manifest_show, manifest_yaml
from meshnet.capi.app_records import App
from meshnet.capi.errors import ApiError
from meshnet.capi.jobs_api import accepted
from meshnet.capi.manifest import AppManifest
from meshnet.capi.records import Records
from meshnet.capi.service import Svc, User

router = APIRouter()
_MOST_WARNINGS = 100
_YAML = {
    "requestBody": {
        "required": True,
        "content": {"application/x-yaml": {"schema": {"type": "string"}}},
    }
}


async def _applications(request: Request) -> list[dict[str, Any]]:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if not kind.endswith("yaml"):
        raise ApiError(400, 1001, "CF-MessageParseError", "Content-Type must be yaml")
    # PyYAML takes a second for a megabyte.
    return await run_in_threadpool(manifest_yaml.applications, await request.body())


@router.post("/v3/spaces/{guid}/actions/apply_manifest", status_code=202, openapi_extra=_YAML)
async def apply(guid: str, request: Request, service: Svc, user: User) -> JSONResponse:
    """Create and change apps with their routes; how it went is the job's to say."""
    space = user.space(guid)
    user.write(guid)
    wanted = manifest.read(await _applications(request))
    failed, plans = None, list[manifest_apply.Plan]()
    for one in wanted:
        try:
            plans.append(manifest_apply.write(service.records, user, space, one))
        except ApiError as exc:
            failed = exc
            break
    await manifest_apply.push(service.sync, plans)
    applied = {one.name for one in wanted} if failed is None else set()
    for app in [a for a in service.records.apps if a.space == guid and a.name in applied]:
        service.records.say("audit.app.apply_manifest", app)
    for one in wanted:
        one.warnings += _unserved(service.records, guid, one)
    warnings = [f"For application '{m.name}': {text}" for m in wanted for text in m.warnings]
    jobs = service.records.jobs
    job = jobs.done("space.apply_manifest", error=failed, warnings=warnings[:_MOST_WARNINGS])
    return accepted(request, job)


def _unserved(records: Records, space: str, wanted: AppManifest) -> list[str]:
    """Warnings of domains that nothing serves, of the routes that a manifest names itself."""
    apps = (a for a in records.apps if a.space == space and a.name == wanted.name)
    routes = (r for app in apps for r in records.routes_of(app.guid) if wanted.routes)
    domains = dict.fromkeys(route.domain for route in routes)
    return [w for guid in domains if (w := records.domains.unserved(records.domains.get(guid)))]


@router.post("/v3/spaces/{guid}/manifest_diff", status_code=201, openapi_extra=_YAML)
async def diff(guid: str, request: Request, service: Svc, user: User) -> dict[str, Any]:
    """What applying a manifest would change."""
    user.space(guid)
    user.write(guid)
    found, records = [], service.records
    applications = await _applications(request)
    manifest.read(applications)
    for index, wanted in enumerate(applications):
        name = wanted.get("name")
        app = next((a for a in records.apps if a.space == guid and a.name == name), None)
        there = _shown(records, app) if app else None
        found += manifest_show.difference(f"/applications/{index}", wanted, there)
    return {"diff": found}


@router.get("/v3/apps/{guid}/manifest", response_class=Response)
async def show(guid: str, service: Svc, user: User) -> Response:
    """An app as a manifest."""
    app = user.app(guid)
    user.see_secrets(app.space)
    text = manifest_show.as_yaml([_shown(service.records, app)])
    return Response(text, media_type="application/x-yaml")


def _shown(records: Records, app: App) -> dict[str, Any]:
    urls = [records.fqdn(route) + route.path for route in records.routes_of(app.guid)]
    return manifest_show.shown(app, urls, app_writes.command(records, app))
