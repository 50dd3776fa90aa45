"""What belongs to one app: its environment, features, permissions, current droplet."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from fastapi import APIRouter, Request

from meshnet.capi import app_present, app_writes, flags, made_for_apps, present, validate
from meshnet.capi.app_records import App
from meshnet.capi.errors import not_found
from meshnet.capi.listing import one_page
from meshnet.capi.lrp import vcap_application
from meshnet.capi.service import Base, Body, Guid, Service, Svc, User

router = APIRouter()


def application(service: Service, app: App) -> dict[str, Any]:
    """VCAP_APPLICATION of an app, but for what each instance adds."""
    records = service.records
    uris = [records.fqdn(r) + r.path for r in records.routes_of(app.guid)]
    space = records.spaces.get(app.space)
    organization = records.organizations.get(space.organization)
    return vcap_application(app, space, organization, service.sync.cf_api, uris)


@router.get("/v3/apps/{guid}/env")
async def env(guid: str, service: Svc, user: User) -> dict[str, Any]:
    """All environment of an app."""
    app = user.app(guid)
    flags.see_environment(user, app.space)
    empty: dict[str, Any] = {}
    hidden = {"redacted_message": app_present.HIDDEN}
    return {
        "environment_variables": app.env,
        "staging_env_json": empty,
        "running_env_json": empty,
        "system_env_json": {"VCAP_SERVICES": {}} if user.sees_secrets(app.space) else hidden,
        "application_env_json": {"VCAP_APPLICATION": application(service, app)},
    }


def _variables(base: str, app: App) -> dict[str, Any]:
    path = f"/v3/apps/{app.guid}"
    links = present.links(base, self=f"{path}/environment_variables", app=path)
    return {"var": app.env, **links}


@router.get("/v3/apps/{guid}/environment_variables")
async def show_env(guid: str, user: User, base: Base) -> dict[str, Any]:
    """The environment variables a user has set."""
    app = user.app(guid)
    flags.see_environment(user, app.space)
    return _variables(base, app)


class Variables(Body):
    """PATCH environment_variables; null removes one."""

    var: dict[str, str | None]


@router.patch("/v3/apps/{guid}/environment_variables")
async def set_env(
    guid: str, body: Variables, service: Svc, user: User, base: Base
) -> dict[str, Any]:
    """Change environment variables; they reach instances at the next restart."""
    app = user.app(guid)
    user.write(app.space)
    validate.env(body.var)
    merged = {**app.env, **body.var}
    after = replace(app, env={k: v for k, v in merged.items() if v is not None})
    validate.env_size(after.env)
    return _variables(base, service.records.apps.put(after))


class CurrentDroplet(Body):
    """PATCH current_droplet."""

    data: Guid


def _current(base: str, app: App) -> dict[str, Any]:
    path = f"/v3/apps/{app.guid}"
    links = {"self": f"{path}/relationships/current_droplet", "related": f"{path}/droplets/current"}
    return {"data": {"guid": app.droplet}, **present.links(base, **links)}


@router.get("/v3/apps/{guid}/relationships/current_droplet")
async def show_droplet(guid: str, user: User, base: Base) -> dict[str, Any]:
    """Which droplet an app is assigned."""
    app = user.app(guid)
    if not app.droplet:
        raise not_found("Droplet")
    return _current(base, app)


@router.patch("/v3/apps/{guid}/relationships/current_droplet")
async def set_droplet(
    guid: str, body: CurrentDroplet, service: Svc, user: User, base: Base
) -> dict[str, Any]:
    """Assign a droplet; instances take it at the next restart."""
    app = user.app(guid)
    user.write(app.space)
    app_writes.check_idle(service.records, app, app_writes.UPDATE_BUSY)
    droplet = app_writes.droplet_of(service.records, app, body.data.guid)
    return _current(base, service.records.apps.put(replace(app, droplet=droplet.guid)))


@router.get("/v3/apps/{guid}/droplets/current")
async def current(guid: str, service: Svc, user: User, base: Base) -> dict[str, Any]:
    """The droplet an app is assigned."""
    app = user.app(guid)
    if not app.droplet:
        raise not_found("Droplet")
    droplet = service.records.droplets.get(app.droplet)
    return app_present.droplet(base, droplet, hidden=made_for_apps.hidden(user, guid))


@router.get("/v3/apps/{guid}/permissions")
async def permissions(guid: str, user: User) -> dict[str, bool]:
    """What the caller may see of an app."""
    app = user.app(guid)
    return {"read_basic_data": True, "read_sensitive_data": user.sees_secrets(app.space)}


@router.get("/v3/apps/{guid}/ssh_enabled")
async def ssh_enabled(guid: str, user: User) -> dict[str, Any]:
    """Nobody can ssh into an instance; the app's own switch is kept as a feature."""
    user.app(guid)
    return {"enabled": False, "reason": "Disabled globally"}


_FEATURES: dict[str, tuple[str, str]] = {
    "ssh": ("ssh_enabled", "Enable SSHing into the app."),
    "revisions": ("revisions_enabled", "Enable versioning of an application"),
}


def _feature(app: App, name: str) -> dict[str, Any]:
    field, text = _FEATURES[name]
    return {"name": name, "description": text, "enabled": getattr(app, field)}


@router.get("/v3/apps/{guid}/features")
async def features(guid: str, request: Request, user: User) -> dict[str, Any]:
    """An app's features."""
    app = user.app(guid)
    url = str(request.url.replace(query=""))
    return one_page((_feature(app, name) for name in _FEATURES), url)


@router.get("/v3/apps/{guid}/features/{name}")
async def feature(guid: str, name: str, user: User) -> dict[str, Any]:
    """One feature."""
    app = user.app(guid)
    if name not in _FEATURES:
        raise not_found("Feature")
    return _feature(app, name)


class FeaturePatch(Body):
    """PATCH features/NAME."""

    enabled: bool


@router.patch("/v3/apps/{guid}/features/{name}")
async def set_feature(
    guid: str, name: str, body: FeaturePatch, service: Svc, user: User
) -> dict[str, Any]:
    """Switch a feature."""
    app = user.app(guid)
    user.write(app.space)
    if name not in _FEATURES:
        raise not_found("Feature")
    change: dict[str, Any] = {_FEATURES[name][0]: body.enabled}
    after = replace(app, **change)
    return _feature(service.records.apps.put(after), name)


@router.get("/v3/apps/{guid}/revisions")
@router.get("/v3/apps/{guid}/revisions/deployed")
async def revisions(guid: str, request: Request, user: User) -> dict[str, Any]:
    """No revisions are kept."""
    user.app(guid)
    return one_page([], str(request.url.replace(query="")))
