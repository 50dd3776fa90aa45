"""Each role and each operation: who may, who may not, and who may not even see."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from capi_world import EXTERNAL, World, world
from tenancy_world import create_org, create_space, create_user, role_body, to_one

from meshnet.capi.app_records import App
from meshnet.capi.permissions import ORGANIZATION_ROLES, SPACE_ROLES
from meshnet.capi.tables import Changes, new_guid
from meshnet.capi.tenancy_records import Organization, Role, Space, User
from meshnet.capi.uaa.directory import UaaUser, hash_password

# Who asks: operators by their group, the others by their role; `stranger` has none.
OPERATORS = {
    "admin": ("cloud_controller.admin", "scim.read", "scim.write"),
    "read_only": ("cloud_controller.admin_read_only",),
    "global_auditor": ("cloud_controller.global_auditor",),
}
ACTORS = (*OPERATORS, *ORGANIZATION_ROLES, *SPACE_ROLES, "stranger")
EVERYBODY = frozenset(ACTORS)
MEMBERS = EVERYBODY - {"stranger"}
SEES_SPACE = frozenset(OPERATORS) | {"organization_manager", *SPACE_ROLES}
ORG_MANAGERS = frozenset({"admin", "organization_manager"})
SPACE_MANAGERS = ORG_MANAGERS | {"space_manager"}
DEVELOPERS = frozenset({"admin", "space_developer"})
SUPPORTERS = DEVELOPERS | {"space_supporter"}


class People:
    """A world with one user of each kind, and a peer."""

    def __init__(self, w: World) -> None:
        self.w, self.users = w, {}
        hashed = hash_password("pw", cost=2)
        with w.records.changes() as changes:
            for name in (*ACTORS[1:], "peer"):
                groups = OPERATORS.get(name, ())
                user = UaaUser(username=name, password=hashed, groups=groups)
                w.records.uaa.users.put(user, changes)
                w.records.users.put(User(guid=user.guid), changes)
                self.users[name] = user.guid


class Place:
    """An organization with a space and an app, where each user has the role of their name."""

    def __init__(self, people: People) -> None:
        self.w, self.users = people.w, people.users
        self.org = self.space = self.app = self.role = ""
        self.name = new_guid()
        records = self.w.records
        org = Organization(name=self.name, quota=records.default_quota.guid)
        space = Space(name=self.name, organization=org.guid)
        app = App(name=self.name, space=space.guid)
        self.org, self.space, self.app = org.guid, space.guid, app.guid
        with records.changes() as changes:
            records.organizations.put(org, changes)
            records.spaces.put(space, changes)
            records.apps.put(app, changes)
            for name in (*SPACE_ROLES, *ORGANIZATION_ROLES, "peer"):
                self._give("organization_user", name, changes)
            for name in (*SPACE_ROLES, *ORGANIZATION_ROLES[1:]):
                self._give(name, name, changes)
            self.role = self._give("space_auditor", "peer", changes)

    def _give(self, kind: str, name: str, changes: Changes) -> str:
        target = self.space if kind.startswith("space_") else self.org
        role = Role(type=kind, user=self.users[name], target=target)
        return self.w.records.roles.put(role, changes).guid

    def new_role(self) -> str:
        """A role that the peer has not yet."""
        with self.w.records.changes() as changes:
            return self._give("space_supporter", "peer", changes)


@dataclass(frozen=True)
class Operation:
    """A request; who may send it and who at least sees its object.

    Attributes:
        path: made by the administrator, in a world of its own.
        unseen: what those get who see nothing.
    """

    method: str
    path: Callable[[Place], str]
    body: Callable[[Place], Any]
    may: frozenset[str]
    sees: frozenset[str]
    good: int = 200
    unseen: int = 404


def nothing(place: Place) -> None:
    return None


def space_role(place: Place) -> dict[str, Any]:
    return role_body("space_manager", place.space, username="peer")


def org_role(place: Place) -> dict[str, Any]:
    return role_body("organization_auditor", place.org, username="peer")


def of_space(**body: Any) -> Callable[[Place], dict[str, Any]]:
    return lambda p: {**body, "relationships": {"space": to_one(p.space)}}


def of_org(**body: Any) -> Callable[[Place], dict[str, Any]]:
    return lambda p: {**body, "relationships": {"organization": to_one(p.org)}}


def always(value: Any) -> Callable[[Place], Any]:
    return lambda place: value


def org(place: Place) -> str:
    return f"/v3/organizations/{place.org}"


def space(place: Place) -> str:
    return f"/v3/spaces/{place.space}"


def app(place: Place) -> str:
    return f"/v3/apps/{place.app}"


def external(place: Place) -> str:
    return next(d.guid for d in place.w.records.domains if d.name == EXTERNAL)


LABEL = always({"metadata": {"labels": {"a": "b"}}})
ADMIN = frozenset({"admin"})
OPERATIONS = {
    "show org": Operation("GET", org, nothing, MEMBERS, MEMBERS),
    "label org": Operation("PATCH", org, LABEL, ORG_MANAGERS, MEMBERS),
    "suspend org": Operation("PATCH", org, always({"suspended": True}), ADMIN, MEMBERS),
    "delete org": Operation("DELETE", org, nothing, ADMIN, MEMBERS, 202),
    "org usage": Operation("GET", lambda p: org(p) + "/usage_summary", nothing, MEMBERS, MEMBERS),
    "org users": Operation("GET", lambda p: org(p) + "/users", nothing, MEMBERS, MEMBERS),
    "create org": Operation(
        "POST", always("/v3/organizations"), lambda p: {"name": p.name + "x"}, ADMIN, EVERYBODY, 201
    ),
    "show space": Operation("GET", space, nothing, SEES_SPACE, SEES_SPACE),
    "label space": Operation("PATCH", space, LABEL, SPACE_MANAGERS, SEES_SPACE),
    "delete space": Operation("DELETE", space, nothing, ORG_MANAGERS, SEES_SPACE, 202),
    "create space": Operation(
        "POST", always("/v3/spaces"), of_org(name="new"), ORG_MANAGERS, MEMBERS, 201, 422
    ),
    "show role": Operation("GET", lambda p: f"/v3/roles/{p.role}", nothing, SEES_SPACE, SEES_SPACE),
    "give space role": Operation(
        "POST", always("/v3/roles"), space_role, SPACE_MANAGERS, SEES_SPACE, 201, 422
    ),
    "take space role": Operation(
        "DELETE", lambda p: f"/v3/roles/{p.new_role()}", nothing, SPACE_MANAGERS, SEES_SPACE, 202
    ),
    "give org role": Operation(
        "POST", always("/v3/roles"), org_role, ORG_MANAGERS, MEMBERS, 201, 422
    ),
    "show peer": Operation(
        "GET", lambda p: f"/v3/users/{p.users['peer']}", nothing, MEMBERS, MEMBERS
    ),
    "delete peer": Operation(
        "DELETE", lambda p: f"/v3/users/{p.users['peer']}", nothing, ADMIN, MEMBERS, 202
    ),
    "create user": Operation(
        "POST", always("/v3/users"), lambda p: {"guid": p.name}, ADMIN, EVERYBODY, 201
    ),
    "create org quota": Operation(
        "POST", always("/v3/organization_quotas"), lambda p: {"name": p.name}, ADMIN, EVERYBODY, 201
    ),
    "create space quota": Operation(
        "POST", always("/v3/space_quotas"), of_org(name="q"), ORG_MANAGERS, MEMBERS, 201, 422
    ),
    "set flag": Operation(
        "PATCH",
        always("/v3/feature_flags/app_scaling"),
        always({"enabled": True}),
        ADMIN,
        EVERYBODY,
    ),
    "show app": Operation("GET", app, nothing, SEES_SPACE, SEES_SPACE),
    "label app": Operation("PATCH", app, LABEL, DEVELOPERS, SEES_SPACE),
    "delete app": Operation("DELETE", app, nothing, DEVELOPERS, SEES_SPACE, 202),
    "create app": Operation(
        "POST", always("/v3/apps"), of_space(name="new"), DEVELOPERS, SEES_SPACE, 201, 422
    ),
    "scale app": Operation(
        "POST",
        lambda p: app(p) + "/processes/web/actions/scale",
        always({"instances": 2}),
        SUPPORTERS,
        SEES_SPACE,
        202,
    ),
    "stop app": Operation(
        "POST", lambda p: app(p) + "/actions/stop", nothing, SUPPORTERS, SEES_SPACE
    ),
    "app's env": Operation(
        "GET", lambda p: app(p) + "/env", nothing, SUPPORTERS | {"read_only"}, SEES_SPACE
    ),
    "create route": Operation(
        "POST",
        always("/v3/routes"),
        lambda p: {
            "host": p.name,
            "relationships": {"space": to_one(p.space), "domain": to_one(external(p))},
        },
        SUPPORTERS,
        SEES_SPACE,
        201,
        422,
    ),
}


@pytest.mark.parametrize("actor", ACTORS)
def test_who_may(tmp_path: Path, actor: str) -> None:
    with world(tmp_path) as w:
        people = People(w)
        w.sign_in(actor)
        w.ask("GET", "/v3/apps", None, 200)
        for name, operation in OPERATIONS.items():
            place = Place(people)
            path, body = operation.path(place), operation.body(place)
            before = w.state()
            reply = w.http.request(operation.method, path, json=body)
            said = f"{name}: {reply.status_code} {reply.text}"
            if actor in operation.may:
                assert reply.status_code == operation.good, said
                continue
            if actor in operation.sees:
                (error,) = reply.json()["errors"]
                assert (reply.status_code, error["code"]) == (403, 10003), said
            else:
                assert reply.status_code == operation.unseen, said
            assert w.state() == before, said


@pytest.mark.parametrize("actor", ACTORS)
def test_lists_hold_what_one_may_see(tmp_path: Path, actor: str) -> None:
    with world(tmp_path) as w:
        place = Place(People(w))
        w.sign_in(actor)

        def seen(path: str) -> set[str]:
            return {row["guid"] for row in w.ask("GET", path, None, 200)["resources"]}

        assert (place.org in seen("/v3/organizations")) == (actor in MEMBERS)
        for kind, guid in (("spaces", place.space), ("apps", place.app), ("roles", place.role)):
            assert (guid in seen(f"/v3/{kind}")) == (actor in SEES_SPACE), kind
        assert (place.app in seen("/v3/processes")) == (actor in SEES_SPACE)
        assert (place.users["peer"] in seen("/v3/users")) == (actor in MEMBERS)
        if actor not in OPERATORS:
            assert len(seen("/v3/organizations")) <= 1
        if actor == "stranger":
            everybody = {place.users["stranger"]}
            assert seen("/v3/users") == everybody and seen("/v3/roles") == set()


def test_in_a_suspended_organization_only_administrators_change_anything(tmp_path: Path) -> None:
    with world(tmp_path) as w:
        place = Place(People(w))
        w.ask("PATCH", org(place), {"suspended": True}, 200)
        w.sign_in("space_developer")
        (error,) = w.ask("PATCH", app(place), LABEL(place), 403)["errors"]
        assert (error["code"], error["title"]) == (10017, "CF-OrgSuspended")
        w.ask("GET", app(place), None, 200)
        w.sign_in("admin")
        w.ask("PATCH", app(place), LABEL(place), 200)


def test_tokens_without_the_scope_of_a_method(tmp_path: Path) -> None:
    with world(tmp_path) as w:
        place = Place(People(w))
        form = {"grant_type": "password", "username": "space_developer", "password": "pw"}

        def with_scope(scope: str) -> None:
            form["scope"] = scope
            reply = w.http.post("/oauth/token", data=form, auth=("cf", ""))
            w.http.headers["authorization"] = f"bearer {reply.json()['access_token']}"

        with_scope("cloud_controller.read")
        w.ask("GET", app(place), None, 200)
        w.refused("PATCH", app(place), LABEL(place), 403)
        with_scope("cloud_controller.write")
        w.refused("GET", app(place), None, 403)
        w.ask("PATCH", app(place), LABEL(place), 200)
        with_scope("openid")
        w.refused("GET", "/v3/apps", None, 403)


def test_a_user_may_create_organizations_where_the_flag_says_so(tmp_path: Path) -> None:
    with world(tmp_path) as w:
        create_user(w, "ann")
        w.ask("PATCH", "/v3/feature_flags/user_org_creation", {"enabled": True}, 200)
        w.sign_in("ann")
        guid = create_org(w, "hers")
        create_space(w, guid, "first")
        assert w.ask("PATCH", f"/v3/organizations/{guid}", {"name": "mine"}, 200)["name"] == "mine"
