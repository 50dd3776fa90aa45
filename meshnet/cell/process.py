"""What a DesiredLRP asks of a cell, read once. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from meshnet.model.errors import InputError

MIB = 1024 * 1024
_MEMORY_MB, _FILES, _PIDS = 256, 16384, 1024
# Diego's: the executor's request timeout, its healthy interval, the Cloud Controller's timeout.
CHECK_TIMEOUT_SECONDS, CHECK_INTERVAL_SECONDS, START_TIMEOUT_SECONDS = 1.0, 30.0, 60.0


@dataclass(frozen=True)
class Check:
    """One health check.

    Attributes:
        path: of the GET that must be answered with 200; "" = a TCP connection is enough.
        timeout: seconds it may take.
        interval: seconds between two of them once the instance is healthy.
    """

    port: int
    path: str = ""
    timeout: float = CHECK_TIMEOUT_SECONDS
    interval: float = CHECK_INTERVAL_SECONDS


@dataclass(frozen=True)
class Process:
    """What to run, within which limits, and when it counts as healthy.

    Attributes:
        argv: program and arguments, as the action has them.
        cwd: directory, "" = the app's.
        log_guid: under which its logs and metrics are filed: the app.
        log_source, check_source, cell_source: who speaks in a log line: the app itself, its
            health check, the cell.
        tags: what else its logs and metrics are told apart by.
        readiness: checks of which each must pass for it to take requests.
        units: organizational units of its instances' certificates.
        start_timeout: seconds it may take to become healthy.
    """

    argv: tuple[str, ...]
    env: Mapping[str, str]
    cwd: str
    log_guid: str
    log_source: str
    check_source: str
    cell_source: str
    checks: tuple[Check, ...]
    readiness: tuple[Check, ...]
    start_timeout: float
    memory_bytes: int
    disk_bytes: int
    files: int
    pids: int
    units: tuple[str, ...] = ()
    tags: Mapping[str, str] = field(default_factory=dict)


def process(lrp: Any) -> Process:
    """The Process of a DesiredLRP; what it leaves open is Diego's default.

    Raises:
        InputError: it has no action to run, or a check without a port.
    """
    run = lrp.action.run_action
    if not run.path:
        raise InputError("the process has nothing to run")
    properties = lrp.network.properties
    return Process(
        argv=(run.path, *run.args),
        env={one.name: one.value for one in (*lrp.environment_variables, *run.env)},
        cwd=run.dir,
        log_guid=lrp.log_guid or lrp.process_guid,
        log_source=run.log_source or "APP",
        check_source=lrp.check_definition.log_source or "HEALTH",
        cell_source=lrp.log_source or "CELL",
        checks=tuple(_check(one) for one in lrp.check_definition.checks),
        readiness=tuple(_check(one) for one in lrp.check_definition.readiness_checks),
        start_timeout=lrp.start_timeout_ms / 1000 or START_TIMEOUT_SECONDS,
        memory_bytes=(lrp.memory_mb or _MEMORY_MB) * MIB,
        disk_bytes=max(0, lrp.disk_mb) * MIB,
        files=run.resource_limits.nofile or _FILES,
        pids=lrp.max_pids or _PIDS,
        units=tuple(lrp.certificate_properties.organizational_unit),
        tags={
            key: properties[key] for key in ("app_id", "space_id", "org_id") if key in properties
        },
    )


def _check(one: Any) -> Check:
    http = one.HasField("http_check")
    kind = one.http_check if http else one.tcp_check
    if not 0 < kind.port < 65536:
        raise InputError(f"a health check of port {kind.port}")
    timeout = kind.request_timeout_ms if http else kind.connect_timeout_ms
    return Check(
        port=kind.port,
        path=(kind.path or "/") if http else "",
        timeout=timeout / 1000 or CHECK_TIMEOUT_SECONDS,
        interval=kind.interval_ms / 1000 or CHECK_INTERVAL_SECONDS,
    )
