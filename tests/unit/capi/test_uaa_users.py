"""UAA's users: made, found, changed, deleted; who may; and what ends their tokens."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from capi_world import World, world
from tenancy_world import acting_as, create_user, finished

NEW = {
    "userName": "ann",
    "password": "secret",
    "origin": "",
    "name": {"familyName": "ann", "givenName": "ann"},
    "emails": [{"value": "ann", "primary": True}],
}


def found(w: World, text: str) -> list[str]:
    reply = w.ask("GET", f"/Users?filter={quote(text)}", None, 200)
    assert reply["totalResults"] == len(reply["resources"])
    return [row["userName"] for row in reply["resources"]]


def uaa_error(w: World, method: str, path: str, body: Any, status: int) -> dict[str, Any]:
    error = w.ask(method, path, body, status)
    assert {"error", "error_description"} <= set(error)
    return dict(error)


def test_a_user_is_made_found_and_deleted(tmp_path: Path) -> None:
    with world(tmp_path) as w:
        made = w.ask("POST", "/Users", NEW, 201)
        assert (made["userName"], made["origin"], made["active"]) == ("ann", "uaa", True)
        assert "password" not in made and "secret" not in str(made)
        assert found(w, 'userName eq "ANN" and origin eq "uaa"') == ["ann"]
        assert found(w, 'userName eq "ann" and origin eq "ldap"') == []
        assert found(w, f'id eq "{made["id"]}"') == ["ann"]
        assert w.ask("GET", f"/Users/{made['id']}", None, 200)["userName"] == "ann"
        taken = uaa_error(w, "POST", "/Users", {**NEW, "userName": "Ann"}, 409)
        assert taken["error"] == "scim_resource_already_exists"
        with acting_as(w, "ann", "secret"):
            assert w.ask("GET", "/userinfo", None, 200)["user_name"] == "ann"
        assert w.ask("DELETE", f"/Users/{made['id']}", None, 200)["id"] == made["id"]
        uaa_error(w, "DELETE", f"/Users/{made['id']}", None, 404)
        assert found(w, 'userName eq "ann"') == []


@pytest.mark.parametrize(
    "change",
    [
        {"userName": ""},
        {"userName": " "},
        {"userName": "x" * 256},
        {"userName": "a\nb"},
        {"userName": "a\ud800"},
        {"userName": 5},
        {"password": ""},
        {"password": "x" * 5000},
        {"password": None},
        {"origin": "ldap"},
        {"emails": "ann"},
        {"emails": [{}]},
        {"emails": [{"value": "x"}] * 21},
        {"name": []},
        {"active": "yes"},
    ],
)
def test_what_is_no_user(tmp_path: Path, change: dict[str, Any]) -> None:
    with world(tmp_path) as w:
        before = len(list(w.records.uaa.users))
        w.ask("POST", "/v3/organizations", {"name": "o"}, 201)
        body = {**NEW, **change}
        uaa_error(w, "POST", "/Users", body, 400)
        assert len(list(w.records.uaa.users)) == before


def test_bad_requests_get_oauths_form(tmp_path: Path) -> None:
    with world(tmp_path) as w:
        for query in ("filter=x", "startIndex=0", "count=-1", "count=x", "count=" + "9" * 50):
            uaa_error(w, "GET", f"/Users?{query}", None, 400)
        reply = w.http.post("/Users", content=b"{", headers={"content-type": "application/json"})
        assert reply.status_code == 400 and reply.json()["error"] == "invalid_request"
        uaa_error(w, "GET", "/Users/ghost", None, 404)


def test_pages_of_users(tmp_path: Path) -> None:
    with world(tmp_path) as w:
        for n in range(5):
            w.ask("POST", "/Users", {**NEW, "userName": f"u{n}"}, 201)
        page = w.ask("GET", "/Users?startIndex=2&count=2&filter=userName%20sw%20%22u%22")
        assert page["totalResults"] == 5 and page["startIndex"] == 2
        assert [row["userName"] for row in page["resources"]] == ["u1", "u2"]


def test_who_may(tmp_path: Path) -> None:
    with world(tmp_path) as w:
        ann, bob = create_user(w, "ann"), create_user(w, "bob")
        w.sign_in("ann")
        query = quote('userName eq "bob"')
        for method, path, body in (
            ("GET", f"/Users?filter={query}", None),
            ("POST", "/Users", {**NEW, "userName": "eve"}),
            ("GET", f"/Users/{bob}", None),
            ("DELETE", f"/Users/{bob}", None),
            ("PUT", f"/Users/{bob}/password", {"password": "x"}),
            ("GET", f"/oauth/token/revoke/user/{bob}", None),
            ("DELETE", f"/oauth/token/revoke/{'0' * 32}", None),
        ):
            error = uaa_error(w, method, path, body, 403)
            assert error["error"] == "insufficient_scope"
        w.ask("GET", f"/Users/{ann}", None, 200)
        del w.http.headers["authorization"]
        assert uaa_error(w, "GET", "/Users", None, 401)["error"] == "unauthorized"
        w.http.headers["authorization"] = "bearer x"
        assert uaa_error(w, "GET", "/Users", None, 401)["error"] == "invalid_token"


def test_a_deleted_users_tokens_end(tmp_path: Path) -> None:
    with world(tmp_path) as w:
        ann = create_user(w, "ann")
        form = {"grant_type": "password", "username": "ann", "password": "pw"}
        tokens = w.http.post("/oauth/token", data=form, auth=("cf", "")).json()
        w.ask("DELETE", f"/Users/{ann}", None, 200)
        again = {"grant_type": "refresh_token", "refresh_token": tokens["refresh_token"]}
        w.http.headers["authorization"] = f"bearer {tokens['access_token']}"
        w.refused("GET", "/v3/apps", None, 401)
        reply = w.http.post("/oauth/token", data=again, auth=("cf", ""))
        assert (reply.status_code, reply.json()["error"]) == (401, "invalid_token")


def test_a_password_is_changed(tmp_path: Path) -> None:
    with world(tmp_path) as w:
        ann = create_user(w, "ann", "old")
        path = f"/Users/{ann}/password"
        with acting_as(w, "ann", "old"):
            uaa_error(w, "PUT", path, {"password": "new", "oldPassword": "no"}, 401)
            uaa_error(w, "PUT", path, {"password": "", "oldPassword": "old"}, 400)
            w.ask("PUT", path, {"password": "new", "oldPassword": "old"}, 200)
            w.refused("GET", "/v3/apps", None, 401)
        w.sign_in("ann", "new")
        w.sign_in()
        w.ask("PUT", path, {"password": "newest"}, 200)
        w.sign_in("ann", "newest")


def test_tokens_are_revoked(tmp_path: Path) -> None:
    with world(tmp_path) as w:
        ann = create_user(w, "ann")
        form = {"grant_type": "password", "username": "ann", "password": "pw"}
        admin = w.http.headers["authorization"]

        def tokens() -> dict[str, str]:
            return dict(w.http.post("/oauth/token", data=form, auth=("cf", "")).json())

        def good(given: dict[str, str]) -> tuple[bool, bool]:
            w.http.headers["authorization"] = f"bearer {given['access_token']}"
            access = w.http.get("/v3/apps").status_code == 200
            again = {"grant_type": "refresh_token", "refresh_token": given["refresh_token"]}
            reply = w.http.post("/oauth/token", data=again, auth=("cf", ""))
            return access, reply.status_code == 200

        one, two = tokens(), tokens()
        assert good(two) == good(one) == (True, True)
        w.ask("DELETE", f"/oauth/token/revoke/{one['jti']}", None, 200)  # as `cf logout` would
        assert good(one) == (False, False) and good(two) == (True, True)
        w.http.headers["authorization"] = admin
        uaa_error(w, "DELETE", "/oauth/token/revoke/x", None, 404)
        uaa_error(w, "GET", "/oauth/token/revoke/user/ghost", None, 404)
        w.ask("GET", f"/oauth/token/revoke/user/{ann}", None, 200)
        assert good(two) == (False, False) and good(tokens()) == (True, True)


def test_the_lab_files_users_are_operators(tmp_path: Path) -> None:
    with world(tmp_path) as w:
        admin = w.records.uaa.users.named("admin")
        assert admin is not None
        uaa_error(w, "DELETE", f"/Users/{admin.guid}", None, 400)
        uaa_error(w, "PUT", f"/Users/{admin.guid}/password", {"password": "x"}, 400)
        w.records.uaa.seed({"root": "pw"})
        assert w.records.uaa.users.named("admin") is None
        w.sign_in("root")
        w.ask("POST", "/v3/organizations", {"name": "o"}, 201)


def test_a_restart_keeps_users_and_roles(tmp_path: Path) -> None:
    with world(tmp_path) as w:
        ann = create_user(w, "ann")
        org = w.organization("o")
        body = {
            "type": "organization_manager",
            "relationships": {
                "organization": {"data": {"guid": org}},
                "user": {"data": {"guid": ann}},
            },
        }
        w.ask("POST", "/v3/roles", body, 201)
    with world(tmp_path) as w:
        w.sign_in("ann")
        assert [o["guid"] for o in w.ask("GET", "/v3/organizations")["resources"]] == [org]


def test_the_cloud_controllers_users(tmp_path: Path) -> None:
    with world(tmp_path) as w:
        ann = create_user(w, "ann")
        shown = w.ask("GET", f"/v3/users/{ann}", None, 200)
        assert (shown["username"], shown["presentation_name"], shown["origin"]) == (
            *("ann", "ann"),
            "uaa",
        )
        says = w.refused("POST", "/v3/users", {"guid": ann})
        assert says == f"User with guid '{ann}' already exists."
        ghost = w.ask("POST", "/v3/users", {"guid": "robot"}, 201)
        assert (ghost["username"], ghost["presentation_name"]) == (None, "robot")
        (row,) = w.ask("GET", "/v3/users?usernames=ANN")["resources"]
        assert row["guid"] == ann
        assert w.ask("GET", "/v3/users?guids=robot")["pagination"]["total_results"] == 1
        assert "without usernames" in w.refused("GET", "/v3/users?origins=uaa", None, 400)
        for body in ({}, {"guid": ""}, {"guid": "x" * 256}, {"username": "x"}, {"guid": 5}):
            w.refused("POST", "/v3/users", body)
        label = {"metadata": {"labels": {"a": "b"}}}
        changed = w.ask("PATCH", f"/v3/users/{ann}", label, 200)
        assert changed["metadata"]["labels"] == {"a": "b"}
        finished(w, "DELETE", "/v3/users/robot")
        w.refused("DELETE", "/v3/users/robot", None, 404)
        # One whom only UAA knows can be deleted, again and again: cf asks CC first.
        for _ in range(2):
            finished(w, "DELETE", f"/v3/users/{ann}")
