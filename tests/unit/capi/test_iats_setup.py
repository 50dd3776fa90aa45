"""What Istio's acceptance tests do before and after each run, request by request."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from urllib.parse import quote

from capi_world import EXTERNAL, World, world
from tenancy_world import create_org, create_space, create_user, finished, role_body, to_one

QUOTA = {
    "name": "IATS-quota",
    "apps": {
        "total_memory_in_mb": 10240,
        "per_process_memory_in_mb": None,
        "total_instances": None,
    },
    "services": {"total_service_instances": 100, "paid_services_allowed": True},
    "routes": {"total_routes": 1000, "total_reserved_ports": 20},
}


def set_up(w: World) -> tuple[str, str, str, str]:
    """quota, org, space, user."""
    quota = str(w.ask("POST", "/v3/organization_quotas", QUOTA, 201)["guid"])
    org = create_org(w, "IATS-org")
    (found,) = w.ask("GET", "/v3/organizations?names=IATS-org")["resources"]
    assert found["guid"] == org
    (found,) = w.ask("GET", "/v3/organization_quotas?names=IATS-quota")["resources"]
    given = {"data": [{"guid": org}]}
    path = f"/v3/organization_quotas/{quota}/relationships/organizations"
    assert w.ask("POST", path, given, 200)["data"] == [{"guid": org}]
    space = create_space(w, org, "IATS-space")
    me = w.records.uaa.users.named("admin")
    assert me is not None
    w.ask("POST", "/v3/roles", role_body("organization_user", org, guid=me.guid), 201)
    w.ask("POST", "/v3/roles", role_body("space_manager", space, guid=me.guid), 201)
    says = w.refused("POST", "/v3/roles", role_body("organization_user", org, guid=me.guid))
    assert says == "User 'admin' already has 'organization_user' role in organization 'IATS-org'."
    w.ask("POST", "/v3/roles", role_body("space_developer", space, guid=me.guid), 201)
    user = create_user(w, "IATS-user", "secret")
    for n, kind in enumerate(("space_manager", "space_developer", "space_auditor")):
        body = role_body("organization_user", org, username="IATS-user")
        w.ask("POST", "/v3/roles", body, 422 if n else 201)
        w.ask("POST", "/v3/roles", role_body(kind, space, username="IATS-user"), 201)
    return quota, org, space, user


def test_set_up_a_run_and_teardown(tmp_path: Path) -> None:
    with world(tmp_path) as w:
        before = {kind: len(list(table)) for kind, table in tables(w).items()}
        quota, org, space, user = set_up(w)
        w.sign_in("IATS-user", "secret")
        (seen,) = w.ask("GET", "/v3/organizations?order_by=name")["resources"]
        assert seen["guid"] == org
        (seen,) = w.ask("GET", f"/v3/spaces?order_by=name&organization_guids={org}")["resources"]
        assert seen["guid"] == space
        body = {"name": "a", "relationships": {"space": to_one(space)}}
        app = str(w.ask("POST", "/v3/apps", body, 201)["guid"])
        domain = w.domain(EXTERNAL)
        relationships = {"space": to_one(space), "domain": to_one(domain)}
        route = {"host": "IATS-1-host", "relationships": relationships}
        route_guid = str(w.ask("POST", "/v3/routes", route, 201)["guid"])
        w.map(route_guid, app)
        w.sign_in()
        query = quote('userName eq "IATS-user"')
        (found,) = w.ask("GET", f"/Users?filter={query}")["resources"]
        assert (found["id"], found["origin"]) == (user, "uaa")
        assert finished(w, "DELETE", f"/v3/users/{user}")["operation"] == "user.delete"
        w.ask("DELETE", f"/Users/{user}", None, 200)
        assert "applied" in w.refused("DELETE", f"/v3/organization_quotas/{quota}", None)
        assert finished(w, "DELETE", f"/v3/organizations/{org}")["operation"] == (
            "organization.delete"
        )
        finished(w, "DELETE", f"/v3/organization_quotas/{quota}")
        w.refused("GET", f"/v3/apps/{app}", None, 404)
        w.refused("GET", f"/v3/spaces/{space}", None, 404)
        assert ("delete", route_guid) in w.copilot.calls
        assert [record.guid for record in w.records.departed] == [app]
        assert before == {kind: len(list(table)) for kind, table in tables(w).items()}


def tables(w: World) -> dict[str, Iterable[object]]:
    """Every table but those that only remember: jobs, and apps the policy server hears of."""
    r = w.records
    return {
        "organizations": r.organizations,
        "spaces": r.spaces,
        "roles": r.roles,
        "users": r.users,
        "quotas": r.organization_quotas,
        "space quotas": r.space_quotas,
        "apps": r.apps,
        "routes": r.routes,
        "domains": r.domains,
        "droplets": r.droplets,
        "uaa users": r.uaa.users,
    }
