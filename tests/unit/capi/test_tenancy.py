"""Organizations, spaces, roles and quotas: what they are, and what is refused in which words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from capi_world import EXTERNAL, world
from tenancy_world import (
    create_org,
    create_space,
    create_user,
    finished,
    give,
    role_body,
    to_one,
)

BAD_NAMES = [
    ({}, "Name can't be blank"),
    ({"name": ""}, "Name can't be blank"),
    ({"name": "  "}, "Name can't be blank"),
    ({"name": "x" * 256}, "Name is too long (maximum is 255 characters)"),
    ({"name": 5}, "Name must be a string"),
    ({"name": None}, "Name must be a string"),
    ({"name": "a\nb"}, "Name must not contain escaped characters"),
    ({"name": "a\ud800"}, "Name must not contain escaped characters"),
    ({"name": "x", "size": 1}, "Unknown field(s): 'size'"),
    ({"name": "x", "si\ud800ze": 1}, "Body must be valid Unicode"),
]


@pytest.mark.parametrize(("body", "says"), BAD_NAMES, ids=range(len(BAD_NAMES)))
@pytest.mark.parametrize("kind", ["organizations", "spaces", "organization_quotas", "space_quotas"])
def test_names(tmp_path: Path, kind: str, body: dict[str, Any], says: str) -> None:
    with world(tmp_path) as w:
        org = w.records.organizations.all()[0].guid
        relationships = {"relationships": {"organization": to_one(org)}}
        more = relationships if kind.startswith("space") else {}
        before = w.state()
        assert w.refused("POST", f"/v3/{kind}", {**body, **more}) == says
        assert w.state() == before


def test_an_organization(tmp_path: Path) -> None:
    with world(tmp_path) as w:
        org = create_org(w, "Acme")
        says = w.refused("POST", "/v3/organizations", {"name": "ACME"})
        assert says == "Organization 'ACME' already exists."
        path = f"/v3/organizations/{org}"
        shown = w.ask("GET", path, None, 200)
        assert shown["suspended"] is False and shown["metadata"]["labels"] == {}
        assert shown["links"]["self"]["href"] == f"http://10.0.16.2{path}"
        quota = shown["relationships"]["quota"]["data"]["guid"]
        assert w.ask("GET", f"/v3/organization_quotas/{quota}")["name"] == "default"
        change = {"name": "acme", "suspended": True, "metadata": {"labels": {"env": "dev"}}}
        changed = w.ask("PATCH", path, change, 200)
        assert (changed["name"], changed["suspended"]) == ("acme", True)
        create_org(w, "other")
        assert "already exists" in w.refused("PATCH", path, {"name": "Other"})
        names = [o["name"] for o in w.ask("GET", "/v3/organizations?order_by=-name")["resources"]]
        assert names == ["system", "other", "acme"]
        found = w.ask("GET", "/v3/organizations?label_selector=env=dev")["resources"]
        assert [o["guid"] for o in found] == [org]
        assert w.refused("GET", "/v3/organizations/x", None, 404) == "Organization not found"
        assert "Unknown query parameter" in w.refused("GET", "/v3/organizations?foo=1", None, 400)
        data = w.ask("GET", f"{path}/relationships/default_isolation_segment", None, 200)["data"]
        assert data is None


def test_what_an_organization_uses(tmp_path: Path) -> None:
    with world(tmp_path) as w:
        w.app("a", start=True)
        w.route(EXTERNAL, "a")
        org = w.records.organizations.all()[0].guid
        usage = w.ask("GET", f"/v3/organizations/{org}/usage_summary")["usage_summary"]
        assert (usage["started_instances"], usage["routes"]) == (1, 1)
        assert usage["memory_in_mb"] == w.records.apps.all()[0].memory_in_mb
        assert w.ask("GET", f"/v3/spaces/{w.space}/usage_summary")["usage_summary"]["routes"] == 1


def test_a_space(tmp_path: Path) -> None:
    with world(tmp_path) as w:
        org, other = create_org(w, "one"), create_org(w, "two")
        space = create_space(w, org, "Dev")
        create_space(w, other, "Dev")
        body = {"name": "dev", "relationships": {"organization": to_one(org)}}
        assert w.refused("POST", "/v3/spaces", body) == "Name must be unique per organization"
        body["relationships"] = {"organization": to_one("x")}
        says = w.refused("POST", "/v3/spaces", body)
        assert says == (
            "Invalid organization. Ensure the organization exists and you have access to it."
        )
        for relationships in ({}, {"organization": {}}, {"organization": None}, [], None):
            w.refused("POST", "/v3/spaces", {"name": "x", "relationships": relationships})
        query = f"/v3/spaces?include=organization&organization_guids={org}"
        page = w.ask("GET", query, None, 200)
        assert [s["guid"] for s in page["resources"]] == [space]
        assert [o["guid"] for o in page["included"]["organizations"]] == [org]
        shown = w.ask("GET", f"/v3/spaces/{space}?include=org", None, 200)
        assert shown["included"]["organizations"][0]["name"] == "one"
        assert shown["links"]["apply_manifest"]["method"] == "POST"
        renamed = w.ask("PATCH", f"/v3/spaces/{space}", {"name": "Prod"}, 200)
        assert renamed["name"] == "Prod"
        assert w.ask("GET", f"/v3/spaces/{space}/features/ssh")["enabled"] is False
        w.refused("GET", f"/v3/spaces/{space}/features/x", None, 404)


def test_what_goes_with_a_space(tmp_path: Path) -> None:
    with world(tmp_path) as w:
        org = w.records.organizations.all()[0].guid
        home, doomed = w.space, create_space(w, org, "doomed")
        stays = w.app("stays", start=True)
        body = {"name": "goes", "relationships": {"space": to_one(doomed)}}
        goes = str(w.ask("POST", "/v3/apps", body, 201)["guid"])
        relationships = {"space": to_one(doomed), "domain": to_one(w.domain(EXTERNAL))}
        route = {"host": "x", "relationships": relationships}
        guid = str(w.ask("POST", "/v3/routes", route, 201)["guid"])
        w.map(guid, goes)
        create_user(w, "ann")
        give(w, "organization_user", org, "ann")
        give(w, "space_developer", doomed, "ann")
        assert finished(w, "DELETE", f"/v3/spaces/{doomed}")["operation"] == "space.delete"
        assert [a["guid"] for a in w.ask("GET", "/v3/apps")["resources"]] == [stays]
        assert w.ask("GET", "/v3/routes")["resources"] == []
        assert w.ask("GET", f"/v3/roles?space_guids={doomed}")["resources"] == []
        assert len(w.bbs.desired) == 1 and ("delete", guid) in w.copilot.calls
        assert w.space == home


def test_roles(tmp_path: Path) -> None:
    with world(tmp_path) as w:
        org = create_org(w, "o")
        space = create_space(w, org, "s")
        ann = create_user(w, "ann")
        says = w.refused("POST", "/v3/roles", role_body("space_developer", space, username="ann"))
        assert says == (
            "Users cannot be assigned roles in a space if they do not have a role in that space's"
            " organization."
        )
        member = give(w, "organization_user", org, "ANN")
        role = give(w, "space_developer", space, "ann")
        again = role_body("space_developer", space, guid=ann)
        says = w.refused("POST", "/v3/roles", again)
        assert says == "User 'ann' already has 'space_developer' role in space 's'."
        says = w.refused("POST", "/v3/roles", role_body("organization_user", org, username="x"))
        assert says == "No user exists with the username 'x'."
        ldap = role_body("organization_user", org, username="ann", origin="ldap")
        says = w.refused("POST", "/v3/roles", ldap)
        assert says == "No user exists with the username 'ann' and origin 'ldap'."
        query = f"/v3/roles?space_guids={space}&types=space_developer&user_guids={ann}"
        (row,) = w.ask("GET", query)["resources"]
        assert row["guid"] == role and row["relationships"]["organization"] == {"data": None}
        page = w.ask("GET", f"/v3/roles?organization_guids={org}&include=user,organization,space")
        assert [u["username"] for u in page["included"]["users"]] == ["ann"]
        assert [o["guid"] for o in page["included"]["organizations"]] == [org]
        assert page["included"]["spaces"] == []
        shown = w.ask("GET", f"/v3/roles/{role}?include=space", None, 200)
        assert shown["included"]["spaces"][0]["guid"] == space
        assert [u["guid"] for u in w.ask("GET", f"/v3/spaces/{space}/users")["resources"]] == [ann]
        assert "Cannot delete organization_user role" in w.refused(
            "DELETE", f"/v3/roles/{member}", None
        )
        for guid in (role, member):
            assert finished(w, "DELETE", f"/v3/roles/{guid}")["operation"] == "role.delete"
        w.sign_in("ann")
        w.refused("GET", f"/v3/organizations/{org}", None, 404)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"type": "space_king"}, "Type must be one of the allowed types"),
        ({"type": 5}, "Type must be a string"),
        ({"relationships": {}}, "Relationships user can't be blank"),
        ({"relationships": {"user": {"data": {"guid": "x"}}}}, "must specify either a space or"),
        (
            {"relationships": {"user": {"data": {}}, "space": to_one("?")}},
            "Relationships User must have a username or guid specified",
        ),
        (
            {"relationships": {"user": {"data": {"guid": "x"}}, "space": to_one("nowhere")}},
            "Invalid space. Ensure that the space exists and you have access to it.",
        ),
        (
            {"relationships": {"user": {"data": {"guid": "x"}}, "organization": to_one("x")}},
            "Organization cannot be provided with the space role type: 'space_developer'.",
        ),
    ],
)
def test_what_is_no_role(tmp_path: Path, change: dict[str, Any], says: str) -> None:
    with world(tmp_path) as w:
        relationships = {"user": {"data": {"guid": "x"}}, "space": to_one(w.space)}
        body = {"type": "space_developer", "relationships": relationships, **change}
        for target in body["relationships"].values():
            if target == to_one("?"):
                target["data"]["guid"] = w.space
        before = w.state()
        assert says in w.refused("POST", "/v3/roles", body)
        assert w.state() == before


def test_roles_by_name_are_behind_a_flag(tmp_path: Path) -> None:
    with world(tmp_path) as w:
        org = create_org(w, "o")
        for name in ("boss", "ann"):
            create_user(w, name)
            give(w, "organization_user", org, name)
        give(w, "organization_manager", org, "boss")
        w.ask("PATCH", "/v3/feature_flags/set_roles_by_username", {"enabled": False}, 200)
        w.sign_in("boss")
        body = role_body("organization_auditor", org, username="ann")
        (error,) = w.ask("POST", "/v3/roles", body, 403)["errors"]
        assert error["detail"] == "Feature Disabled: set_roles_by_username"


def test_an_organization_quota(tmp_path: Path) -> None:
    with world(tmp_path) as w:
        org = create_org(w, "o")
        limits = {"apps": {"total_memory_in_mb": 1024, "total_instances": None}}
        body = {"name": "q", **limits, "relationships": {"organizations": {"data": []}}}
        quota = w.ask("POST", "/v3/organization_quotas", body, 201)
        assert quota["apps"]["total_memory_in_mb"] == 1024
        assert quota["services"]["paid_services_allowed"] is True
        assert set(quota["routes"]) == {"total_routes", "total_reserved_ports"}
        path = f"/v3/organization_quotas/{quota['guid']}"
        says = w.refused("POST", "/v3/organization_quotas", body)
        assert says == "Organization Quota 'q' already exists."
        changed = w.ask("PATCH", path, {"routes": {"total_routes": 1}}, 200)
        assert changed["routes"]["total_routes"] == 1
        assert changed["apps"]["total_memory_in_mb"] == 1024
        given = f"{path}/relationships/organizations"
        says = w.refused("POST", given, {"data": [{"guid": "x"}]})
        assert says.startswith('Organizations with guids ["x"] do not exist')
        assert w.ask("POST", given, {"data": [{"guid": org}]}, 200)["data"] == [{"guid": org}]
        (row,) = w.ask("GET", f"/v3/organization_quotas?organization_guids={org}")["resources"]
        assert row["name"] == "q"
        assert "applied to one or more" in w.refused("DELETE", path, None)
        finished(w, "DELETE", f"/v3/organizations/{org}")
        assert finished(w, "DELETE", path)["operation"] == "organization_quota.delete"
        default = w.records.default_quota.guid
        w.refused("PATCH", f"/v3/organization_quotas/{default}", {"name": "x"})
        w.refused("DELETE", f"/v3/organization_quotas/{default}", None)


@pytest.mark.parametrize(
    "limits",
    [
        {"apps": {"total_memory_in_mb": -1}},
        {"apps": {"total_memory_in_mb": "1G"}},
        {"apps": {"total_memory_in_mb": 1.5}},
        {"apps": {"total_memory_in_mb": True}},
        {"apps": {"total_memory_in_mb": 2**31}},
        {"apps": {"cpu": 1}},
        {"apps": []},
        {"services": {"paid_services_allowed": "yes"}},
        {"routes": 5},
        {"relationships": {"organizations": {"data": "x"}}},
        {"relationships": {"organizations": [{"guid": "x"}]}},
    ],
)
def test_what_is_no_quota(tmp_path: Path, limits: dict[str, Any]) -> None:
    with world(tmp_path) as w:
        before = w.state()
        w.refused("POST", "/v3/organization_quotas", {"name": "q", **limits})
        assert w.state() == before


def test_a_space_quota(tmp_path: Path) -> None:
    with world(tmp_path) as w:
        org = w.records.organizations.all()[0].guid
        elsewhere = create_space(w, create_org(w, "other"), "s")
        relationships = {"organization": to_one(org), "spaces": {"data": [{"guid": w.space}]}}
        body = {"name": "q", "apps": {"total_instances": 1}, "relationships": relationships}
        quota = w.ask("POST", "/v3/space_quotas", body, 201)
        assert quota["relationships"]["spaces"] == {"data": [{"guid": w.space}]}
        assert "domains" not in quota
        assert w.refused("POST", "/v3/space_quotas", body) == "Space Quota 'q' already exists."
        path = f"/v3/space_quotas/{quota['guid']}"
        says = w.refused("POST", f"{path}/relationships/spaces", {"data": [{"guid": elsewhere}]})
        assert "do not exist within the organization specified" in says
        app = w.app("a", start=True)
        scale = f"/v3/apps/{app}/processes/web/actions/scale"
        says = w.refused("POST", scale, {"instances": 2})
        assert says == "app_instance_limit space_app_instance_limit_exceeded"
        w.ask("DELETE", f"{path}/relationships/spaces/{w.space}", None, 204)
        w.refused("DELETE", f"{path}/relationships/spaces/{w.space}", None)
        w.ask("POST", scale, {"instances": 2}, 202)
        w.ask("POST", f"{path}/relationships/spaces", {"data": [{"guid": w.space}]}, 200)
        w.ask("POST", scale, {"instances": 1}, 202)
        assert finished(w, "DELETE", path)["operation"] == "space_quota.delete"
        assert w.ask("GET", f"/v3/spaces/{w.space}")["relationships"]["quota"] == {"data": None}


def test_an_organizations_quota_holds_a_push_back(tmp_path: Path) -> None:
    with world(tmp_path) as w:
        default = w.records.default_quota.guid
        limits = {"apps": {"total_memory_in_mb": 100, "per_process_memory_in_mb": 300}}
        w.ask("PATCH", f"/v3/organization_quotas/{default}", limits, 200)
        app = w.app("a")
        scale = f"/v3/apps/{app}/processes/web/actions/scale"
        says = w.refused("POST", scale, {"memory_in_mb": 512})
        assert says == "memory instance_memory_limit_exceeded"
        w.droplet(app)
        w.ask("PATCH", f"/v3/processes/{app}", {"command": "run"}, 200)
        says = w.refused("POST", f"/v3/apps/{app}/actions/start", None)
        assert says == "memory quota_exceeded"
        assert w.ask("GET", f"/v3/apps/{app}")["state"] == "STOPPED" and w.bbs.desired == {}
        w.ask("POST", scale, {"memory_in_mb": 100}, 202)
        w.ask("POST", f"/v3/apps/{app}/actions/start", None, 200)


def test_a_suspended_organization_takes_no_orders(tmp_path: Path) -> None:
    with world(tmp_path) as w:
        org = create_org(w, "o")
        create_user(w, "boss")
        give(w, "organization_manager", org, "boss")
        w.ask("PATCH", f"/v3/organizations/{org}", {"suspended": True}, 200)
        w.sign_in("boss")
        body = {"name": "s", "relationships": {"organization": to_one(org)}}
        (error,) = w.ask("POST", "/v3/spaces", body, 403)["errors"]
        assert error["title"] == "CF-OrgSuspended"
