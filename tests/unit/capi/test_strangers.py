"""Every call of the API by somebody of another organization: they see and change nothing."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from capi_world import World, description, world

from meshnet.capi.tenancy_records import User

OPERATIONS = [
    (method, path)
    for path, methods in description()["paths"].items()
    for method in methods
    if path.startswith(("/v3", "/v2", "/Users", "/oauth/token/revoke"))
]
OTHERS = {"kind": "web", "action": "stop", "name": "ssh", "index": "0", "sha256": "0" * 64}
SECRET = "hidden-from-strangers"


class Theirs:
    """One thing of each kind in an organization, and a stranger who manages another one."""

    def __init__(self, w: World) -> None:
        self.w = w
        org, app_of = w.organization(SECRET), {"app": {"data": {"guid": ""}}}
        space = w.space_in(org, SECRET)
        place = {"space": {"data": {"guid": space}}}
        body = {"name": SECRET, "relationships": place, "environment_variables": {"A": SECRET}}
        app = app_of["app"]["data"]["guid"] = w.ask("POST", "/v3/apps", body, 201)["guid"]
        droplet = w.droplet(app)
        w.ask("PATCH", f"/v3/processes/{app}", {"command": SECRET}, 200)
        w.ask("POST", f"/v3/apps/{app}/actions/start", None, 200)
        body = {"type": "bits", "relationships": app_of}
        package = w.ask("POST", "/v3/packages", body, 201)["guid"]
        deployment = w.ask("POST", "/v3/deployments", {"relationships": app_of}, 201)["guid"]
        of = {"relationships": {"organization": {"data": {"guid": org}}}}
        domain = w.ask("POST", "/v3/domains", {"name": f"{SECRET}.com", **of}, 201)["guid"]
        body = w.route_body(f"{SECRET}.com", "x", space=space)
        route = w.ask("POST", "/v3/routes", body, 201)["guid"]
        w.map(route, app)
        quota = w.ask("POST", "/v3/space_quotas", {"name": SECRET, **of}, 201)["guid"]
        user = w.user(SECRET, organization_user=org, space_developer=space)
        w.records.users.put(User(guid=user))
        role = w.records.roles.at(space)[0].guid
        self.guids = [org, space, app, droplet, package, deployment, domain, route, quota]
        self.guids += [user, role]
        own = w.organization("own")
        w.user("eve", organization_manager=own, space_developer=w.space_in(own, "own"))
        w.sign_in("eve")
        w.ask("GET", "/v3/apps", None, 200)  # from now on known to the Cloud Controller


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Theirs]:
    with world(tmp_path_factory.mktemp("strangers")) as w:
        yield Theirs(w)


@pytest.mark.parametrize(("method", "path"), OPERATIONS, ids=lambda part: str(part))
def test_a_stranger_sees_and_changes_nothing(theirs: Theirs, method: str, path: str) -> None:
    w, names = theirs.w, re.findall(r"{(\w+)}", path)
    before = w.state()
    for guid in theirs.guids if set(names) - OTHERS.keys() else theirs.guids[:1]:
        target = path.format(**{name: OTHERS.get(name, guid) for name in names})
        for body in _bodies(method, guid):
            content = None if body is None else json.dumps(body).encode()
            headers = {"content-type": "application/json"} if content else {}
            reply = w.http.request(method.upper(), target, content=content, headers=headers)
            assert guid not in target or reply.status_code >= 400, (target, reply.text)
            assert SECRET not in reply.text, (target, reply.text)
            assert w.http.get("/v3/apps").status_code == 200, "or all were refused for the token"
    assert w.state() == before


def _bodies(method: str, guid: str) -> list[Any]:
    if method in ("get", "delete"):
        return [None]
    return [{}, {"metadata": {"labels": {"a": "b"}}}, {"data": [{"guid": guid}]}, {"instances": 2}]
