"""Domains: made, shared, deleted, refused in CC's words; which of them the mesh serves."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from capi_world import DOMAINS, EXTERNAL, PLAIN, VIPS, World, world

from meshnet.capi.tenancy_records import FeatureFlag


@pytest.fixture
def w(tmp_path: Path) -> Iterator[World]:
    with world(tmp_path) as made:
        yield made


def made(w: World, name: str, **body: Any) -> dict[str, Any]:
    return dict(w.ask("POST", "/v3/domains", {"name": name, **body}, 201))


def of(*organizations: str) -> dict[str, Any]:
    """The relationships of a private domain: its owner, and whom it is shared with."""
    owner, *shared = organizations
    found: dict[str, Any] = {"organization": {"data": {"guid": owner}}}
    if shared:
        found["shared_organizations"] = {"data": [{"guid": guid} for guid in shared]}
    return {"relationships": found}


def names(w: World, path: str = "/v3/domains") -> list[str]:
    return [d["name"] for d in w.ask("GET", path, None, 200)["resources"]]


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("", "Name can't be blank"),
        ("  ", "Name can't be blank"),
        ("ab", "Name is too short (minimum is 3 characters)"),
        ("nodots", 'Name must contain at least one "."'),
        ("a_b.com", "Name must consist of alphanumeric characters and hyphens"),
        ("a\n.com", "Name must consist of alphanumeric characters and hyphens"),
        ("*.example.com", "Name must consist of alphanumeric characters and hyphens"),
        ("caf\u00e9.com", "Name must consist of alphanumeric characters and hyphens"),
        ("-a.com", "Name does not comply with RFC 1035 standards"),
        ("a..com", "Name does not comply with RFC 1035 standards"),
        (f"{'x' * 64}.com", "Name subdomains must each be at most 63 characters"),
        (".".join(["x" * 50] * 6), "Name is too long (maximum is 253 characters)"),
        ("Istio.Mesh.Lab", 'The domain name "Istio.Mesh.Lab" is already in use'),
    ],
)
def test_names_that_are_no_domains_are_refused(w: World, name: str, says: str) -> None:
    before = names(w)
    assert w.refused("POST", "/v3/domains", {"name": name}) == says
    assert names(w) == before


def test_shared_and_internal_domains_last(w: World, tmp_path: Path) -> None:
    shared = made(w, "Shop.Example.com", metadata={"labels": {"a": "b"}})
    assert (shared["internal"], shared["supported_protocols"]) == (False, ["http"])
    assert shared["relationships"]["organization"]["data"] is None
    assert made(w, "inner.example.com", internal=True)["internal"] is True
    with world(tmp_path) as again:
        path = f"/v3/domains/{shared['guid']}"
        assert again.ask("GET", path, None, 200) == shared
        assert set(names(again)) >= {"Shop.Example.com", "inner.example.com", EXTERNAL}


def test_the_lab_files_domains_keep_their_guids_and_dates(w: World, tmp_path: Path) -> None:
    before = w.ask("GET", "/v3/domains")["resources"]
    with world(tmp_path) as again:
        assert again.ask("GET", "/v3/domains")["resources"] == before
    fewer = [d for d in DOMAINS if d["name"] != PLAIN]
    with world(tmp_path, domains=fewer) as again:
        assert PLAIN not in names(again)
    with world(tmp_path) as again:
        assert again.domain(PLAIN) == w.domain(PLAIN)


@pytest.mark.parametrize(
    ("name", "internal", "served"),
    [
        ("team.istio.mesh.lab", False, True),
        ("a.b.ISTIO.mesh.lab", False, True),
        ("team.istio.apps.internal", True, True),
        ("team.istio.mesh.lab", True, False),
        ("mesh.lab", False, False),
        ("notistio.mesh.lab", False, False),
        ("team.apps.internal", True, False),
    ],
)
def test_the_mesh_serves_domains_below_its_own(
    w: World, name: str, internal: bool, served: bool
) -> None:
    made(w, name, internal=internal)
    w.route(name, "x")
    assert bool(w.copilot.calls) is served


def test_whom_a_domain_is_shared_with_is_told_to_those_who_see_them(w: World) -> None:
    one, two, three = (w.organization(n) for n in ("one", "two", "three"))
    guid = made(w, "private.com", **of(one, two, three))["guid"]
    space = w.space_in(two, "s")
    route = w.ask("POST", "/v3/routes", w.route_body("private.com", "x", space=space), 201)["guid"]
    w.user("ann", organization_user=two, space_developer=space)
    w.sign_in("ann")
    link = f"/v3/domains/{guid}/relationships/shared_organizations"
    assert w.ask("GET", link, None, 200)["data"] == [{"guid": two}]
    for path in (f"/v3/domains/{guid}", "/v3/domains?names=private.com"):
        found = w.ask("GET", path, None, 200)
        row = found["resources"][0] if "resources" in found else found
        assert row["relationships"]["shared_organizations"]["data"] == [{"guid": two}]
    found = w.ask("GET", f"/v3/routes/{route}?include=domain", None, 200)["included"]["domains"]
    assert found[0]["relationships"]["shared_organizations"]["data"] == [{"guid": two}]


def test_private_domains_are_their_organizations_and_its_friends(w: World) -> None:
    one, two, three = (w.organization(n) for n in ("one", "two", "three"))
    domain = made(w, "private.com", **of(one, two))
    guid = domain["guid"]
    assert domain["relationships"]["shared_organizations"]["data"] == [{"guid": two}]
    for org in (one, two):
        assert "private.com" in names(w, f"/v3/organizations/{org}/domains")
    assert "private.com" not in names(w, f"/v3/organizations/{three}/domains")
    space = w.space_in(three, "s")
    body = w.route_body("private.com", "x", space=space)
    says = w.refused("POST", "/v3/routes", body)
    assert says == (
        "Invalid domain. Domain 'private.com' is not available in organization 'three'."
    )
    path = f"/v3/domains/{guid}/relationships/shared_organizations"
    shared = w.ask("POST", path, {"data": [{"guid": three}]}, 200)["data"]
    assert {row["guid"] for row in shared} == {two, three}
    w.ask("POST", "/v3/routes", body, 201)
    assert "Delete the routes before unsharing" in w.refused("DELETE", f"{path}/{three}", None)
    assert w.refused("DELETE", f"/v3/domains/{guid}", None).endswith("Unshare before deleting.")
    w.ask("DELETE", f"{path}/{two}", None, 204)
    assert "Ensure the domain is shared" in w.refused("DELETE", f"{path}/{two}", None)
    assert w.ask("GET", path, None, 200)["data"] == [{"guid": three}]


def test_a_private_domain_may_have_a_route_without_host(w: World) -> None:
    org = w.organization("one")
    made(w, "private.com", **of(org))
    body = w.route_body("private.com", "", space=w.space_in(org, "s"))
    assert w.ask("POST", "/v3/routes", body, 201)["url"] == "private.com"
    says = w.refused("POST", "/v3/routes", body)
    assert says == "Route already exists for domain 'private.com'."


def test_what_belongs_together_or_not_at_all(w: World) -> None:
    org = w.organization("one")

    def says(**body: Any) -> str:
        return w.refused("POST", "/v3/domains", {"name": "x.com", **body})

    assert says(internal=True, **of(org)) == (
        "Cannot associate an internal domain with an organization"
    )
    shared_only = {"shared_organizations": {"data": [{"guid": org}]}}
    assert "without an owning organization" in says(relationships=shared_only)
    assert says(**of(org, org)) == "Domain cannot be shared with owning organization."
    assert says(**of("ghost")).startswith("Organization with guid 'ghost' does not exist")
    assert says(**of(org, "ghost")).startswith("Organization with guid 'ghost' does not exist")
    assert says(router_group={"guid": "g"}) == "Router group with guid 'g' not found."
    path = f"/v3/domains/{w.domain(EXTERNAL)}/relationships/shared_organizations"
    assert "unless they are scoped" in w.refused("POST", path, {"data": [{"guid": org}]})


def test_names_that_others_have_a_claim_to(w: World) -> None:
    one, two = w.organization("one"), w.organization("two")
    made(w, "one.com", **of(one))
    made(w, "sub.one.com", **of(one))

    def says(name: str, **body: Any) -> str:
        return w.refused("POST", "/v3/domains", {"name": name, **body})

    assert says("a.b.one.com", **of(two)) == (
        'The domain name "a.b.one.com" cannot be created because "one.com" is already reserved'
        " by another domain"
    )
    assert "reserved by another domain" in says("c.one.com")
    assert '"istio.mesh.lab" is already reserved' in says("mesh.lab", **of(two))
    made(w, "below.istio.mesh.lab", **of(two))
    w.route(EXTERNAL, "Taken")
    assert says("taken.istio.mesh.lab").endswith("is already reserved by a route")


def test_a_deleted_domain_takes_its_routes_along(w: World) -> None:
    guid = made(w, "team.istio.mesh.lab")["guid"]
    route = w.route("team.istio.mesh.lab", "x")
    reply = w.http.request("DELETE", f"/v3/domains/{guid}")
    assert w.http.get(reply.headers["location"]).json()["state"] == "COMPLETE"
    assert w.copilot.calls[-1] == ("delete", route)
    assert w.ask("GET", "/v3/routes")["resources"] == []
    assert w.refused("GET", f"/v3/domains/{guid}", None, 404) == "Domain not found"
    says = w.refused("DELETE", f"/v3/domains/{w.domain(EXTERNAL)}", None)
    assert "named in the lab file" in says


def test_reservations_say_whether_a_route_exists(w: World) -> None:
    w.route(EXTERNAL, "Shop", "/cart")
    path = f"/v3/domains/{w.domain(EXTERNAL)}/route_reservations"
    found = {
        query: w.ask("GET", f"{path}?{query}", None, 200)["matching_route"]
        for query in ("host=shop&path=/cart", "host=shop", "host=shop&path=/CART", "", "port=1")
    }
    assert found == {
        "host=shop&path=/cart": True,
        "host=shop": False,
        "host=shop&path=/CART": False,
        "": False,
        "port=1": False,
    }
    assert w.refused("GET", "/v3/domains/ghost/route_reservations", None, 404)


def test_the_default_domain_is_the_first_one_outside(w: World) -> None:
    org = w.organization("one")
    made(w, "aaa.com", **of(org))
    path = f"/v3/organizations/{org}/domains/default"
    assert w.ask("GET", path, None, 200)["name"] == EXTERNAL
    assert w.refused("GET", "/v3/organizations/ghost/domains/default", None, 404)


def test_what_roles_allow(w: World) -> None:
    one, two = w.organization("one"), w.organization("two")
    w.user("manager", organization_manager=one)
    w.user("member", organization_user=one)
    w.user("stranger", organization_manager=two)
    w.sign_in("manager")
    guid = made(w, "one.com", **of(one))["guid"]
    w.ask("PATCH", f"/v3/domains/{guid}", {"metadata": {"labels": {"a": "b"}}}, 200)
    w.refused("POST", "/v3/domains", {"name": "shared.com"}, 403)
    w.refused("PATCH", f"/v3/domains/{w.domain(EXTERNAL)}", {"metadata": {}}, 403)
    assert "do not have access" in w.refused(
        "POST", "/v3/domains", {"name": "x.com", **of(one, two)}
    )
    w.sign_in("member")
    assert "one.com" in names(w)
    w.refused("DELETE", f"/v3/domains/{guid}", None, 403)
    w.sign_in("stranger")
    assert names(w) == [EXTERNAL, VIPS, PLAIN]
    w.refused("GET", f"/v3/domains/{guid}", None, 404)


def test_quotas_and_flags_hold_private_domains_back(w: World) -> None:
    org = w.organization("one")
    w.user("manager", organization_manager=org)
    quota = w.records.organization_quotas.all()[0]
    w.records.organization_quotas.put(replace(quota, domains={"total_domains": 1}))
    made(w, "one.com", **of(org))
    says = w.refused("POST", "/v3/domains", {"name": "two.com", **of(org)})
    assert says == 'The number of private domains exceeds the quota for organization "one"'
    w.records.organization_quotas.put(replace(quota, domains={"total_domains": None}))
    w.records.feature_flags.put(FeatureFlag(guid="private_domain_creation", enabled=False))
    w.sign_in("manager")
    says = w.refused("POST", "/v3/domains", {"name": "two.com", **of(org)}, 403)
    assert says == "Feature Disabled: private_domain_creation"


def test_an_organization_that_goes_takes_its_domains_and_all_routes_in_them_along(
    w: World,
) -> None:
    owner, friend = w.organization("owner"), w.organization("friend")
    made(w, "mine.istio.mesh.lab", **of(owner, friend))
    body = w.route_body("mine.istio.mesh.lab", "x", space=w.space_in(friend, "s"))
    route = w.ask("POST", "/v3/routes", body, 201)["guid"]
    w.ask("DELETE", f"/v3/organizations/{owner}", None, 202)
    assert w.copilot.calls[-1] == ("delete", route)
    assert w.ask("GET", "/v3/routes")["resources"] == []
    assert "mine.istio.mesh.lab" not in names(w)
