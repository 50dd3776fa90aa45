"""Routes: what is refused and in which words, what Copilot hears and in which order."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from capi_world import DOMAINS, EXTERNAL, PLAIN, VIPS, World, world

from meshnet.capi.tenancy_records import FeatureFlag


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
        assert "when there are weighted destinations already configured" in says
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
        assert found(f"app_guids={app},other,{app}") == {path}
        assert found(f"app_guids={app}&paths=") == set()
        domain = w.domain(EXTERNAL)
        assert found(f"domain_guids={domain},x&hosts=SHOP,other,shop") == {bare, path}
        assert found(f"domain_guids={domain}&hosts=shop&paths=") == {bare}
        assert found(f"domain_guids={domain}&hosts=") == set()
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


def elsewhere(w: World, name: str = "other") -> tuple[str, str]:
    """Another organization and its space."""
    organization = w.organization(name)
    return organization, w.space_in(organization, "space")


def test_a_host_is_one_spaces_alone(tmp_path: Path) -> None:
    with world(tmp_path) as w:
        w.route(EXTERNAL, "shop")
        _, space = elsewhere(w)
        body = w.route_body(EXTERNAL, "SHOP", "/cart", space=space)
        says = w.refused("POST", "/v3/routes", body)
        assert says == "Routes for this host and domain have been reserved for another space."
        w.ask("POST", "/v3/routes", w.route_body(EXTERNAL, "bazaar", "/cart", space=space), 201)


def test_a_route_leads_to_apps_of_its_own_space_only(tmp_path: Path) -> None:
    with world(tmp_path) as w:
        app = w.app("a")
        _, space = elsewhere(w)
        body = w.route_body(EXTERNAL, "x", space=space)
        route = w.ask("POST", "/v3/routes", body, 201)["guid"]
        body = {"destinations": [{"app": {"guid": app}}]}
        for method in ("POST", "PATCH"):
            says = w.refused(method, f"/v3/routes/{route}/destinations", body)
            assert says == "Routes cannot be mapped to destinations in different spaces."


def test_host_and_domain_together_make_a_name(tmp_path: Path) -> None:
    with world(tmp_path) as w:
        w.ask("POST", "/v3/domains", {"name": "team.istio.mesh.lab"}, 201)
        says = w.refused("POST", "/v3/routes", w.route_body(EXTERNAL, "TEAM"))
        assert says == "Route conflicts with domain 'TEAM.istio.mesh.lab'."
        long = ".".join("x" * 60 for _ in range(4))
        w.ask("POST", "/v3/domains", {"name": long}, 201)
        w.route(long, "y" * 9)
        says = w.refused("POST", "/v3/routes", w.route_body(long, "y" * 10))
        assert says == "Host combined with domain name must be no more than 253 characters."


def test_a_route_shows_when_and_where_and_with_what(tmp_path: Path) -> None:
    with world(tmp_path) as w:
        body = {**w.route_body(EXTERNAL, "Shop", "/cart"), "metadata": {"labels": {"a": "b"}}}
        made = w.ask("POST", "/v3/routes", body, 201)
        path = f"/v3/routes/{made['guid']}"
        assert made["url"] == "Shop.istio.mesh.lab/cart"
        assert made["links"]["self"]["href"] == f"http://10.0.16.2{path}"
        assert made["links"]["destinations"]["href"] == f"http://10.0.16.2{path}/destinations"
        metadata = {"labels": {"c": "d"}, "annotations": {"note": "x"}}
        changed = w.ask("PATCH", path, {"metadata": metadata}, 200)
        assert changed["metadata"]["labels"] == {"a": "b", "c": "d"}
        assert w.ask("GET", path, None, 200) == changed
        assert w.ask("GET", "/v3/routes?label_selector=c=d")["resources"] == [changed]
        assert w.ask("GET", "/v3/routes?label_selector=c=e")["resources"] == []
        assert "invalid characters" in w.refused(
            "PATCH", path, {"metadata": {"labels": {"a": "b c"}}}
        )
        assert "Unknown field(s): 'host'" in w.refused("PATCH", path, {"host": "other"})


def test_include_adds_domains_spaces_and_organizations_once(tmp_path: Path) -> None:
    with world(tmp_path) as w:
        one = w.route(EXTERNAL, "one")
        w.route(EXTERNAL, "two")
        query = "include=domain,space,space.organization"
        for path in ("/v3/routes", f"/v3/routes/{one}"):
            found = w.ask("GET", f"{path}?{query}", None, 200)["included"]
            assert [d["name"] for d in found["domains"]] == [EXTERNAL]
            assert [s["guid"] for s in found["spaces"]] == [w.space]
            assert [o["name"] for o in found["organizations"]] == ["system"]
        assert "Invalid included resource: 'app'" in w.refused(
            "GET", f"/v3/routes/{one}?include=app", None, 400
        )


def test_lists_of_routes_by_organization_and_port(tmp_path: Path) -> None:
    with world(tmp_path) as w:
        here = w.route(EXTERNAL, "here")
        organization, space = elsewhere(w)
        body = w.route_body(EXTERNAL, "there", space=space)
        there = w.ask("POST", "/v3/routes", body, 201)["guid"]

        def found(query: str) -> list[str]:
            return [r["guid"] for r in w.ask("GET", f"/v3/routes?{query}", None, 200)["resources"]]

        assert found(f"organization_guids={organization}") == [there]
        assert found(f"space_guids={w.space}") == [here]
        assert found("order_by=-created_at&ports=0") == [there, here]
        assert found("ports=8080") == []


def test_process_types_are_kept_apart(tmp_path: Path) -> None:
    with world(tmp_path) as w:
        app, route = w.app("a"), w.route(EXTERNAL, "x")
        path = f"/v3/routes/{route}/destinations"
        worker = {"app": {"guid": app, "process": {"type": "worker"}}}
        body = {"destinations": [{"app": {"guid": app, "process": None}}, worker]}
        rows = w.ask("POST", path, body, 200)["destinations"]
        assert [d["app"]["process"]["type"] for d in rows] == ["web", "worker"]
        assert w.copilot.calls[-2:] == [("map", route, app, 1), ("map", route, f"{app}-worker", 1)]
        assert w.ask("PATCH", path, {"destinations": [worker]}, 200)["destinations"] == [rows[1]]
        assert w.copilot.calls[-1] == ("unmap", route, app)
        assert "process must have the structure" in w.refused(
            "POST", path, {"destinations": [{"app": {"guid": app, "process": {"type": ""}}}]}
        )


@pytest.mark.parametrize(
    ("extra", "says"),
    [
        ({"port": 9090}, "Destinations[0]: port must be 8080."),
        ({"protocol": "http2"}, "Destinations[0]: protocol must be 'http1'."),
        ({"weight": 1}, "Destinations[0]: weighted destinations can only be used when replacing"),
        ({"color": "red"}, "Unknown field(s): 'color'"),
    ],
)
def test_destinations_the_mesh_cannot_serve_are_refused(
    tmp_path: Path, extra: dict[str, object], says: str
) -> None:
    with world(tmp_path) as w:
        app, route = w.app("a"), w.route(EXTERNAL, "x")
        path = f"/v3/routes/{route}/destinations"
        body = {"destinations": [{"app": {"guid": app}, **extra}]}
        assert w.refused("POST", path, body).startswith(says)
        body = {"destinations": [{"app": {"guid": app}, "port": 8080, "protocol": "http1"}]}
        w.ask("POST", path, body, 200)


def test_how_many_destinations_a_call_may_have(tmp_path: Path) -> None:
    with world(tmp_path) as w:
        route = w.route(EXTERNAL, "x")
        path = f"/v3/routes/{route}/destinations"
        says = w.refused("POST", path, {"destinations": []})
        assert says.startswith("Destinations must be an array containing between 1 and 100 dest")
        many = [{"app": {"guid": f"a{i}"}} for i in range(101)]
        assert "between 0 and 100" in w.refused("PATCH", path, {"destinations": many})
        assert "Destinations must be an array" in w.refused("POST", path, {"destinations": "all"})


def test_one_weighted_destination_is_not_unmapped_alone(tmp_path: Path) -> None:
    with world(tmp_path) as w:
        a, b, route = w.app("a"), w.app("b"), w.route(EXTERNAL, "x")
        path = f"/v3/routes/{route}/destinations"
        rows = [{"app": {"guid": a}, "weight": 1}, {"app": {"guid": b}, "weight": 9}]
        row = w.ask("PATCH", path, {"destinations": rows}, 200)["destinations"][0]
        says = w.refused("DELETE", f"{path}/{row['guid']}", None)
        assert says == "Weighted destinations cannot be deleted individually."
        says = w.refused("DELETE", f"{path}/ghost", None)
        assert says.startswith("Unable to unmap route from destination.")
        kept = w.ask("PATCH", path, {"destinations": rows[:1]}, 200)["destinations"]
        assert kept == [row]


def test_routes_that_lead_nowhere_are_deleted_together(tmp_path: Path) -> None:
    with world(tmp_path) as w:
        app = w.app("a")
        kept = w.route(EXTERNAL, "kept")
        w.map(kept, app)
        w.route(EXTERNAL, "one")
        w.route(VIPS, "two")
        path = f"/v3/spaces/{w.space}/routes"
        assert w.refused("DELETE", path, None).startswith("Mass delete not supported")
        assert w.refused("DELETE", "/v3/spaces/ghost/routes?unmapped=true", None, 404)
        reply = w.http.request("DELETE", f"{path}?unmapped=true")
        job = w.http.get(reply.headers["location"]).json()
        assert (job["state"], job["operation"]) == ("COMPLETE", "space.delete_unmapped_routes")
        assert [r["guid"] for r in w.ask("GET", "/v3/routes")["resources"]] == [kept]


def test_what_roles_allow(tmp_path: Path) -> None:
    with world(tmp_path) as w:
        app, route = w.app("a"), w.route(EXTERNAL, "x")
        organization, _ = elsewhere(w)
        create, space = w.route_body(EXTERNAL, "y"), w.space
        destinations = {"destinations": [{"app": {"guid": app}}]}
        wild = {**create, "host": "*"}
        w.user("dev", space_developer=space)
        w.user("auditor", space_auditor=space)
        w.user("supporter", space_supporter=space)
        w.user("stranger", organization_manager=organization)
        path = f"/v3/routes/{route}"
        forbidden = "You are not authorized to perform the requested action"

        w.sign_in("dev")
        w.ask("POST", f"{path}/destinations", destinations, 200)
        assert "wildcard host" in w.refused("POST", "/v3/routes", wild)
        made = w.ask("POST", "/v3/routes", create, 201)["guid"]
        w.ask("DELETE", f"/v3/routes/{made}", None, 202)

        w.sign_in("auditor")
        assert len(w.ask("GET", "/v3/routes", None, 200)["resources"]) == 1
        assert w.refused("POST", "/v3/routes", create, 403) == forbidden
        assert w.refused("POST", f"{path}/destinations", destinations, 403) == forbidden
        assert w.refused("DELETE", path, None, 403) == forbidden
        assert w.refused("PATCH", path, {"metadata": {}}, 403) == forbidden

        w.sign_in("supporter")
        w.ask("PATCH", f"{path}/destinations", destinations, 200)
        made = w.ask("POST", "/v3/routes", create, 201)["guid"]
        w.ask("DELETE", f"/v3/routes/{made}", None, 202)

        w.sign_in("stranger")
        assert w.ask("GET", "/v3/routes", None, 200)["resources"] == []
        assert w.refused("GET", path, None, 404) == "Route not found"
        assert w.refused("POST", "/v3/routes", create).startswith("Invalid space. Ensure that")
        w.sign_in()
        w.ask("POST", "/v3/routes", wild, 201)


def test_quotas_and_flags_hold_routes_back(tmp_path: Path) -> None:
    with world(tmp_path) as w:
        w.route(EXTERNAL, "one")
        body, space = w.route_body(EXTERNAL, "two"), w.space
        quota = w.records.organization_quotas.all()[0]
        w.records.organization_quotas.put(replace(quota, routes={"total_routes": 1}))
        says = w.refused("POST", "/v3/routes", body)
        assert says == "Routes quota exceeded for organization 'system'."
        w.records.organization_quotas.put(replace(quota, routes={"total_routes": None}))
        w.user("dev", space_developer=space)
        w.records.feature_flags.put(FeatureFlag(guid="route_creation", enabled=False))
        w.sign_in("dev")
        says = w.refused("POST", "/v3/routes", body, 403)
        assert says == "Feature Disabled: route_creation"
        w.sign_in()
        w.ask("POST", "/v3/routes", body, 201)
