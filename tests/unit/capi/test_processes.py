"""Processes: what may be changed of one, its stats, its instances."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from capi_world import tgz, world


def test_a_process_is_found_by_its_guid_and_by_app_and_type(tmp_path: Path) -> None:
    with world(tmp_path) as w:
        app = w.app("a", start=True)
        by_guid = w.ask("GET", f"/v3/processes/{app}", None, 200)
        assert w.ask("GET", f"/v3/apps/{app}/processes/web", None, 200) == by_guid
        assert (by_guid["type"], by_guid["command"]) == ("web", "python3 app.py")
        assert by_guid["relationships"]["app"]["data"]["guid"] == app
        assert by_guid["links"]["scale"]["href"].startswith("http://10.0.16.2/v3/processes/")
        (listed,) = w.ask("GET", f"/v3/apps/{app}/processes", None, 200)["resources"]
        assert listed["command"] == "[PRIVATE DATA HIDDEN IN LISTS]"
        assert (
            w.refused("GET", f"/v3/apps/{app}/processes/worker", None, 404) == "Process not found"
        )
        assert w.refused("GET", "/v3/processes/none", None, 404) == "Process not found"
        other = w.app("b")
        found = w.ask("GET", f"/v3/processes?app_guids={other}", None, 200)["resources"]
        assert [p["guid"] for p in found] == [other]


def test_health_checks_are_kept_as_they_were_given(tmp_path: Path) -> None:
    with world(tmp_path) as w:
        app = w.app("a")
        body: dict[str, Any] = {
            "health_check": {
                "type": "http",
                "data": {
                    "timeout": 90,
                    "endpoint": "/health",
                    "invocation_timeout": 2,
                    "interval": 5,
                },
            },
            "readiness_health_check": {"type": "port", "data": {"invocation_timeout": 1}},
        }
        found = w.ask("PATCH", f"/v3/processes/{app}", body, 200)
        assert found["health_check"] == body["health_check"]
        assert found["readiness_health_check"]["data"] == {
            "invocation_timeout": 1,
            "interval": None,
        }
        record = w.records.apps.get(app)
        assert (record.health_check_type, record.health_check_endpoint) == ("http", "/health")
        assert record.health_check_timeout == 90
        only_data = {"health_check": {"data": {"timeout": None}}}
        found = w.ask("PATCH", f"/v3/apps/{app}/processes/web", only_data, 200)
        assert found["health_check"]["data"]["endpoint"] == "/health"
        assert found["health_check"]["data"]["timeout"] is None
        port = {"health_check": {"type": "port"}}
        found = w.ask("PATCH", f"/v3/processes/{app}", port, 200)
        assert "endpoint" not in found["health_check"]["data"]
        assert w.records.apps.get(app).health_check_endpoint is None


@pytest.mark.parametrize(
    ("check", "says"),
    [
        ({"type": "tcp"}, 'Health check type must be "port", "process", or "http"'),
        ({"type": ""}, 'Health check type must be "port", "process", or "http"'),
        ({"type": "port", "data": {"endpoint": "/x"}}, 'type must be "http" to set'),
        ({"data": {"endpoint": "/x"}}, 'type must be "http" to set'),
        ({"type": "http", "data": {"endpoint": "x"}}, "must be a valid URI path"),
        ({"type": "http", "data": {"endpoint": "//["}}, "must be a valid URI path"),
        ({"type": "http", "data": {"endpoint": "/" + "x" * 300}}, "must be a valid URI path"),
        ({"type": "http", "data": {"endpoint": "/x\r\nHost: y"}}, "must be a valid URI path"),
        ({"data": {"timeout": 0}}, "timeout must be between 1 and"),
        ({"data": {"timeout": 10**6}}, "timeout must be between 1 and"),
        ({"data": {"invocation_timeout": 0}}, "invocation timeout must be greater"),
        ({"data": {"interval": -1}}, "interval must be greater"),
        ({"data": {"interval": 2**40}}, "interval must be greater"),
        ({"data": {"colour": 1}}, "Unknown field(s): 'colour'"),
    ],
)
def test_health_checks_that_make_no_sense_change_nothing(
    tmp_path: Path, check: dict[str, Any], says: str
) -> None:
    with world(tmp_path) as w:
        app = w.app("a")
        before = w.records.apps.get(app)
        body = {"command": "other", "health_check": check}
        assert says in w.refused("PATCH", f"/v3/processes/{app}", body)
        assert w.records.apps.get(app) == before


def test_scaling_by_app_and_type_with_all_its_limits(tmp_path: Path) -> None:
    with world(tmp_path) as w:
        app = w.app("a")
        body = {
            **{"instances": 2, "memory_in_mb": 64, "disk_in_mb": 128},
            "log_rate_limit_in_bytes_per_second": 1024,
        }
        found = w.ask("POST", f"/v3/apps/{app}/processes/web/actions/scale", body, 202)
        assert body.items() <= found.items()
        refused = {"log_rate_limit_in_bytes_per_second": -2}
        w.refused("POST", f"/v3/processes/{app}/actions/scale", refused)
        path = f"/v3/apps/{app}/processes/worker/actions/scale"
        assert w.refused("POST", path, {}, 404) == "Process not found"


def test_stats_of_a_stopped_app_and_before_anything_is_placed_are_not_empty(tmp_path: Path) -> None:
    with world(tmp_path) as w:
        app = w.app("a")
        (row,) = w.ask("GET", f"/v3/processes/{app}/stats", None, 200)["resources"]
        assert row["state"] == "DOWN"
        w.app("b")
        started = w.app("c", start=True)
        (row,) = w.ask("GET", f"/v3/apps/{started}/processes/web/stats", None, 200)["resources"]
        assert row["state"] == "DOWN" and row["mem_quota"] == 256 * 1024 * 1024
        assert {"usage", "uptime", "details", "isolation_segment"} <= row.keys()


def test_stats_say_since_when_and_why_an_instance_does_not_run(tmp_path: Path) -> None:
    with world(tmp_path) as w:
        app = w.app("a", start=True)
        w.bbs.run_all()
        (lrp,) = w.bbs.actual
        lrp.since = time.time_ns() - 90 * 1_000_000_000
        lrp.crash_reason = "Exit status 7"
        for state, shown, details in (
            ("CRASHED", "CRASHED", "Exit status 7"),
            ("CLAIMED", "STARTING", "Exit status 7"),  # on its way again
            ("RUNNING", "RUNNING", None),
        ):
            lrp.state = state
            (row,) = w.ask("GET", f"/v3/processes/{app}/stats", None, 200)["resources"]
            assert (row["state"], row["details"]) == (shown, details)
            assert 89 <= row["uptime"] <= 100


def test_one_instance_is_ended_and_starts_over(tmp_path: Path) -> None:
    with world(tmp_path) as w:
        app = w.app("a", start=True)
        w.ask("POST", f"/v3/processes/{app}/actions/scale", {"instances": 2}, 202)
        w.bbs.run_all()
        assert w.http.request("DELETE", f"/v3/processes/{app}/instances/1").status_code == 204
        assert [a.actual_lrp_key.index for a in w.bbs.actual] == [0]
        path = f"/v3/apps/{app}/processes/web/instances"
        assert w.refused("DELETE", f"{path}/2", None, 404) == "Instance not found"
        assert w.refused("DELETE", f"{path}/-1", None, 404) == "Instance not found"
        w.bbs.away = True
        w.refused("DELETE", f"{path}/0", None, 503)


def test_sidecars_are_a_list_without_any(tmp_path: Path) -> None:
    with world(tmp_path) as w:
        app = w.app("a")
        assert w.ask("GET", f"/v3/processes/{app}/sidecars", None, 200)["resources"] == []


def test_commands_are_hidden_from_those_who_may_not_see_secrets(tmp_path: Path) -> None:
    with world(tmp_path) as w:
        app = w.app("a")
        bits = tgz("app/Procfile", b"web: run --password=secret")
        droplet = w.droplet(app, bits)
        org = w.ask("GET", f"/v3/spaces/{w.space}")["relationships"]["organization"]["data"]["guid"]
        w.user("auditor", organization_user=org, space_auditor=w.space)
        w.user("supporter", organization_user=org, space_supporter=w.space)
        w.user("manager", organization_manager=org)
        w.user("developer", organization_user=org, space_developer=w.space)
        for name in ("auditor", "supporter", "manager", "developer", "admin"):
            w.sign_in(name)
            sees = "secret" if name in ("developer", "admin") else "[PRIVATE DATA HIDDEN]"
            for path in (f"/v3/processes/{app}", f"/v3/apps/{app}/processes/web"):
                assert sees in w.ask("GET", path, None, 200)["command"], name
            for path in (f"/v3/droplets/{droplet}", f"/v3/apps/{app}/droplets/current"):
                assert sees in w.ask("GET", path, None, 200)["process_types"]["web"], name
        w.sign_in("supporter")
        scaled = w.ask("POST", f"/v3/processes/{app}/actions/scale", {"instances": 2}, 202)
        assert scaled["command"] == "[PRIVATE DATA HIDDEN]"
