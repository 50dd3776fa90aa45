"""The DesiredLRP that the Cloud Controller asks BBS for."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from meshnet.capi.app_records import App
from meshnet.capi.lrp import desired_lrp
from meshnet.capi.tenancy_records import Organization, Space
from meshnet.wire.gen import bbs_pb2 as pb

APP = App(guid="a", name="mine", space="s", memory_in_mb=64, disk_in_mb=512, version="v")


def made(app: App = APP) -> Any:
    return desired_lrp(
        app,
        droplet_url="http://x:y@10.0.16.2/droplet",
        sha256="0" * 64,
        space=Space(guid="s", name="dev", organization="o"),
        organization=Organization(guid="o", name="system"),
        cf_api="https://api.sys.mesh.lab",
        uris=["mine.istio.mesh.lab/p"],
        internal_hosts=["b.apps.internal", "a.apps.internal"],
    )


def environment(lrp: Any) -> dict[str, str]:
    return {one.name: one.value for one in lrp.action.run_action.env}


def test_the_environment_is_cfs() -> None:
    env = environment(made(replace(APP, env={"LANG": "C", "GREETING": "hola"})))
    assert env.pop("LANG") == "C" and env.pop("GREETING") == "hola"
    application = json.loads(env.pop("VCAP_APPLICATION"))
    assert env == {
        "PORT": "8080",
        "VCAP_APP_PORT": "8080",
        "VCAP_APP_HOST": "0.0.0.0",
        "VCAP_SERVICES": "{}",
        "MEMORY_LIMIT": "64m",
    }
    assert application == {
        "cf_api": "https://api.sys.mesh.lab",
        "limits": {"fds": 16384, "mem": 64, "disk": 512},
        "application_id": "a",
        "application_name": "mine",
        "application_version": "v",
        "application_uris": ["mine.istio.mesh.lab/p"],
        "version": "v",
        "name": "mine",
        "uris": ["mine.istio.mesh.lab/p"],
        "space_id": "s",
        "space_name": "dev",
        "organization_id": "o",
        "organization_name": "system",
        "process_id": "a",
        "process_type": "web",
        "users": None,
    }
    assert environment(made())["LANG"] == "en_US.UTF-8"


def test_the_launcher_gets_the_command_and_limits_follow_the_app() -> None:
    lrp = made(replace(APP, command="./run"))
    run = lrp.action.run_action
    assert (run.path, list(run.args)) == ("/tmp/lifecycle/launcher", ["app", "./run", ""])
    assert run.resource_limits.nofile == 16384 and run.log_source == "APP/PROC/WEB"
    assert list(lrp.certificate_properties.organizational_unit) == [
        "organization:o",
        "space:s",
        "app:a",
    ]
    assert (lrp.memory_mb, lrp.disk_mb, lrp.max_pids, lrp.instances) == (64, 512, 1024, 1)
    routes = json.loads(lrp.routes.routes["internal-router"])
    assert routes == [{"hostname": "a.apps.internal"}, {"hostname": "b.apps.internal"}]


@pytest.mark.parametrize(
    ("changes", "check", "timeout_ms"),
    [
        ({}, pb.Check(tcp_check=pb.TCPCheck(port=8080)), 60_000),
        (
            {"health_check_invocation_timeout": 3, "health_check_timeout": 90},
            pb.Check(tcp_check=pb.TCPCheck(port=8080, connect_timeout_ms=3000)),
            90_000,
        ),
        (
            {"health_check_type": "http", "health_check_interval": 7},
            pb.Check(http_check=pb.HTTPCheck(port=8080, path="/", interval_ms=7000)),
            60_000,
        ),
        (
            {"health_check_type": "http", "health_check_endpoint": "/health"},
            pb.Check(http_check=pb.HTTPCheck(port=8080, path="/health")),
            60_000,
        ),
        ({"health_check_type": "process", "health_check_endpoint": "/x"}, None, 60_000),
    ],
)
def test_the_health_check_follows_the_app(
    changes: dict[str, Any], check: pb.Check | None, timeout_ms: int
) -> None:
    lrp = made(replace(APP, **changes))
    assert lrp.start_timeout_ms == timeout_ms
    assert list(lrp.check_definition.checks) == ([check] if check else [])
    assert not lrp.check_definition.readiness_checks


@pytest.mark.parametrize(
    ("changes", "check"),
    [
        ({"readiness_type": "port"}, pb.Check(tcp_check=pb.TCPCheck(port=8080))),
        (
            {"readiness_type": "http", "readiness_endpoint": "/ready", "readiness_interval": 2},
            pb.Check(http_check=pb.HTTPCheck(port=8080, path="/ready", interval_ms=2000)),
        ),
        (
            {"readiness_type": "http", "readiness_invocation_timeout": 3},
            pb.Check(http_check=pb.HTTPCheck(port=8080, path="/", request_timeout_ms=3000)),
        ),
    ],
)
def test_so_does_the_readiness_health_check(changes: dict[str, Any], check: pb.Check) -> None:
    for kind in ("port", "process"):
        definition = made(replace(APP, health_check_type=kind, **changes)).check_definition
        assert list(definition.readiness_checks) == [check]
        assert len(definition.checks) == (kind == "port")
