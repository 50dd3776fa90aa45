"""Apps, packages, builds, droplets and deployments as the v3 API shows them.

`base` is the API's own URL as the client called it; every href begins with it.
"""

from __future__ import annotations

from typing import Any

from meshnet.capi import present
from meshnet.capi.app_records import WEB, App, Build, Deployment, Droplet, Package
from meshnet.capi.staging import STACK

Json = dict[str, Any]
HIDDEN, HIDDEN_IN_LISTS = "[PRIVATE DATA HIDDEN]", "[PRIVATE DATA HIDDEN IN LISTS]"


def _links(base: str, posts: dict[str, str], **paths: str | None) -> Json:
    gets = {name: {"href": base + path} for name, path in paths.items() if path}
    return {**gets, **{k: {"href": base + v, "method": "POST"} for k, v in posts.items()}}


def _lifecycle(buildpacks: list[str], stack: str | None) -> Json:
    return {"type": "buildpack", "data": {"buildpacks": buildpacks, "stack": stack or STACK}}


def app(base: str, record: App) -> Json:
    """An app."""
    path = f"/v3/apps/{record.guid}"
    posts = {name: f"{path}/actions/{name}" for name in ("start", "stop", "restart")}
    return {
        **present.base(record),
        "name": record.name,
        "state": record.state,
        "lifecycle": _lifecycle(record.buildpacks, record.stack),
        "relationships": present.to_one(space=record.space, current_droplet=record.droplet),
        "metadata": record.metadata,
        "links": _links(
            base,
            posts,
            self=path,
            environment_variables=f"{path}/environment_variables",
            space=f"/v3/spaces/{record.space}",
            processes=f"{path}/processes",
            packages=f"{path}/packages",
            current_droplet=f"{path}/droplets/current",
            droplets=f"{path}/droplets",
            revisions=f"{path}/revisions",
            features=f"{path}/features",
        ),
    }


def process(base: str, record: App, command: str | None, *, hidden: str = "") -> Json:
    """A web process.

    Args:
        command: the one it is started with.
        hidden: what is shown in place of a command, which may hold secrets; "" = it is shown.
    """
    path = f"/v3/processes/{record.guid}"
    return {
        **present.base(record),
        "type": WEB,
        "version": record.version,
        "command": hidden or command if command else None,
        "instances": record.instances,
        "memory_in_mb": record.memory_in_mb,
        "disk_in_mb": record.disk_in_mb,
        "log_rate_limit_in_bytes_per_second": record.log_rate_limit,
        "health_check": _health_check(record),
        "readiness_health_check": _readiness(record),
        "relationships": present.to_one(app=record.app_guid, revision=None),
        "metadata": record.process_metadata,
        "links": _links(
            base,
            {"scale": f"{path}/actions/scale"},
            self=path,
            app=f"/v3/apps/{record.app_guid}",
            space=f"/v3/spaces/{record.space}",
            stats=f"{path}/stats",
        ),
    }


def _health_check(record: App) -> Json:
    data: Json = {
        "timeout": record.health_check_timeout,
        "invocation_timeout": record.health_check_invocation_timeout,
        "interval": record.health_check_interval,
    }
    if record.health_check_type == "http":
        data["endpoint"] = record.health_check_endpoint
    return {"type": record.health_check_type, "data": data}


def _readiness(record: App) -> Json:
    data: Json = {}
    if record.readiness_type != "process":
        data["invocation_timeout"] = record.readiness_invocation_timeout
        data["interval"] = record.readiness_interval
    if record.readiness_type == "http":
        data["endpoint"] = record.readiness_endpoint
    return {"type": record.readiness_type, "data": data}


def _checksum(sha256: str | None) -> Json:
    return {"type": "sha256", "value": sha256}


def package(base: str, record: Package) -> Json:
    """A package of bits."""
    path = f"/v3/packages/{record.guid}"
    return {
        **present.base(record),
        "type": "bits",
        "data": {"error": record.error, "checksum": _checksum(record.sha256)},
        "state": record.state,
        "relationships": present.to_one(app=record.app),
        "metadata": record.metadata,
        "links": _links(
            base,
            {"upload": f"{path}/upload"},
            self=path,
            download=f"{path}/download",
            app=f"/v3/apps/{record.app}",
        ),
    }


def build(base: str, record: Build) -> Json:
    """A build."""
    droplet = record.droplet
    return {
        **present.base(record),
        "state": record.state,
        "error": record.error,
        "created_by": record.created_by,
        "staging_memory_in_mb": record.memory_in_mb,
        "staging_disk_in_mb": record.disk_in_mb,
        "lifecycle": _lifecycle(record.buildpacks, record.stack),
        "package": {"guid": record.package},
        "droplet": {"guid": droplet} if droplet else None,
        "relationships": present.to_one(app=record.app),
        "metadata": record.metadata,
        "links": _links(
            base,
            {},
            self=f"/v3/builds/{record.guid}",
            app=f"/v3/apps/{record.app}",
            droplet=droplet and f"/v3/droplets/{droplet}",
        ),
    }


def droplet(base: str, record: Droplet, *, hidden: str = "") -> Json:
    """A droplet; `hidden` as in `process`."""
    path, app_path = f"/v3/droplets/{record.guid}", f"/v3/apps/{record.app}"
    types = {name: hidden or text for name, text in record.process_types.items()}
    assign = {"href": f"{base}{app_path}/relationships/current_droplet", "method": "PATCH"}
    package_path = record.package and f"/v3/packages/{record.package}"
    links = _links(base, {}, self=path, app=app_path, package=package_path)
    if record.sha256:
        links["download"] = {"href": f"{base}{path}/download"}
    return {
        **present.base(record),
        "state": record.state,
        "error": None,
        "lifecycle": {"type": "buildpack", "data": {}},
        "execution_metadata": "",
        "process_types": types,
        "checksum": _checksum(record.sha256) if record.sha256 else None,
        "buildpacks": _detected(record),
        "stack": record.stack,
        "image": None,
        "relationships": present.to_one(app=record.app),
        "metadata": record.metadata,
        "links": {**links, "assign_current_droplet": assign},
    }


def _detected(record: Droplet) -> list[Json]:
    if not (name := record.detected_buildpack):
        return []
    full = f"{name}_buildpack"
    return [{"name": full, "buildpack_name": name, "detect_output": name, "version": None}]


def deployment(base: str, record: Deployment) -> Json:
    """A rolling deployment."""
    path = f"/v3/deployments/{record.guid}"
    posts = {"cancel": f"{path}/actions/cancel"} if record.active else {}
    previous = record.previous_droplet
    changed = present.base(record)["updated_at"]
    return {
        **present.base(record),
        "state": record.reason if record.reason != "SUPERSEDED" else "DEPLOYED",
        "status": {
            "value": "ACTIVE" if record.active else "FINALIZED",
            "reason": record.reason,
            "details": {"last_successful_healthcheck": changed, "last_status_change": changed},
        },
        "strategy": "rolling",
        "droplet": {"guid": record.droplet},
        "previous_droplet": {"guid": previous} if previous else None,
        "new_processes": [{"guid": record.app, "type": WEB}],
        "revision": None,
        "relationships": present.to_one(app=record.app),
        "metadata": record.metadata,
        "links": _links(base, posts, self=path, app=f"/v3/apps/{record.app}"),
    }
