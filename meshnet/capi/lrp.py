"""The DesiredLRP of an app, as the Cloud Controller's recipe builder makes it. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from meshnet.capi.app_records import HTTP, PROCESS, App
from meshnet.capi.tenancy_records import Organization, Space
from meshnet.wire import bbs_api
from meshnet.wire.gen import bbs_pb2 as pb

DOMAIN = "cf-apps"
PORT = 8080
START_TIMEOUT_SECONDS = 60  # as long as an instance may take to become healthy
FILES_LIMIT, PIDS_LIMIT = 16384, 1024
LAUNCHER = "/tmp/lifecycle/launcher"


def desired_lrp(
    app: App,
    *,
    droplet_url: str,
    sha256: str,
    space: Space,
    organization: Organization,
    cf_api: str,
    uris: Iterable[str],
    internal_hosts: Iterable[str],
) -> Any:
    """What BBS is to run for a started app.

    Args:
        droplet_url: where cells fetch the droplet, credentials included.
        cf_api: the API's own address, for VCAP_APPLICATION.
        uris: host names and paths of the app's routes, for VCAP_APPLICATION.
        internal_hosts: names in internal domains that DNS answers with instance addresses.
    """
    application = vcap_application(app, space, organization, cf_api, uris)
    ids = {"app_id": app.guid, "space_id": space.guid, "org_id": organization.guid}
    return pb.DesiredLRP(
        process_guid=app.process_guid,
        domain=DOMAIN,
        root_fs="preloaded:host",
        instances=app.instances,
        setup=pb.Action(
            download_action=pb.DownloadAction(
                artifact="droplet",
                to=".",
                user="vcap",
                checksum_algorithm="sha256",
                checksum_value=sha256,
                **{"from": droplet_url},
            )
        ),
        action=pb.Action(
            run_action=pb.RunAction(
                path=LAUNCHER,
                args=["app", app.command or "", ""],
                env=_environment(app, application),
                resource_limits=pb.ResourceLimits(nofile=FILES_LIMIT),
                user="vcap",
                log_source="APP/PROC/WEB",
            )
        ),
        start_timeout_ms=(app.health_check_timeout or START_TIMEOUT_SECONDS) * 1000,
        check_definition=check_definition(app),
        disk_mb=app.disk_in_mb,
        memory_mb=app.memory_in_mb,
        max_pids=PIDS_LIMIT,
        ports=[PORT],
        routes=internal_routes(internal_hosts),
        certificate_properties=pb.CertificateProperties(
            organizational_unit=[
                f"organization:{organization.guid}",
                f"space:{space.guid}",
                f"app:{app.guid}",
            ]
        ),
        log_source="CELL",
        log_guid=app.guid,
        network=pb.Network(
            properties={**ids, "policy_group_id": app.guid, "container_workload": "app"}
        ),
    )


def vcap_application(
    app: App, space: Space, organization: Organization, cf_api: str, uris: Iterable[str]
) -> dict[str, Any]:
    """What an app is told about itself in VCAP_APPLICATION, but for what only the cell knows."""
    names = list(uris)
    return {
        "cf_api": cf_api,
        "limits": {"fds": FILES_LIMIT, "mem": app.memory_in_mb, "disk": app.disk_in_mb},
        "application_id": app.guid,
        "application_name": app.name,
        "application_version": app.version,
        "application_uris": names,
        "version": app.version,
        "name": app.name,
        "uris": names,
        "space_id": space.guid,
        "space_name": space.name,
        "organization_id": organization.guid,
        "organization_name": organization.name,
        "process_id": app.guid,
        "process_type": "web",
        "users": None,
    }


def _environment(app: App, application: dict[str, Any]) -> list[Any]:
    env = {
        "LANG": "en_US.UTF-8",
        **app.env,
        "PORT": str(PORT),
        "VCAP_APP_PORT": str(PORT),
        "VCAP_APP_HOST": "0.0.0.0",
        "VCAP_APPLICATION": json.dumps(application),
        "VCAP_SERVICES": "{}",
        "MEMORY_LIMIT": f"{app.memory_in_mb}m",
    }
    return [pb.EnvironmentVariable(name=k, value=v) for k, v in sorted(env.items())]


def check_definition(app: App) -> Any:
    """The checks of an app's port: its health and its readiness; none of type "process"."""
    health = _check(
        app.health_check_type,
        app.health_check_endpoint,
        app.health_check_invocation_timeout,
        app.health_check_interval,
    )
    ready = _check(
        app.readiness_type,
        app.readiness_endpoint,
        app.readiness_invocation_timeout,
        app.readiness_interval,
    )
    if not health and not ready:
        return None
    return pb.CheckDefinition(checks=health, log_source="HEALTH", readiness_checks=ready)


def _check(kind: str, endpoint: str | None, timeout: int | None, interval: int | None) -> list[Any]:
    """One check or none; seconds that are not given become zeros, which stand for defaults."""
    timeout_ms, interval_ms = (timeout or 0) * 1000, (interval or 0) * 1000
    if kind == PROCESS:
        return []
    if kind == HTTP:
        http = pb.HTTPCheck(
            port=PORT, request_timeout_ms=timeout_ms, path=endpoint or "/", interval_ms=interval_ms
        )
        return [pb.Check(http_check=http)]
    tcp = pb.TCPCheck(port=PORT, connect_timeout_ms=timeout_ms, interval_ms=interval_ms)
    return [pb.Check(tcp_check=tcp)]


def is_ours(lrp: Any) -> bool:
    """Whether a DesiredLRP is one of the Cloud Controller's."""
    return bool(lrp.domain == DOMAIN)


def internal_routes(hosts: Iterable[str]) -> Any:
    """The routes of a DesiredLRP that DNS reads."""
    value = [{"hostname": host} for host in sorted(hosts)]
    return pb.ProtoRoutes(routes={bbs_api.INTERNAL_ROUTER: json.dumps(value).encode()})
