"""Deployments: an app's instances replaced one by one, without a request that fails."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from fastapi import APIRouter, Request, Response

from meshnet.capi import app_present, app_writes, made_for_apps
from meshnet.capi.app_records import DEPLOYED, DEPLOYING, STARTED, App, Deployment
from meshnet.capi.errors import unprocessable
from meshnet.capi.listing import listed
from meshnet.capi.made_for_apps import AppRelationships
from meshnet.capi.metadata import Metadata, MetadataPatch, applied
from meshnet.capi.permissions import Permissions
from meshnet.capi.service import Base, Body, Guid, Service, Svc, User

router = APIRouter()
_NO_APP = "Unable to use app. Ensure that the app exists and you have access to it."
_NO_DROPLET = (
    "Invalid droplet. Please specify a droplet in the request or set a current droplet for the app."
)


class NewDeployment(Body):
    """POST /v3/deployments."""

    relationships: AppRelationships
    droplet: Guid | None = None
    revision: Guid | None = None
    strategy: str | None = None
    options: dict[str, Any] | None = None
    metadata: Metadata | None = None


def _deployment(user: Permissions, guid: str) -> Deployment:
    deployment = user.records.deployments.get(guid)
    made_for_apps.require_read(user, deployment.app, "Deployment")
    return deployment


@router.get("/v3/deployments")
async def deployments(request: Request, service: Svc, user: User, base: Base) -> dict[str, Any]:
    """List deployments."""
    kinds = made_for_apps.collection(
        service.records,
        states="reason",
        status_reasons="reason",
        status_values=lambda d: "ACTIVE" if d.active else "FINALIZED",
    )
    found = made_for_apps.visible(user, service.records.deployments)
    return listed(request, kinds, found, lambda d: app_present.deployment(base, d))


@router.post("/v3/deployments", status_code=201)
async def create(body: NewDeployment, service: Svc, user: User, base: Base) -> dict[str, Any]:
    """Begin a rolling deployment; one that is under way is superseded."""
    app = made_for_apps.app_to_write(user, body.relationships.app.data.guid, _NO_APP)
    _check_plan(body)
    if body.droplet:
        droplet = app_writes.droplet_of(service.records, app, body.droplet.guid).guid
    elif app.droplet:
        droplet = app.droplet
    else:
        raise unprocessable(_NO_DROPLET)
    app_writes.check_startable(service.records, replace(app, droplet=droplet))
    new = applied(Deployment(app=app.guid, droplet=droplet), body.metadata)
    if app.state != STARTED:
        return app_present.deployment(base, await _start(service, app, new))
    deployment = await app_writes.roll(service, app, new)
    return app_present.deployment(base, deployment)


def _check_plan(body: NewDeployment) -> None:
    if body.revision:
        raise unprocessable("The revision does not exist")
    if body.strategy not in (None, "rolling"):
        raise unprocessable("Strategy 'rolling' is the only one: canary deployments are not here")
    options = body.options or {}
    most = options.get("max_in_flight", 1)
    if set(options) - {"max_in_flight"} or not isinstance(most, int) or most < 1:
        raise unprocessable("Options max in flight must be an integer greater than 0")


async def _start(service: Service, app: App, new: Deployment) -> Deployment:
    """A stopped app has nothing to replace: it is started."""
    await app_writes.act(service, replace(app, droplet=new.droplet), "start")
    service.records.apps.get(app.guid)  # it may have been deleted meanwhile
    done = replace(new, reason=DEPLOYED, previous_droplet=app.droplet or "")
    return service.records.deployments.put(done)


@router.get("/v3/deployments/{guid}")
async def show(guid: str, user: User, base: Base) -> dict[str, Any]:
    """One deployment."""
    return app_present.deployment(base, _deployment(user, guid))


@router.patch("/v3/deployments/{guid}")
async def change(
    guid: str, body: MetadataPatch, service: Svc, user: User, base: Base
) -> dict[str, Any]:
    """Change a deployment's metadata."""
    deployment = _deployment(user, guid)
    made_for_apps.write(user, deployment.app)
    after = applied(deployment, body.metadata)
    return app_present.deployment(base, service.records.deployments.put(after))


@router.post("/v3/deployments/{guid}/actions/cancel")
async def cancel(guid: str, service: Svc, user: User) -> Response:
    """Go back to what ran before, one by one."""
    deployment = _deployment(user, guid)
    made_for_apps.write(user, deployment.app)
    if not deployment.active:
        raise unprocessable(f"Cannot cancel a {deployment.reason} deployment")
    if deployment.reason == DEPLOYING:
        app = service.records.apps.get(deployment.app)
        await app_writes.roll_back(service, app, deployment)
    return Response(status_code=200)
