"""UAA's clients: made, used, given roles, deleted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from capi_world import world
from tenancy_world import create_user, role_body

ROBOT = {
    "client_id": "robot",
    "client_secret": "beep",
    "authorized_grant_types": ["client_credentials"],
    "authorities": ["cloud_controller.read", "cloud_controller.write"],
}
LOGIN = {"grant_type": "client_credentials", "client_id": "robot", "client_secret": "beep"}


def test_a_client_acts_by_its_own_roles(tmp_path: Path) -> None:
    with world(tmp_path) as w:
        org = w.organization("o")
        made = w.ask("POST", "/oauth/clients", ROBOT, 201)
        assert made["client_id"] == "robot" and "beep" not in str(made)
        assert w.ask("GET", "/oauth/clients/robot", None, 200) == made
        rows = w.ask("GET", "/oauth/clients", None, 200)["resources"]
        assert [row["client_id"] for row in rows] == ["cf", "robot"]
        w.ask("POST", "/v3/roles", role_body("organization_manager", org, guid="robot"), 201)
        admin = w.http.headers["authorization"]
        token = w.http.post("/oauth/token", data=LOGIN).json()["access_token"]
        w.http.headers["authorization"] = f"bearer {token}"
        assert [o["guid"] for o in w.ask("GET", "/v3/organizations")["resources"]] == [org]
        w.space_in(org, "made by a robot")
        w.refused("DELETE", f"/v3/organizations/{org}", None, 403)
        w.ask("GET", "/oauth/clients", None, 403)
        w.http.headers["authorization"] = admin
        w.ask("DELETE", "/oauth/clients/robot", None, 200)
        assert w.http.post("/oauth/token", data=LOGIN).status_code == 401
        w.http.headers["authorization"] = f"bearer {token}"
        w.refused("GET", "/v3/organizations", None, 401)


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"client_id": ""}, 400),
        ({"client_id": "a b"}, 400),
        ({"client_id": "x" * 256}, 400),
        ({"client_id": 5}, 400),
        ({"client_id": "cf"}, 409),
        ({"client_secret": ""}, 400),
        ({"client_secret": "x" * 5000}, 400),
        ({"authorized_grant_types": ["magic"]}, 400),
        ({"authorities": ["a"] * 101}, 400),
        ({"authorities": "a"}, 400),
    ],
)
def test_what_is_no_client(tmp_path: Path, change: dict[str, Any], status: int) -> None:
    with world(tmp_path) as w:
        error = w.ask("POST", "/oauth/clients", {**ROBOT, **change}, status)
        assert {"error", "error_description"} <= set(error)
        assert list(w.records.uaa.clients) == []


def test_what_is_built_in_and_what_is_not_there(tmp_path: Path) -> None:
    with world(tmp_path) as w:
        w.ask("DELETE", "/oauth/clients/cf", None, 400)
        w.ask("DELETE", "/oauth/clients/ghost", None, 404)
        w.ask("GET", "/oauth/clients/ghost", None, 404)
        create_user(w, "ann")
        w.sign_in("ann")
        w.ask("POST", "/oauth/clients", ROBOT, 403)
