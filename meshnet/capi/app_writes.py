"""What is done to apps, for every call that does it: the records first, then BBS and Copilot."""

from __future__ import annotations

from dataclasses import replace

from meshnet.capi import quotas, rolling, validate
from meshnet.capi.app_records import STARTED, STOPPED, SUPERSEDED, WEB, App, Deployment, Droplet
from meshnet.capi.errors import unprocessable
from meshnet.capi.records import Records
from meshnet.capi.service import Service, taken

NO_DROPLET = "Assign a droplet before starting this app."
NO_COMMAND = (
    "No start command specified by buildpack or via Procfile."
    " App will not start unless a command is provided at runtime."
)
BAD_DROPLET = "Unable to assign current droplet. Ensure the droplet exists and belongs to this app."


def check_name(records: Records, space: str, name: str, guid: str = "") -> None:
    """422 where a name cannot be an app's, or another app of the space has it."""
    validate.name(name)
    same = (a for a in records.apps if a.space == space and a.guid != guid)
    exists = any(a.name.lower() == name.lower() for a in same)
    taken(exists, f"App with the name '{name}' already exists.")


def command(records: Records, app: App, droplet_guid: str | None = None) -> str | None:
    """What an app is started with: its own command, else its droplet's, or another droplet's."""
    droplet = records.droplets.find(droplet_guid or app.droplet or "")
    return app.command or (droplet.process_types.get(WEB) if droplet else None)


def droplet_of(records: Records, app: App, guid: str) -> Droplet:
    """A droplet that an app may be assigned. Raises ApiError 422."""
    droplet = records.droplets.find(guid)
    if droplet is None or droplet.app != app.guid or not droplet.sha256:
        raise unprocessable(BAD_DROPLET)
    return droplet


def check_startable(records: Records, app: App) -> None:
    """422 where an app has nothing to be started with."""
    if not app.droplet:
        raise unprocessable(NO_DROPLET)
    if not command(records, app):
        raise unprocessable(NO_COMMAND)


def check_idle(records: Records, app: App, detail: str) -> None:
    """422 with CC's text where an app has a deployment under way."""
    taken(records.deployments.active(app.guid) is not None, detail)


async def save(service: Service, before: App, after: App) -> App:
    """Write an app and tell BBS and Copilot."""
    after = service.records.apps.put(after)
    await service.sync.app_changed(after, before.process_guid)
    return after


async def act(service: Service, app: App, action: str) -> App:
    """Start, stop or restart. Raises ApiError 422."""
    if action != "start" or app.state != STARTED:
        check_idle(service.records, app, _BUSY[action])
    if action != "stop":
        check_startable(service.records, app)
    after = replace(app, state=STOPPED if action == "stop" else STARTED)
    # A start that starts nothing new keeps the instances; all else gives them a new version.
    if action == "restart" or after.state != app.state:
        after = after.renewed()
    quotas.check_app(service.records, app, after)
    if after is not app and after != app:
        service.records.say(f"audit.app.{action}", app)
    return await save(service, app, after)


_STOP = (
    "Cannot stop the app while it is deploying, please cancel the deployment before"
    " stopping the app."
)
_BUSY = {"start": _STOP, "stop": _STOP, "restart": _STOP}
UPDATE_BUSY = "Cannot update this process while a deployment is in flight."
SCALE_BUSY = "Cannot scale this process while a deployment is in flight."


async def roll(service: Service, app: App, new: Deployment) -> Deployment:
    """Begin a rolling deployment of a started app. Raises ApiError 422 where a quota forbids."""
    records = service.records
    # There is one instance more while it lasts.
    quotas.check_app(records, app, replace(app, instances=app.instances + 1))
    before = records.deployments.active(app.guid)
    coming, deployment = rolling.begin(app, new, before)
    with records.changes() as tx:
        if before:
            records.deployments.put(replace(before, reason=SUPERSEDED, leaving=()), tx)
        records.apps.put(coming, tx)
        records.deployments.put(deployment, tx)
    await service.sync.app_rolled(coming)
    service.deployer.wake()
    return deployment


async def roll_back(service: Service, app: App, deployment: Deployment) -> None:
    """Cancel a deployment: the version before comes back step by step."""
    before, turned = rolling.cancel(app, deployment)
    with service.records.changes() as tx:
        service.records.apps.put(before, tx)
        service.records.deployments.put(turned, tx)
    await service.sync.app_rolled(before)
    service.deployer.wake()
