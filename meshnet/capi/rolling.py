"""A rolling deployment, step by step: one instance more of what comes, one less of what goes. Pure.

As cloud_controller_ng's deployment updater does it with one instance in flight: there is never
less than the app wants running, and never more than one instance above it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from meshnet.capi.app_records import (
    CANCELED,
    CANCELING,
    DEPLOYED,
    DEPLOYING,
    App,
    Deployment,
    Leaving,
)


def begin(app: App, new: Deployment, before: Deployment | None) -> tuple[App, Deployment]:
    """The app and its deployment when a new version begins to come.

    Args:
        new: names the droplet that comes.
        before: the deployment this one supersedes; what it was replacing goes on leaving.
    """
    leaving = before.leaving if before else ()
    here = before.instances if before else app.instances
    old = Leaving(app.version, app.droplet or "", here)
    coming = replace(app, droplet=new.droplet).renewed()
    deployment = replace(
        new,
        instances=min(1, app.instances),
        leaving=_some((*leaving, old)),
        previous_version=app.version,
        previous_droplet=app.droplet or "",
    )
    return coming, deployment


def cancel(app: App, deployment: Deployment) -> tuple[App, Deployment]:
    """The app and its deployment when they turn round: what was coming goes."""
    coming = Leaving(app.version, app.droplet or "", deployment.instances)
    back = next((v for v in deployment.leaving if v.version == deployment.previous_version), None)
    others = tuple(v for v in deployment.leaving if v is not back)
    turned = replace(
        deployment,
        reason=CANCELING,
        instances=back.instances if back else min(1, app.instances),
        leaving=_some((*others, coming)),
    )
    version, droplet = deployment.previous_version, deployment.previous_droplet
    return replace(app, version=version, droplet=droplet), turned


def step(deployment: Deployment, wanted: int, running: int) -> Deployment | None:
    """The deployment one step on; None while there is something to wait for.

    Args:
        wanted: the app's instances.
        running: how many of the version that comes run.
    """
    if running < deployment.instances:
        return None
    if deployment.instances >= wanted:
        ended = {DEPLOYING: DEPLOYED, CANCELING: CANCELED}[deployment.reason]
        return replace(deployment, reason=ended, instances=wanted, leaving=())
    leaving = _reduced(deployment.leaving, wanted - deployment.instances)
    return replace(deployment, instances=deployment.instances + 1, leaving=leaving)


def versions(app: App, deployment: Deployment | None) -> list[App]:
    """What of an app runs, each with its own instances; what comes is first."""
    if deployment is None or not deployment.active:
        return [app]
    coming = replace(app, instances=deployment.instances)
    return [coming, *(_version(app, v) for v in deployment.leaving)]


def _version(app: App, leaving: Leaving) -> App:
    return replace(
        app, version=leaving.version, droplet=leaving.droplet, instances=leaving.instances
    )


def _some(leaving: Iterable[Leaving]) -> tuple[Leaving, ...]:
    return tuple(v for v in leaving if v.instances)


def _reduced(leaving: tuple[Leaving, ...], most: int) -> tuple[Leaving, ...]:
    """What is left of them, newest last to go, where `most` instances may stay."""
    kept = []
    for version in reversed(leaving):
        here = min(version.instances, most)
        most -= here
        kept.append(replace(version, instances=here))
    return _some(reversed(kept))
