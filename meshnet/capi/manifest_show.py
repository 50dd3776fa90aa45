"""An app as a manifest, and how a manifest differs from what is there. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import yaml

from meshnet.capi.app_records import WEB, App
from meshnet.capi.errors import ApiError
from meshnet.capi.manifest_units import megabytes

Json = dict[str, Any]
# What two entries of a list have in common that are one thing.
_IDENTITY = {"processes": "type", "routes": "route"}
_SIZES = ("memory", "disk_quota")


def shown(app: App, urls: Iterable[str], command: str | None) -> Json:
    """An application as manifests have it; keys as CC writes them."""
    found: Json = {"name": app.name, "lifecycle": app.lifecycle, "stack": app.stack}
    found["buildpacks"] = app.buildpacks
    found["env"] = app.env
    found["metadata"] = {k: v for k, v in app.metadata.items() if v}
    found["routes"] = [{"route": url, "protocol": "http1"} for url in urls]
    found["processes"] = [_process(app, command)]
    return {key: value for key, value in found.items() if value}


def _process(app: App, command: str | None) -> Json:
    rate = app.log_rate_limit
    found = {
        "type": WEB,
        "instances": app.instances,
        "memory": f"{app.memory_in_mb}M",
        "disk_quota": f"{app.disk_in_mb}M",
        "log-rate-limit-per-second": str(rate) if rate <= 0 else f"{rate}B",
        "command": command,
        "health-check-type": app.health_check_type,
        "health-check-http-endpoint": app.health_check_endpoint,
        "timeout": app.health_check_timeout,
        "health-check-invocation-timeout": app.health_check_invocation_timeout,
        "health-check-interval": app.health_check_interval,
        "readiness-health-check-type": app.readiness_type,
        "readiness-health-check-http-endpoint": app.readiness_endpoint,
        "readiness-health-check-invocation-timeout": app.readiness_invocation_timeout,
        "readiness-health-check-interval": app.readiness_interval,
    }
    return {key: value for key, value in found.items() if value is not None}


def as_yaml(applications: Sequence[Json]) -> str:
    """A manifest's text."""
    text: str = yaml.safe_dump(
        {"applications": list(applications)}, sort_keys=False, explicit_start=True
    )
    return text


def difference(path: str, wanted: Json, there: Json | None) -> list[Json]:
    """What applying one application would change: [{"op", "path", "value", "was"}].

    Args:
        path: of the application, as "/applications/0".
        wanted: from a manifest, keys as they are written.
        there: what `shown` says of the app; None where there is none.
    """
    old = _flat(there) if there else {}
    found: list[Json] = []
    for key, value in wanted.items():
        known = "disk_quota" if key == "disk-quota" else key
        if known in old or known in _KEYS:
            _compare(f"{path}/{key}", value, old.get(known), found)
    return found


_KEYS = {
    *("name", "lifecycle", "stack", "buildpacks", "env", "metadata", "routes", "processes"),
    *("instances", "memory", "disk_quota", "command", "timeout", "log-rate-limit-per-second"),
    *("health-check-type", "health-check-http-endpoint", "health-check-invocation-timeout"),
    *("health-check-interval", "no-route", "random-route", "default-route", "services"),
}


def _flat(there: Json) -> Json:
    """With what is said of the web process said of the app too, as manifests may."""
    web = {k: v for k, v in there["processes"][0].items() if k != "type"}
    return {**there, **web}


def _compare(path: str, value: Any, was: Any, found: list[Json]) -> None:
    if isinstance(value, Mapping) and isinstance(was, Mapping):
        for key, inner in value.items():
            _compare(f"{path}/{key}", inner, was.get(key), found)
    elif (by := _IDENTITY.get(path.rpartition("/")[2])) and isinstance(value, list):
        _compare_lists(path, value, was if isinstance(was, list) else [], by, found)
    elif was is None and value is not None:
        found.append({"op": "add", "path": path, "value": value})
    elif value is None and was is not None:
        found.append({"op": "remove", "path": path, "was": was})
    elif value != was and not _same_size(path, value, was):
        found.append({"op": "replace", "path": path, "value": value, "was": was})


def _compare_lists(path: str, value: list[Any], was: list[Any], by: str, found: list[Json]) -> None:
    old = {row[by]: row for row in was}
    for index, row in enumerate(value):
        identity = row.get(by) if isinstance(row, Mapping) else None
        there = old.get(identity) if isinstance(identity, str) else None
        if there is None:
            found.append({"op": "add", "path": f"{path}/{index}", "value": row})
        else:
            _compare(f"{path}/{index}", row, there, found)


def _same_size(path: str, value: Any, was: Any) -> bool:
    if path.rpartition("/")[2].replace("-", "_") not in _SIZES:
        return False
    try:
        return megabytes(value, "") == megabytes(was, "")
    except ApiError:
        return False
