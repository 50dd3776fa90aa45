"""Audit events: what is done to an app is told, once, with who did it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from capi_world import EXTERNAL, World, world

from meshnet.capi import audit


def told(w: World, app: str, query: str = "") -> list[dict[str, Any]]:
    path = f"/v3/audit_events?target_guids={app}{query}"
    found: list[dict[str, Any]] = w.ask("GET", path, None, 200)["resources"]
    return found


def kinds(w: World, app: str) -> list[str]:
    return [event["type"].removeprefix("audit.app.") for event in told(w, app)]


def test_what_is_done_to_an_app_is_told_in_order_and_with_who_did_it(tmp_path: Path) -> None:
    with world(tmp_path) as w:
        app = w.app("a", start=True)
        assert kinds(w, app) == ["create", "droplet.mapped", "update", "start"]
        w.ask("POST", f"/v3/processes/{app}/actions/scale", {"instances": 3}, 202)
        w.ask("POST", f"/v3/apps/{app}/actions/restart", None, 200)
        w.ask("PATCH", f"/v3/apps/{app}/environment_variables", {"var": {"A": "secret"}}, 200)
        route = w.route(EXTERNAL, "a")
        body = {"destinations": [{"app": {"guid": app}}]}
        w.ask("POST", f"/v3/routes/{route}/destinations", body, 200)
        w.ask("DELETE", f"/v3/routes/{route}", None, 202)
        w.ask("POST", f"/v3/apps/{app}/actions/stop", None, 200)
        w.ask("POST", f"/v3/apps/{app}/actions/stop", None, 200)  # changes nothing
        w.ask("DELETE", f"/v3/apps/{app}", None, 202)
        assert kinds(w, app)[4:] == [
            *("process.scale", "restart", "update", "map-route", "unmap-route", "stop"),
            "delete-request",
        ]
        scaled = next(e for e in told(w, app) if e["type"] == "audit.app.process.scale")
        assert scaled["data"] == {"request": {"instances": 3}}
        assert (scaled["actor"]["name"], scaled["actor"]["type"]) == ("admin", "user")
        assert (scaled["target"]["name"], scaled["space"]["guid"]) == ("a", w.space)
        assert "secret" not in str(told(w, app))
        newest = told(w, app, "&order_by=-created_at&per_page=1")
        assert [e["type"] for e in newest] == ["audit.app.delete-request"]
        path = f"/v3/audit_events/{scaled['guid']}"
        assert w.ask("GET", path, None, 200) == scaled
        assert told(w, app, "&types=audit.app.process.scale") == [scaled]
    with world(tmp_path) as w:
        assert w.ask("GET", path, None, 200) == scaled, "they outlive the API"


def test_a_manifest_a_deployment_and_a_crash_are_told(tmp_path: Path) -> None:
    with world(tmp_path) as w:
        manifest = f"applications:\n- name: a\n  routes: [{{route: a.{EXTERNAL}}}]\n"
        headers = {"content-type": "application/x-yaml"}
        path = f"/v3/spaces/{w.space}/actions/apply_manifest"
        assert w.http.post(path, content=manifest, headers=headers).status_code == 202
        app = str(w.ask("GET", "/v3/apps?names=a")["resources"][0]["guid"])
        assert kinds(w, app) == ["create", "map-route", "apply_manifest"]
        w.droplet(app)
        w.ask("PATCH", f"/v3/processes/{app}", {"command": "x"}, 200)
        w.ask("POST", f"/v3/apps/{app}/actions/start", None, 200)
        body = {"relationships": {"app": {"data": {"guid": app}}}}
        deployment = w.ask("POST", "/v3/deployments", body, 201)["guid"]
        w.ask("POST", f"/v3/deployments/{deployment}/actions/cancel", None, 200)
        w.records.crashed(app, {"index": 0, "exit_description": "boom"})
        assert kinds(w, app)[-3:] == ["deployment.create", "deployment.cancel", "process.crash"]
        crash = told(w, app)[-1]
        assert crash["actor"]["type"] == "process" and crash["data"]["exit_description"] == "boom"
        w.records.crashed("gone", {})


def test_only_who_sees_the_space_sees_its_events(tmp_path: Path) -> None:
    with world(tmp_path) as w:
        app = w.app("a")
        (event,) = told(w, app)
        w.user("stranger")
        w.sign_in("stranger")
        assert told(w, app) == []
        path = f"/v3/audit_events/{event['guid']}"
        assert w.refused("GET", path, None, 404) == "Event not found"


def test_roles_see_events_as_in_cc(tmp_path: Path) -> None:
    with world(tmp_path) as w:
        app = w.app("a")
        (event,) = told(w, app)
        organization = event["organization"]["guid"]
        of_space = ("space_developer", "space_auditor", "space_supporter")
        for role in (*of_space, "organization_auditor", "space_manager", "organization_manager"):
            w.user(role, **{role: w.space if role.startswith("space") else organization})
            may = role in (*of_space, "organization_auditor")
            w.sign_in(role)
            assert told(w, app) == ([event] if may else []), role
            w.ask("GET", f"/v3/audit_events/{event['guid']}", None, 200 if may else 404)
            w.sign_in()


def test_the_oldest_events_go(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(audit, "MAX_EVENTS", 20)
    with world(tmp_path) as w:
        app = w.app("a")
        for instances in range(2, 40):
            body = {"instances": instances}
            w.ask("POST", f"/v3/processes/{app}/actions/scale", body, 202)
        assert len(told(w, app)) == 20
        assert told(w, app)[-1]["data"]["request"] == {"instances": 39}
        # No request has to take away a lot: each record is a question to the store.
        gone = list[str]()
        delete = w.records.events.delete
        w.records.events.delete = lambda guid, *more: (  # type: ignore[method-assign]
            gone.append(guid),
            delete(guid, *more),
        )[1]
        w.ask("POST", f"/v3/processes/{app}/actions/scale", {"instances": 40}, 202)
        assert len(gone) == 1 and len(told(w, app)) == 20


def test_what_is_written_together_goes_beyond_and_back(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(audit, "MAX_EVENTS", 10)
    with world(tmp_path) as w:
        apps = [w.app(f"a{n}") for n in range(8)]
        w.ask("DELETE", f"/v3/spaces/{w.space}", None, 202)
        w.space_in(w.ask("GET", "/v3/organizations")["resources"][0]["guid"], "other")
        left = w.ask("GET", "/v3/audit_events?types=audit.app.delete-request", None, 200)
        assert {event["target"]["guid"] for event in left["resources"]} == set(apps)
        for name in "bcd":
            w.app(name)
        everything = w.ask("GET", "/v3/audit_events", None, 200)["resources"]
        assert len(everything) == 10 and everything[-1]["target"]["name"] == "d"
