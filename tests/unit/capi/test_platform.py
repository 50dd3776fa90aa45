"""The documents that clients begin with, feature flags, and lists of what is not there."""

from __future__ import annotations

from pathlib import Path

import pytest
from capi_world import world

# What the cf CLI looks up by name in the v3 document, whatever command it carries out.
RESOURCES = (
    *("apps", "builds", "domains", "droplets", "organizations", "organization_quotas"),
    *("packages", "processes", "resource_matches", "roles", "routes", "spaces", "users"),
    *("feature_flags", "isolation_segments", "service_instances", "stacks", "buildpacks"),
    *("security_groups", "deployments", "audit_events"),
)


def test_documents_name_everything_by_the_address_that_was_asked(tmp_path: Path) -> None:
    with world(tmp_path) as w:
        del w.http.headers["authorization"]
        for base in ("http://10.0.16.2", "https://api.sys.mesh.lab"):
            links = w.http.get(f"{base}/").json()["links"]
            assert links["cloud_controller_v3"] == {
                "href": f"{base}/v3",
                "meta": {"version": "3.91.0"},
            }
            assert links["login"]["href"] == links["uaa"]["href"] == base
            assert links["log_cache"]["href"] == base
            assert links["network_policy_v1"]["href"] == f"{base}/networking/v1/external"
            v3 = w.http.get(f"{base}/v3").json()["links"]
            assert {name: v3[name]["href"] for name in RESOURCES} == {
                name: f"{base}/v3/{name}" for name in RESOURCES
            }
            login = w.http.get(f"{base}/login").json()
            assert login["links"] == {"uaa": base, "login": base}
            assert set(login["prompts"]) == {"username", "password"}
            info = w.http.get(f"{base}/v2/info").json()
            assert info["authorization_endpoint"] == base
            assert w.http.get(f"{base}/v3/info").status_code == 200


def test_what_a_proxy_says_of_itself_is_not_believed(tmp_path: Path) -> None:
    with world(tmp_path) as w:
        headers = {"X-Forwarded-Proto": "https", "X-Forwarded-Host": "evil.example"}
        reply = w.http.get("/", headers=headers)
        assert reply.json()["links"]["self"]["href"] == "http://10.0.16.2"


def test_each_answer_has_an_id(tmp_path: Path) -> None:
    with world(tmp_path) as w:
        seen = set()
        for path in ("/", "/v3/apps", "/v3/nothing", "/Users/x", "/v3/apps/x"):
            seen.add(w.http.get(path).headers["x-vcap-request-id"])
        assert len(seen) == 5
        given = w.http.get("/", headers={"X-Vcap-Request-Id": "mine"})
        assert given.headers["x-vcap-request-id"].startswith("mine::")
        odd = w.http.get("/", headers={"X-Vcap-Request-Id": "a b" * 200})
        assert "a b" not in odd.headers["x-vcap-request-id"]


def test_an_answer_nobody_expected_is_ccs_and_has_an_id(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with world(tmp_path) as w:

        def broken(*args: object) -> bool:
            raise RuntimeError("boom")

        w.ask("GET", "/v3/organizations", None, 200)
        monkeypatch.setattr(w.records.roles, "of", broken)
        monkeypatch.setattr(type(w.records.users), "get", broken)
        reply = w.http.get("/v3/users/x")
        assert reply.status_code == 500
        assert reply.json()["errors"][0]["title"] == "UnknownError"
        assert reply.headers["x-vcap-request-id"] and "boom" not in reply.text


def test_unknown_paths_and_methods(tmp_path: Path) -> None:
    with world(tmp_path) as w:
        (error,) = w.ask("GET", "/v3/nothing", None, 404)["errors"]
        assert (error["code"], error["title"], error["detail"]) == (
            *(10000, "CF-NotFound"),
            "Unknown request",
        )
        json = {"content-type": "application/json"}
        reply = w.http.request("POST", "/v3/apps", content=b"{", headers=json)
        (error,) = reply.json()["errors"]
        assert (reply.status_code, error["code"]) == (400, 1001)


def test_feature_flags(tmp_path: Path) -> None:
    with world(tmp_path) as w:
        rows = {r["name"]: r for r in w.ask("GET", "/v3/feature_flags")["resources"]}
        assert rows["diego_docker"]["enabled"] is False and rows["app_scaling"]["enabled"] is True
        assert rows["app_scaling"]["updated_at"] is None
        path = "/v3/feature_flags/diego_docker"
        changed = w.ask("PATCH", path, {"enabled": True}, 200)
        assert changed["enabled"] is True and changed["updated_at"]
        changed = w.ask("PATCH", path, {"custom_error_message": "no"}, 200)
        assert (changed["enabled"], changed["custom_error_message"]) == (True, "no")
        assert w.ask("GET", path)["enabled"] is True
        w.refused("PATCH", path, {"enabled": "true"})
        assert w.refused("GET", "/v3/feature_flags/x", None, 404) == "Feature flag not found"
        assert w.refused("PATCH", "/v3/feature_flags/x", {}, 404) == "Feature flag not found"


def test_what_is_always_there_and_what_never_is(tmp_path: Path) -> None:
    with world(tmp_path) as w:
        stacks = w.ask("GET", "/v3/stacks", None, 200)["resources"]
        assert {s["name"]: s["default"] for s in stacks} == {
            "cflinuxfs3": False,
            "cflinuxfs4": True,
        }
        (stack,) = w.ask("GET", "/v3/stacks?names=cflinuxfs4")["resources"]
        assert w.ask("GET", f"/v3/stacks/{stack['guid']}") == stack
        (default,) = w.ask("GET", "/v3/stacks?default=true")["resources"]
        assert default == stack
        (buildpack,) = w.ask("GET", "/v3/buildpacks?order_by=position")["resources"]
        assert buildpack["name"] == "binary_buildpack" and buildpack["state"] == "READY"
        (segment,) = w.ask("GET", "/v3/isolation_segments?names=shared")["resources"]
        assert segment["guid"] == "933b4c58-120b-499a-b85d-4b6fc9e2903b"
        for kind in ("security_groups", "audit_events", "service_instances", "service_brokers"):
            assert w.ask("GET", f"/v3/{kind}", None, 200)["resources"] == []
            w.refused("GET", f"/v3/{kind}/x", None, 404)
        assert w.ask("GET", "/v3/environment_variable_groups/running")["var"] == {}
        w.refused("GET", "/v3/environment_variable_groups/x", None, 404)
        path = f"/v3/spaces/{w.space}/running_security_groups"
        assert w.ask("GET", path, None, 200)["resources"] == []
        del w.http.headers["authorization"]
        w.refused("GET", "/v3/stacks", None, 401)
