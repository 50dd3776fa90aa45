"""What a process may be: its scale and its health checks, in CC's words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from urllib.parse import urlsplit

from meshnet.capi import validate
from meshnet.capi.app_records import HTTP, PORT, PROCESS, App
from meshnet.capi.errors import unprocessable
from meshnet.capi.service import Body

TYPES = (PORT, HTTP, PROCESS)
MAX_SECONDS, MAX_ENDPOINT, MAX_LOG_RATE = 2**31 - 1, 255, 2**53
# As CC's property cc.maximum_health_check_timeout is by default.
MAX_TIMEOUT = 600


class HealthCheckData(Body):
    """`data` of a health check; null = the default."""

    timeout: int | None = None
    invocation_timeout: int | None = None
    interval: int | None = None
    endpoint: str | None = None


class HealthCheck(Body):
    """`health_check` of a process."""

    type: str | None = None
    data: HealthCheckData | None = None


class ReadinessData(Body):
    """`data` of a readiness health check."""

    invocation_timeout: int | None = None
    interval: int | None = None
    endpoint: str | None = None


class ReadinessCheck(Body):
    """`readiness_health_check` of a process."""

    type: str | None = None
    data: ReadinessData | None = None


def check_scale(given: Mapping[str, int]) -> None:
    """Raises ApiError 422. Keys are fields of App."""
    if "instances" in given:
        validate.instances(given["instances"])
    if "memory_in_mb" in given:
        validate.memory(given["memory_in_mb"])
    if "disk_in_mb" in given:
        validate.disk(given["disk_in_mb"])
    if not -1 <= given.get("log_rate_limit", -1) <= MAX_LOG_RATE:
        raise unprocessable(
            "Log rate limit in bytes per second must be greater than or equal to -1"
        )


def checked_by(app: App, health: HealthCheck | None, readiness: ReadinessCheck | None) -> App:
    """The app with other health checks. Raises ApiError 422."""
    if health:
        kind = app.health_check_type if health.type is None else health.type
        data, given = health.data or HealthCheckData(), _given(health.data)
        _check(kind, data, given, "Health check")
        if data.timeout is not None and not 1 <= data.timeout <= MAX_TIMEOUT:
            raise unprocessable(f"Health check timeout must be between 1 and {MAX_TIMEOUT} seconds")
        changes = {f"health_check_{name}": getattr(data, name) for name in given}
        if kind != HTTP:
            changes["health_check_endpoint"] = None
        app = replace(app, health_check_type=kind, **changes)
    if readiness:
        kind = app.readiness_type if readiness.type is None else readiness.type
        ready, given = readiness.data or ReadinessData(), _given(readiness.data)
        _check(kind, ready, given, "Readiness health check")
        changes = {f"readiness_{name}": getattr(ready, name) for name in given}
        if kind != HTTP:
            changes["readiness_endpoint"] = None
        app = replace(app, readiness_type=kind, **changes)
    return app


def check_asked(health: HealthCheck) -> None:
    """What can be told of a health check without the app it is for. Raises ApiError 422."""
    endpoint = health.data and health.data.endpoint
    kind = health.type if health.type is not None else (HTTP if endpoint else PORT)
    checked_by(App(health_check_type=kind), health, None)


def _given(data: Body | None) -> set[str]:
    return data.model_fields_set if data else set()


def _check(kind: str, data: HealthCheckData | ReadinessData, given: set[str], what: str) -> None:
    if kind not in TYPES:
        raise unprocessable(f'{what} type must be "port", "process", or "http"')
    for name in ("invocation_timeout", "interval"):
        value = getattr(data, name)
        if value is not None and not 1 <= value <= MAX_SECONDS:
            label = name.replace("_", " ")
            raise unprocessable(f"{what} {label} must be greater than or equal to 1")
    if "endpoint" not in given or data.endpoint is None:
        return
    if kind != HTTP:
        raise unprocessable(f'{what} type must be "http" to set a health check HTTP endpoint')
    check_endpoint(data.endpoint, what)


def check_endpoint(endpoint: str, what: str = "Health check") -> None:
    """422 where it is no path to ask for."""
    good = endpoint.startswith("/") and endpoint.isascii() and endpoint.isprintable()
    if not good or " " in endpoint or len(endpoint) > MAX_ENDPOINT or not _is_path(endpoint):
        raise unprocessable(f"{what} http endpoint must be a valid URI path")


def _is_path(endpoint: str) -> bool:
    try:
        parts = urlsplit(endpoint)
    except ValueError:
        return False
    return not parts.scheme and not parts.netloc
