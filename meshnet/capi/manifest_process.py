"""The web process of a manifest, part by part, checked in CC's words. Pure.

Source: cloud_controller_ng, `manifest_process_scale_message.rb`, `..._update_message.rb`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from meshnet.capi import manifest_units, process_rules, validate
from meshnet.capi.app_records import PROCESS
from meshnet.capi.errors import unprocessable

Json = Mapping[str, Any]
MAX_TIMEOUT = 2**31 - 1
_HEALTH = (
    *("health_check_type", "health_check_http_endpoint", "timeout"),
    *("health_check_invocation_timeout", "health_check_interval"),
)


@dataclass
class Web:
    """What is asked of a web process; absent and None: leave it as it is.

    Attributes:
        fields: fields of App to set.
        health, readiness: what to change of the health checks, as the API takes it.
    """

    fields: dict[str, Any] = field(default_factory=dict)
    health: process_rules.HealthCheck | None = None
    readiness: process_rules.ReadinessCheck | None = None


def _instances(row: Json, web: Web) -> None:
    if (value := row.get("instances")) is not None:
        count = manifest_units.integer(value, "Instances")
        if count < 0:
            raise unprocessable("Instances must be greater than or equal to 0")
        validate.instances(count)
        web.fields["instances"] = count


def _memory(row: Json, web: Web) -> None:
    if (size := manifest_units.megabytes(row.get("memory"), "Memory")) is not None:
        validate.memory(size)
        web.fields["memory_in_mb"] = size


def _disk(row: Json, web: Web) -> None:
    if (size := manifest_units.megabytes(row.get("disk_quota"), "Disk quota")) is not None:
        validate.disk(size)
        web.fields["disk_in_mb"] = size


def _log_rate(row: Json, web: Web) -> None:
    value, what = row.get("log_rate_limit_per_second"), "Log rate limit per second"
    if (rate := manifest_units.rate(value, what)) is not None:
        process_rules.check_scale({"log_rate_limit": rate})
        web.fields["log_rate_limit"] = rate


def _command(row: Json, web: Web) -> None:
    if "command" not in row:
        return
    command = row["command"]
    if command in (None, "", "null", "default"):
        web.fields["command"] = None  # back to what the droplet says
        return
    if not isinstance(command, str):
        raise unprocessable("Command must be a string")
    validate.command(command)
    web.fields["command"] = command


def _health(row: Json, web: Web) -> None:
    if not any(name in row for name in _HEALTH):
        return
    kind = row.get("health_check_type")
    given: dict[str, Any] = {}
    if "timeout" in row:
        given["timeout"] = _seconds(row["timeout"], "Timeout")
    for name in ("invocation_timeout", "interval"):
        if (key := f"health_check_{name}") in row:
            given[name] = _seconds(row[key], f"Health check {name.replace('_', ' ')}")
    if "health_check_http_endpoint" in row:
        given["endpoint"] = row["health_check_http_endpoint"]
    kind = PROCESS if kind == "none" else kind  # CC's older word
    _check_type(kind, "Health check")
    try:
        data = process_rules.HealthCheckData(**given)
        web.health = process_rules.HealthCheck(type=kind, data=data)
    except ValidationError as exc:
        raise unprocessable("Health check http endpoint must be a string") from exc
    process_rules.check_asked(web.health)


def _readiness(row: Json, web: Web) -> None:
    start, given = "readiness_health_check_", dict[str, Any]()
    for name in ("invocation_timeout", "interval"):
        if (key := start + name) in row:
            given[name] = _seconds(row[key], f"Readiness health check {name.replace('_', ' ')}")
    if (key := f"{start}http_endpoint") in row:
        given["endpoint"] = row[key]
    kind = row.get(f"{start}type")
    if kind is None and not given:
        return
    _check_type(kind, "Readiness health check")
    try:
        data = process_rules.ReadinessData(**given)
        web.readiness = process_rules.ReadinessCheck(type=kind, data=data)
    except ValidationError as exc:
        raise unprocessable("Readiness health check http endpoint must be a string") from exc


def _check_type(kind: Any, what: str) -> None:
    if kind is not None and kind not in process_rules.TYPES:
        raise unprocessable(f'{what} type must be "port", "process", or "http"')


def _seconds(value: Any, what: str) -> int | None:
    if value is None:
        return None
    seconds = manifest_units.integer(value, what)
    if not 1 <= seconds <= MAX_TIMEOUT:
        raise unprocessable(f"{what} must be greater than or equal to 1")
    return seconds


# Each notes one thing of a row, or raises ApiError 422.
PARTS = (_instances, _memory, _disk, _log_rate, _command, _health, _readiness)
