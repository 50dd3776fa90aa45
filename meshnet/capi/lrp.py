"""The DesiredLRP of an app. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from meshnet.capi.app_records import App
from meshnet.wire import bbs_api
from meshnet.wire.gen import bbs_pb2 as pb

DOMAIN = "cf-apps"
PORT = 8080


def desired_lrp(
    app: App,
    *,
    droplet_url: str,
    sha256: str,
    org: str,
    uris: Iterable[str],
    internal_hosts: Iterable[str],
) -> Any:
    """What BBS is to run for a started app.

    Args:
        droplet_url: where cells fetch the droplet, credentials included.
        uris: host names and paths of the app's routes, for VCAP_APPLICATION.
        internal_hosts: names in internal domains that DNS answers with instance addresses.
    """
    env = {
        **app.env,
        "PORT": str(PORT),
        "VCAP_APPLICATION": json.dumps(vcap_application(app, org, uris)),
        "MEMORY_LIMIT": f"{app.memory_in_mb}m",
        "LANG": "en_US.UTF-8",
    }
    ids = {"app_id": app.guid, "space_id": app.space, "org_id": org}
    return pb.DesiredLRP(
        process_guid=app.process_guid,
        domain=DOMAIN,
        root_fs="preloaded:host",
        instances=app.instances,
        setup=pb.Action(
            download_action=pb.DownloadAction(
                artifact="droplet",
                to="/home/vcap",
                checksum_algorithm="sha256",
                checksum_value=sha256,
                **{"from": droplet_url},
            )
        ),
        action=pb.Action(
            run_action=pb.RunAction(
                path="/bin/sh",
                args=["-c", app.command or ""],
                dir="/home/vcap/app",
                env=[pb.EnvironmentVariable(name=k, value=v) for k, v in sorted(env.items())],
                log_source="APP/PROC/WEB",
            )
        ),
        disk_mb=app.disk_in_mb,
        memory_mb=app.memory_in_mb,
        ports=[PORT],
        routes=internal_routes(internal_hosts),
        log_source="CELL",
        log_guid=app.guid,
        network=pb.Network(
            properties={**ids, "policy_group_id": app.guid, "container_workload": "app"}
        ),
    )


def vcap_application(app: App, org: str, uris: Iterable[str]) -> dict[str, Any]:
    """What an app is told about itself, in VCAP_APPLICATION."""
    return {
        "application_id": app.guid,
        "application_name": app.name,
        "application_version": app.version,
        "application_uris": list(uris),
        "limits": {"mem": app.memory_in_mb, "disk": app.disk_in_mb},
        "name": app.name,
        "space_id": app.space,
        "organization_id": org,
    }


def is_ours(lrp: Any) -> bool:
    """Whether a DesiredLRP is one of the Cloud Controller's."""
    return bool(lrp.domain == DOMAIN)


def internal_routes(hosts: Iterable[str]) -> Any:
    """The routes of a DesiredLRP that DNS reads."""
    value = [{"hostname": host} for host in sorted(hosts)]
    return pb.ProtoRoutes(routes={bbs_api.INTERNAL_ROUTER: json.dumps(value).encode()})
