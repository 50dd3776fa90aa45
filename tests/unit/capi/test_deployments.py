"""Deployments by the API: what BBS and Copilot are told, and when."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from capi_world import World, world


def scaled(w: World, instances: int) -> str:
    app = w.app("a", start=True)
    w.ask("POST", f"/v3/processes/{app}/actions/scale", {"instances": instances}, 202)
    w.bbs.run_all()
    return app


def deploy(w: World, app: str, **more: Any) -> str:
    body = {"relationships": {"app": {"data": {"guid": app}}}, **more}
    return str(w.ask("POST", "/v3/deployments", body, 201)["guid"])


def status(w: World, deployment: str) -> tuple[str, str]:
    found = w.ask("GET", f"/v3/deployments/{deployment}", None, 200)["status"]
    return found["value"], found["reason"]


def go_on(w: World) -> None:
    w.http.run(w.service.deployer.step_all())


def counts(w: World) -> list[int]:
    return sorted(lrp.instances for lrp in w.bbs.desired.values())


def test_a_rolling_restart_keeps_all_instances_and_both_versions_are_routed(tmp_path: Path) -> None:
    with world(tmp_path) as w:
        app = scaled(w, 2)
        (old,) = w.bbs.desired
        deployment = deploy(w, app)
        assert status(w, deployment) == ("ACTIVE", "DEPLOYING")
        (new,) = set(w.bbs.desired) - {old}
        assert counts(w) == [1, 2]
        assert w.copilot.calls[-1] == ("associate", app, [new, old])
        go_on(w)
        assert counts(w) == [1, 2], "the new instance does not run yet"
        w.bbs.run_all()
        go_on(w)
        assert [w.bbs.desired[guid].instances for guid in (old, new)] == [1, 2]
        w.bbs.run_all()
        go_on(w)
        assert list(w.bbs.desired) == [new] and counts(w) == [2]
        assert w.copilot.calls[-1] == ("associate", app, [new])
        assert status(w, deployment) == ("FINALIZED", "DEPLOYED")


def test_both_versions_are_processes_while_a_deployment_lasts(tmp_path: Path) -> None:
    with world(tmp_path) as w:
        app = scaled(w, 2)
        deploy(w, app)
        coming, going = w.ask("GET", f"/v3/apps/{app}/processes", None, 200)["resources"]
        assert coming["guid"] == app and going["type"] == "web"
        assert going["relationships"]["app"]["data"]["guid"] == app
        path = f"/v3/processes/{going['guid']}"
        assert w.ask("GET", path, None, 200)["instances"] == 2
        assert w.ask("GET", f"{path}/sidecars", None, 200)["resources"] == []
        rows = w.ask("GET", f"{path}/stats", None, 200)["resources"]
        assert [row["state"] for row in rows] == ["RUNNING", "RUNNING"]
        found = w.ask("GET", f"/v3/processes?app_guids={app}", None, 200)["resources"]
        assert [p["guid"] for p in found] == [app, going["guid"]]
        assert "not found" in w.refused("PATCH", path, {"command": "x"}, 404)
        w.user("stranger")
        w.sign_in("stranger")
        assert w.refused("GET", path, None, 404) == "Process not found"
        w.sign_in()
        for _ in range(3):
            w.bbs.run_all()
            go_on(w)
        assert len(w.ask("GET", f"/v3/apps/{app}/processes", None, 200)["resources"]) == 1
        assert w.refused("GET", path, None, 404) == "Process not found"


def test_traffic_leaves_a_version_before_it_ends(tmp_path: Path) -> None:
    with world(tmp_path) as w:
        app = scaled(w, 1)
        (old,) = w.bbs.desired
        deploy(w, app)
        order: list[str] = []
        associate, remove = w.copilot.associate, w.bbs.remove_desired

        async def associated(process: str, guids: Any) -> None:
            order.append("routed" if old in guids else "not routed")
            await associate(process, guids)

        async def removed(guid: str) -> None:
            order.append("removed")
            await remove(guid)

        w.copilot.associate = associated  # type: ignore[method-assign]
        w.bbs.remove_desired = removed  # type: ignore[method-assign]
        w.bbs.run_all()
        go_on(w)
        assert order == ["not routed", "removed"]


def test_another_droplet_comes_and_a_cancelled_one_goes_back(tmp_path: Path) -> None:
    with world(tmp_path) as w:
        app = scaled(w, 2)
        (old,) = w.bbs.desired
        first = w.ask("GET", f"/v3/apps/{app}/droplets/current")["guid"]
        second = w.droplet(app)
        path = f"/v3/apps/{app}/relationships/current_droplet"
        w.ask("PATCH", path, {"data": {"guid": first}}, 200)
        deployment = deploy(w, app, droplet={"guid": second})
        assert w.ask("GET", path)["data"]["guid"] == second
        w.bbs.run_all()
        go_on(w)
        cancel = f"/v3/deployments/{deployment}/actions/cancel"
        w.ask("POST", cancel, None, 200)
        assert status(w, deployment) == ("ACTIVE", "CANCELING")
        for _ in range(3):
            w.bbs.run_all()
            go_on(w)
        assert status(w, deployment) == ("FINALIZED", "CANCELED")
        assert list(w.bbs.desired) == [old] and counts(w) == [2]
        assert w.ask("GET", path)["data"]["guid"] == first
        assert "Cannot cancel a CANCELED" in w.refused("POST", cancel, None)


def test_a_restart_of_the_api_carries_a_deployment_on(tmp_path: Path) -> None:
    with world(tmp_path) as w:
        app = scaled(w, 2)
        deployment = deploy(w, app)
        desired = w.bbs.desired
    with world(tmp_path) as w:
        w.bbs.desired = desired
        for _ in range(2):
            w.bbs.run_all()
            go_on(w)
        assert status(w, deployment) == ("FINALIZED", "DEPLOYED")
        assert counts(w) == [2]


def test_a_full_sync_tells_of_both_versions(tmp_path: Path) -> None:
    with world(tmp_path) as w:
        app = scaled(w, 2)
        deploy(w, app)
        both = set(w.bbs.desired)
        w.bbs.desired = {}
        w.http.run(w.sync._everything())
        assert set(w.bbs.desired) == both and counts(w) == [1, 2]
        (_, _, _, associations) = w.copilot.calls[-1]
        assert set(associations[app]) == both


def test_meanwhile_the_process_is_left_alone(tmp_path: Path) -> None:
    with world(tmp_path) as w:
        app = scaled(w, 2)
        deployment = deploy(w, app)
        for method, path, body in (
            ("POST", f"/v3/processes/{app}/actions/scale", {"instances": 1}),
            ("PATCH", f"/v3/processes/{app}", {"command": "other"}),
            ("POST", f"/v3/apps/{app}/actions/stop", None),
            ("POST", f"/v3/apps/{app}/actions/restart", None),
        ):
            says = w.refused(method, path, body)
            assert "deploying" in says or "in flight" in says
        current = w.ask("GET", f"/v3/apps/{app}")["relationships"]["current_droplet"]["data"]
        w.refused("DELETE", f"/v3/droplets/{current['guid']}", None)
        w.ask("DELETE", f"/v3/apps/{app}", None, 202)
        assert w.bbs.desired == {}, "both versions are gone"
        w.refused("GET", f"/v3/deployments/{deployment}", None, 404)


def test_a_second_deployment_supersedes_the_first(tmp_path: Path) -> None:
    with world(tmp_path) as w:
        app = scaled(w, 1)
        first, second = deploy(w, app), deploy(w, app)
        assert status(w, first) == ("FINALIZED", "SUPERSEDED")
        w.bbs.run_all()
        go_on(w)
        assert status(w, second) == ("FINALIZED", "DEPLOYED") and counts(w) == [1]
        found = w.ask("GET", f"/v3/deployments?app_guids={app}&status_values=ACTIVE")["resources"]
        assert found == []


def test_deployments_that_cannot_be(tmp_path: Path) -> None:
    with world(tmp_path) as w:
        app = w.app("a")
        relationships = {"app": {"data": {"guid": app}}}
        says = w.refused("POST", "/v3/deployments", {"relationships": relationships})
        assert says.startswith("Invalid droplet.")
        nobody = {"app": {"data": {"guid": "x"}}}
        says = w.refused("POST", "/v3/deployments", {"relationships": nobody})
        assert says.startswith("Unable to use app.")
        w.droplet(app)
        w.ask("PATCH", f"/v3/processes/{app}", {"command": "./run"}, 200)
        for more in (
            {"droplet": {"guid": "x"}},
            {"strategy": "canary"},
            {"revision": {"guid": "x"}},
            {"options": {"max_in_flight": 0}},
            {"options": {"canary": 1}},
        ):
            w.refused("POST", "/v3/deployments", {"relationships": relationships, **more})
        deployment = deploy(w, app)
        assert status(w, deployment) == ("FINALIZED", "DEPLOYED"), "a stopped app is started"
        assert w.ask("GET", f"/v3/apps/{app}")["state"] == "STARTED"


def test_a_deployment_that_cannot_go_on_keeps_no_other_from_it(tmp_path: Path) -> None:
    with world(tmp_path) as w:
        app = scaled(w, 1)
        first = deploy(w, app)
        other = w.app("b", start=True)
        second = deploy(w, other)
        w.bbs.run_all()
        actual_lrps = w.bbs.actual_lrps

        async def broken(*, process_guid: str = "", cell_id: str = "") -> Any:
            if process_guid.startswith(app):
                raise KeyError("odd")
            return await actual_lrps(process_guid=process_guid)

        w.bbs.actual_lrps = broken  # type: ignore[method-assign]
        go_on(w)
        assert status(w, first) == ("ACTIVE", "DEPLOYING")
        assert status(w, second) == ("FINALIZED", "DEPLOYED")
        w.bbs.actual_lrps = actual_lrps  # type: ignore[method-assign]
        w.bbs.away = True
        go_on(w)
        w.bbs.away = False
        go_on(w)
        assert status(w, first) == ("FINALIZED", "DEPLOYED")


def test_an_app_that_is_deleted_while_it_is_started_has_no_deployment(tmp_path: Path) -> None:
    with world(tmp_path) as w:
        app = scaled(w, 1)
        w.ask("POST", f"/v3/apps/{app}/actions/stop", None, 200)

        async def desire(lrp: Any) -> None:
            w.records.apps.delete(app)

        w.bbs.desire = desire  # type: ignore[method-assign]
        body = {"relationships": {"app": {"data": {"guid": app}}}}
        assert w.refused("POST", "/v3/deployments", body, 404) == "App not found"
        assert w.records.deployments.all() == []
