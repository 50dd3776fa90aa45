"""Routes: what is refused and in which words, what Copilot hears and in which order."""

from __future__ import annotations

from pathlib import Path

import pytest
from capi_world import DOMAINS, EXTERNAL, PLAIN, VIPS, World, world


@pytest.mark.parametrize(
    ("domain", "host", "path", "says"),
    [
        (EXTERNAL, "", "", "Missing host"),
        (EXTERNAL, "a.b", "", 'Host must be either "*" or contain only alphanumeric'),
        (EXTERNAL, "caf\u00e9", "", "Host must be either"),
        (EXTERNAL, "a\n", "", "Host must be either"),
        (EXTERNAL, "x" * 64, "", "Host is too long (maximum is 63 characters)"),
        (VIPS, "*", "", "Wildcard hosts are not supported for internal domains."),
        (VIPS, "x", "/p", "Paths are not supported for internal domains."),
        (EXTERNAL, "x", "/", "Path cannot be a single slash"),
        (EXTERNAL, "x", "p", "Path must start with a forward slash"),
        (EXTERNAL, "x", "/p?q", "Path cannot contain a question mark"),
        (EXTERNAL, "x", "/p#q", "Path must be a valid URI"),
        (EXTERNAL, "x", "/p q", "Path must be a valid URI"),
        (EXTERNAL, "x", "/" + "p" * 128, "Path is too long (maximum is 128 characters)"),
    ],
)
def test_a_route_that_makes_no_sense_is_refused_and_changes_nothing(
    tmp_path: Path, domain: str, host: str, path: str, says: str
) -> None:
    with world(tmp_path) as w:
        assert says in w.refused("POST", "/v3/routes", w.route_body(domain, host, path))
        assert w.ask("GET", "/v3/routes")["resources"] == []
        assert w.copilot.calls == []


def test_a_second_route_of_the_same_name_is_refused_in_ccs_words(tmp_path: Path) -> None:
    with world(tmp_path) as w:
        w.route(EXTERNAL, "Shop")
        w.route(EXTERNAL, "shop", "/cart")
        says = w.refused("POST", "/v3/routes", w.route_body(EXTERNAL, "shop"))
        assert says == "Route already exists with host 'shop' for domain 'istio.mesh.lab'."
        says = w.refused("POST", "/v3/routes", w.route_body(EXTERNAL, "SHOP", "/cart"))
        assert "with host 'SHOP' and path '/cart' for domain" in says


def test_a_deleted_routes_name_is_free_again(tmp_path: Path) -> None:
    with world(tmp_path) as w:
        route = w.route(EXTERNAL, "shop")
        w.ask("DELETE", f"/v3/routes/{route}", None, 202)
        again = w.route(EXTERNAL, "shop")
        assert w.copilot.calls[-2:] == [
            ("delete", route),
            ("upsert", "shop.istio.mesh.lab", "", False),
        ]
        assert again != route


def test_copilot_hears_of_a_mapping_before_the_api_answers(tmp_path: Path) -> None:
    with world(tmp_path) as w:
        app, route = w.app("a"), w.route(VIPS, "Back")
        w.map(route, app)
        assert w.copilot.calls == [
            ("upsert", "Back.istio.apps.internal", "", True),
            ("map", route, app, 1),
        ]
        w.map(route, app)  # mapped already: nothing to say
        assert len(w.copilot.calls) == 2
        (row,) = w.ask("GET", f"/v3/routes/{route}/destinations")["destinations"]
        w.ask("DELETE", f"/v3/routes/{route}/destinations/{row['guid']}", None, 204)
        assert w.copilot.calls[2:] == [("unmap", route, app)]


def test_weights_replace_all_destinations_and_only_differences_are_told(tmp_path: Path) -> None:
    with world(tmp_path) as w:
        a, b, c = w.app("a"), w.app("b"), w.app("c")
        route = w.route(EXTERNAL, "split")
        w.map(route, a, b)
        del w.copilot.calls[:]
        rows = [{"app": {"guid": a}, "weight": 1}, {"app": {"guid": c}, "weight": 9}]
        w.ask("PATCH", f"/v3/routes/{route}/destinations", {"destinations": rows}, 200)
        assert w.copilot.calls == [("map", route, c, 9), ("unmap", route, b)]
        path = f"/v3/routes/{route}/destinations"
        says = w.refused("POST", path, {"destinations": [{"app": {"guid": b}}]})
        assert "when there are weighted destinations already" in says
        rows[0].pop("weight")
        assert "both weighted and unweighted" in w.refused("PATCH", path, {"destinations": rows})
        for weight in (0, 129, -1):
            rows = [{"app": {"guid": a}, "weight": weight}]
            says = w.refused("PATCH", path, {"destinations": rows})
            assert says == "Weight must be between 1 and 128"
        twice = [{"app": {"guid": a}}, {"app": {"guid": a}}]
        assert "duplicate" in w.refused("PATCH", path, {"destinations": twice})


def test_a_route_to_no_app_or_domain_is_refused(tmp_path: Path) -> None:
    with world(tmp_path) as w:
        route = w.route(EXTERNAL, "x")
        body = {"destinations": [{"app": {"guid": "ghost"}}]}
        assert "ghost" in w.refused("POST", f"/v3/routes/{route}/destinations", body)
        body = w.route_body(EXTERNAL, "y")
        body["relationships"]["domain"]["data"]["guid"] = "nowhere"
        assert w.refused("POST", "/v3/routes", body).startswith("Invalid domain.")
        assert w.refused("GET", "/v3/routes/ghost", None, 404) == "Route not found"


def test_filters(tmp_path: Path) -> None:
    with world(tmp_path) as w:
        app = w.app("a")
        bare, path = w.route(EXTERNAL, "Shop"), w.route(EXTERNAL, "shop", "/cart")
        w.map(path, app)

        def found(query: str) -> set[str]:
            rows = w.ask("GET", f"/v3/routes?{query}", None, 200)["resources"]
            return {str(r["guid"]) for r in rows}

        assert found("hosts=SHOP") == {bare, path}
        assert found("hosts=shop&paths=") == {bare}, "an empty value is a value"
        assert found("paths=/cart") == {path} and found("paths=/Cart") == set()
        assert found(f"app_guids={app},other") == {path}
        assert found("guids=") == set()
        assert "Unknown query parameter(s): 'host'" in w.refused(
            "GET", "/v3/routes?host=shop", None, 400
        )


def test_plain_internal_routes_go_to_bbs_and_not_to_copilot(tmp_path: Path) -> None:
    with world(tmp_path) as w:
        app = w.app("a", start=True)
        del w.copilot.calls[:]
        w.map(w.route(PLAIN, "Plain"), app)
        (lrp,) = w.bbs.desired.values()
        routes = lrp.routes.routes["internal-router"]
        assert routes == b'[{"hostname": "plain.apps.internal"}]'
        assert w.copilot.calls == []


def test_routes_of_a_domain_that_is_no_more_are_kept_out_of_sight(tmp_path: Path) -> None:
    with world(tmp_path) as w:
        gone, stays = w.route(PLAIN, "gone"), w.route(EXTERNAL, "stays")
    without = [d for d in DOMAINS if d["name"] != PLAIN]
    with world(tmp_path, domains=without) as w:
        assert [r["guid"] for r in w.ask("GET", "/v3/routes", None, 200)["resources"]] == [stays]
    with world(tmp_path) as w:
        assert {r["guid"] for r in w.ask("GET", "/v3/routes")["resources"]} == {gone, stays}


def test_indexes_follow_every_change_and_a_restart(tmp_path: Path) -> None:
    def seen(w: World, app: str) -> list[str]:
        rows = w.ask("GET", f"/v3/apps/{app}/routes", None, 200)["resources"]
        return sorted(str(r["host"]) for r in rows)

    with world(tmp_path) as w:
        a, b = w.app("a"), w.app("b")
        one, two = w.route(EXTERNAL, "one"), w.route(EXTERNAL, "two")
        w.map(one, a, b)
        w.map(two, a)
        assert (seen(w, a), seen(w, b)) == (["one", "two"], ["one"])
        w.ask("PATCH", f"/v3/routes/{one}/destinations", {"destinations": []}, 200)
        w.ask("DELETE", f"/v3/routes/{two}", None, 202)
        assert (seen(w, a), seen(w, b)) == ([], [])
        w.map(one, b)
    with world(tmp_path) as w:
        assert (seen(w, a), seen(w, b)) == ([], ["one"])
