"""What the platform has: feature flags, stacks, the buildpack; and lists of what it has none of."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from fastapi import APIRouter, Request
from pydantic import Field

from meshnet.capi import flags, present
from meshnet.capi.errors import not_found
from meshnet.capi.listing import Collection, listed, one_page
from meshnet.capi.records import Records
from meshnet.capi.service import Base, Body, Svc, User, base_url
from meshnet.capi.tables import Record, shown_time

router = APIRouter()
Json = dict[str, Any]
_SINCE = "2024-01-01T00:00:00Z"


class FlagPatch(Body):
    """PATCH /v3/feature_flags/F."""

    enabled: bool | None = None
    custom_error_message: str | None = Field(default=None, max_length=250)


def _flag(records: Records, base: str, name: str) -> Json:
    found, was_set = flags.flag(records, name), records.feature_flags.find(name) is not None
    return {
        "name": name,
        "enabled": found.enabled,
        "updated_at": shown_time(found.updated_at or found.created_at) if was_set else None,
        "custom_error_message": found.error_message,
        **present.links(base, self=f"/v3/feature_flags/{name}"),
    }


def _check_flag(name: str) -> None:
    if name not in flags.DEFAULTS:
        raise not_found("Feature flag")


@router.get("/v3/feature_flags")
async def feature_flags(request: Request, service: Svc, user: User, base: Base) -> Json:
    """List feature flags."""
    rows = [_flag(service.records, base, name) for name in flags.DEFAULTS]
    return one_page(rows, f"{base}{request.url.path}")


@router.get("/v3/feature_flags/{name}")
async def feature_flag(name: str, service: Svc, user: User, base: Base) -> Json:
    """One feature flag."""
    _check_flag(name)
    return _flag(service.records, base, name)


@router.patch("/v3/feature_flags/{name}")
async def set_feature_flag(
    name: str, body: FlagPatch, service: Svc, user: User, base: Base
) -> Json:
    """Switch a feature on or off."""
    _check_flag(name)
    user.require_admin()
    after = flags.flag(service.records, name)
    if body.enabled is not None:
        after = replace(after, enabled=body.enabled)
    if "custom_error_message" in body.model_fields_set:
        after = replace(after, error_message=body.custom_error_message)
    service.records.feature_flags.put(after)
    return _flag(service.records, base, name)


@dataclass(frozen=True)
class Fixed(Record):
    """Something that is always there; `extra` is shown as it is."""

    name: str = ""
    position: str = ""
    extra: tuple[tuple[str, Any], ...] = ()


def _fixed(kind: str, name: str, guid: str = "", **extra: Any) -> Fixed:
    guid = guid or str(uuid.uuid5(uuid.NAMESPACE_DNS, f"{name}.{kind}"))
    return Fixed(guid, _SINCE, _SINCE, name=name, extra=tuple(extra.items()))


# Apps run on the node's own root file system, whichever of CF's stacks they name.
_STACKS = [
    _fixed(
        "stacks",
        name,
        description=f"The node's own Linux, for apps made for {name}",
        default=default,
        build_rootfs_image=name,
        run_rootfs_image=name,
    )
    for name, default in (("cflinuxfs4", True), ("cflinuxfs3", False))
]
_BUILDPACKS = [
    _fixed(
        "buildpacks",
        "binary_buildpack",
        state="READY",
        filename=None,
        stack=None,
        position=1,
        enabled=True,
        locked=True,
        lifecycle="buildpack",
    )
]
# CC's own guid: the segment that everything runs in where nothing else is said.
_SEGMENTS = [_fixed("isolation_segments", "shared", "933b4c58-120b-499a-b85d-4b6fc9e2903b")]


def _show(kind: str, base: str, record: Fixed) -> Json:
    return {
        **present.base(record),
        "name": record.name,
        **dict(record.extra),
        "metadata": record.metadata,
        **present.links(base, self=f"/v3/{kind}/{record.guid}"),
    }


def _extra(name: str, record: Fixed) -> str:
    """What a filter compares."""
    return str(dict(record.extra).get(name) or "").lower()


def _serve(kind: str, what: str, rows: list[Fixed], *filters: str) -> None:
    """List and show what never changes."""
    collection = Collection[Fixed](
        filters={"names": "name", **{name: partial(_extra, name) for name in filters}},
        orders=("name", "position"),
    )

    async def every(request: Request, user: User) -> Json:
        base = base_url(request)
        return listed(request, collection, rows, lambda row: _show(kind, base, row))

    async def one(guid: str, request: Request, user: User) -> Json:
        for row in rows:
            if row.guid == guid:
                return _show(kind, base_url(request), row)
        raise not_found(what)

    _route(f"/v3/{kind}", every, f"List {kind.replace('_', ' ')}.")
    _route(f"/v3/{kind}/{{guid}}", one, f"One {what.lower()}.")


def _route(path: str, handler: Callable[..., Any], summary: str) -> None:
    name = path.removeprefix("/v3/").replace("/{guid}", "_one")
    router.add_api_route(path, handler, methods=["GET"], name=name, description=summary)


_serve("stacks", "Stack", _STACKS, "default")
_serve("buildpacks", "Buildpack", _BUILDPACKS, "stacks", "lifecycle")
_serve("isolation_segments", "Isolation segment", _SEGMENTS, "organization_guids")
_OF_SERVICES = ("space_guids", "organization_guids", "service_broker_guids", "available")
for _kind, _what, _filters in (
    ("security_groups", "Security group", ("globally_enabled_running", "running_space_guids")),
    ("service_instances", "Service instance", (*_OF_SERVICES, "type")),
    ("service_brokers", "Service broker", _OF_SERVICES),
    ("service_offerings", "Service offering", (*_OF_SERVICES, "service_broker_names")),
    ("service_plans", "Service plan", (*_OF_SERVICES, "service_offering_guids")),
    ("service_credential_bindings", "Service credential binding", ("app_guids", "type")),
    ("service_route_bindings", "Service route binding", ("route_guids",)),
):
    _serve(_kind, _what, [], *_filters)


@router.get("/v3/environment_variable_groups/{name}")
async def variable_group(name: str, user: User, base: Base) -> Json:
    """No variables are given to all apps."""
    if name not in ("running", "staging"):
        raise not_found("Environment variable group")
    link = f"/v3/environment_variable_groups/{name}"
    return {"name": name, "updated_at": None, "var": {}, **present.links(base, self=link)}


@router.get("/v3/spaces/{guid}/running_security_groups")
@router.get("/v3/spaces/{guid}/staging_security_groups")
async def space_security_groups(guid: str, request: Request, user: User) -> Json:
    """There are none."""
    user.space(guid)
    return one_page([], f"{base_url(request)}{request.url.path}")
