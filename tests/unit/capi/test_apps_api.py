"""Apps: their shape, what may be changed of one, what lists of them understand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from capi_world import world


def test_an_app_is_shown_as_cc_shows_it(tmp_path: Path) -> None:
    with world(tmp_path) as w:
        body = {
            "name": "a",
            "relationships": {"space": {"data": {"guid": w.space}}},
            "environment_variables": {"K": "V"},
            "lifecycle": {
                "type": "buildpack",
                "data": {"buildpacks": ["binary_buildpack"], "stack": "cflinuxfs4"},
            },
            "metadata": {"labels": {"team": "mesh"}, "annotations": {"note": "x"}},
        }
        app = w.ask("POST", "/v3/apps", body, 201)
        assert app["lifecycle"] == body["lifecycle"] and app["metadata"] == body["metadata"]
        assert app["relationships"]["space"]["data"]["guid"] == w.space
        assert app["relationships"]["current_droplet"] == {"data": None}
        guid = app["guid"]
        assert app["links"]["start"] == {
            "href": f"http://10.0.16.2/v3/apps/{guid}/actions/start",
            "method": "POST",
        }
        for name in ("self", "environment_variables", "space", "processes", "packages", "droplets"):
            path = app["links"][name]["href"].removeprefix("http://10.0.16.2")
            w.ask("GET", path, None, 200)
        shown = w.ask("GET", f"/v3/apps/{guid}?include=space,org", None, 200)
        assert [s["guid"] for s in shown["included"]["spaces"]] == [w.space]
        assert [o["name"] for o in shown["included"]["organizations"]] == ["system"]


def test_an_app_is_changed_and_what_is_not_named_stays(tmp_path: Path) -> None:
    with world(tmp_path) as w:
        app, other = w.app("a"), w.app("other")
        change = {"name": "b", "metadata": {"labels": {"x": "1"}}}
        w.ask("PATCH", f"/v3/apps/{app}", change, 200)
        stack = {"lifecycle": {"type": "buildpack", "data": {"stack": "cflinuxfs3"}}}
        found = w.ask("PATCH", f"/v3/apps/{app}", stack, 200)
        assert (found["name"], found["metadata"]["labels"]) == ("b", {"x": "1"})
        assert found["lifecycle"]["data"] == {"buildpacks": [], "stack": "cflinuxfs3"}
        removed = {"metadata": {"labels": {"x": None}}}
        assert w.ask("PATCH", f"/v3/apps/{app}", removed, 200)["metadata"]["labels"] == {}
        assert "already exists" in w.refused("PATCH", f"/v3/apps/{app}", {"name": "OTHER"})
        w.ask("PATCH", f"/v3/apps/{app}", {"name": "B"}, 200)
        assert w.ask("GET", f"/v3/apps/{other}")["name"] == "other"


@pytest.mark.parametrize(
    ("lifecycle", "says"),
    [
        ({"type": "docker"}, "Docker images cannot be run here"),
        ({"type": "cnb"}, "Lifecycle type must be"),
        ({"data": {"buildpacks": "x"}}, "Buildpacks can only contain strings"),
        ({"data": {"buildpacks": [1]}}, "Buildpacks can only contain strings"),
        ({"data": {"buildpacks": ["nonsense"]}}, "must be an existing admin buildpack"),
        ({"data": {"buildpacks": ["https://x y/z"]}}, "must be an existing admin buildpack"),
        ({"data": {"stack": "windows"}}, "Stack must be an existing stack"),
        ({"data": {"stack": 1}}, "Stack must be a string"),
        ({"data": {"colour": 1}}, "Unknown field(s): 'colour'"),
    ],
)
def test_lifecycles_that_are_not_here(tmp_path: Path, lifecycle: dict[str, Any], says: str) -> None:
    with world(tmp_path) as w:
        app = w.app("a")
        body = {"name": "b", "lifecycle": lifecycle}
        assert says in w.refused("PATCH", f"/v3/apps/{app}", body)
        assert w.ask("GET", f"/v3/apps/{app}")["name"] == "a", "nothing of it is done"


def test_lists_of_apps_understand_cc_s_filters(tmp_path: Path) -> None:
    with world(tmp_path) as w:
        guids = [w.app(name) for name in ("b", "a", "c")]
        w.ask("PATCH", f"/v3/apps/{guids[0]}", {"metadata": {"labels": {"tier": "web"}}}, 200)
        org = w.ask("GET", "/v3/organizations?names=system")["resources"][0]["guid"]

        def names(query: str) -> list[str]:
            found = w.ask("GET", f"/v3/apps?{query}", None, 200)["resources"]
            return [app["name"] for app in found]

        assert names("order_by=name") == ["a", "b", "c"]
        assert names("order_by=-name") == ["c", "b", "a"]
        assert names(f"guids={guids[1]},{guids[2]}&order_by=name") == ["a", "c"]
        assert names("guids=") == [] and names(f"space_guids={w.space}&names=a,zz") == ["a"]
        assert len(names(f"organization_guids={org}")) == 3 and names("stacks=x") == []
        assert names("label_selector=tier=web") == ["b"]
        assert names("label_selector=!tier&order_by=name") == ["a", "c"]
        page = w.ask("GET", "/v3/apps?per_page=2&page=2&order_by=name", None, 200)
        assert [a["name"] for a in page["resources"]] == ["c"]
        assert page["pagination"]["total_results"] == 3
        included = w.ask("GET", "/v3/apps?include=space", None, 200)["included"]
        assert [space["guid"] for space in included["spaces"]] == [w.space]
        assert "Unknown query parameter" in w.refused("GET", "/v3/apps?colour=1", None, 400)


def test_features_permissions_and_what_is_not_here(tmp_path: Path) -> None:
    with world(tmp_path) as w:
        app = w.app("a")
        path = f"/v3/apps/{app}"
        found = w.ask("GET", f"{path}/features", None, 200)["resources"]
        assert {f["name"]: f["enabled"] for f in found} == {"ssh": True, "revisions": True}
        w.ask("PATCH", f"{path}/features/ssh", {"enabled": False}, 200)
        assert w.ask("GET", f"{path}/features/ssh", None, 200)["enabled"] is False
        assert w.refused("GET", f"{path}/features/x", None, 404) == "Feature not found"
        assert w.ask("GET", f"{path}/ssh_enabled", None, 200)["enabled"] is False
        both = {"read_basic_data": True, "read_sensitive_data": True}
        assert w.ask("GET", f"{path}/permissions", None, 200) == both
        assert w.ask("GET", f"{path}/revisions", None, 200)["resources"] == []
        no_droplet = f"{path}/relationships/current_droplet"
        assert w.refused("GET", no_droplet, None, 404) == "Droplet not found"
        assert w.refused("GET", f"{path}/droplets/current", None, 404) == "Droplet not found"


def test_a_droplet_is_copied_listed_and_deleted_unless_it_is_in_use(tmp_path: Path) -> None:
    with world(tmp_path) as w:
        app, other = w.app("a"), w.app("b")
        droplet = w.droplet(app)
        body = {"relationships": {"app": {"data": {"guid": other}}}}
        copy = w.ask("POST", f"/v3/droplets?source_guid={droplet}", body, 201)
        assert copy["state"] == "STAGED" and copy["guid"] != droplet
        first, second = (w.http.get(f"/v3/droplets/{g}/download") for g in (droplet, copy["guid"]))
        assert first.content == second.content and first.content
        listed = w.ask("GET", f"/v3/apps/{other}/droplets?states=STAGED", None, 200)["resources"]
        assert [d["guid"] for d in listed] == [copy["guid"]]
        assert "current one" in w.refused("DELETE", f"/v3/droplets/{droplet}", None)
        w.ask("DELETE", f"/v3/droplets/{copy['guid']}", None, 202)
        assert [p.name for p in w.droplet_dir.iterdir()] == [droplet]
        nothing = f"/v3/droplets?source_guid={copy['guid']}"
        assert w.refused("POST", nothing, body, 404) == "Droplet not found"
        labels = {"metadata": {"labels": {"x": "y"}}}
        assert w.ask("PATCH", f"/v3/droplets/{droplet}", labels, 200)["metadata"]["labels"]


def test_the_description_is_here_and_its_page_loads_nothing_else(tmp_path: Path) -> None:
    with world(tmp_path) as w:
        page = w.http.get("/docs").text
        assert (
            "/v3/apps/{guid}/actions/{action}" in page
            and "http" not in page.replace('<a href="openapi.json">', "").split("<table>")[0]
        )
        described = w.http.get("/openapi.json").json()
        create = described["paths"]["/v3/apps"]["post"]["responses"]
        assert {"201", "401", "422"} <= create.keys()
