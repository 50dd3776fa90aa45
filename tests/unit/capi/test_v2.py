"""The v2 calls that `cf curl` still makes, with v2's bodies and errors."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from capi_world import EXTERNAL, World, world


@pytest.fixture
def w(tmp_path: Path) -> Iterator[World]:
    with world(tmp_path) as made:
        yield made


def refused(w: World, method: str, path: str, body: Any = None) -> tuple[int, str, int]:
    reply = w.http.request(method, path, json=body)
    value = reply.json()
    assert set(value) == {"description", "error_code", "code"}
    return reply.status_code, value["error_code"], value["code"]


def test_either_way_round_a_route_is_mapped_once(w: World) -> None:
    app, route = w.app("a"), w.route(EXTERNAL, "IATS-1-host")
    reply = w.ask("PUT", f"/v2/apps/{app}/routes/{route}", None, 201)
    assert reply["metadata"]["guid"] == app
    reply = w.ask("PUT", f"/v2/routes/{route}/apps/{app}", None, 201)
    assert reply["metadata"]["guid"] == route
    assert reply["entity"]["host"] == "IATS-1-host"
    assert w.copilot.calls.count(("map", route, app, 1)) == 1
    w.ask("DELETE", f"/v2/apps/{app}/routes/{route}", None, 204)
    assert w.copilot.calls[-1] == ("unmap", route, app)
    w.ask("DELETE", f"/v2/routes/{route}/apps/{app}", None, 204)


def test_a_routes_guid_is_the_first_one_in_the_answer(w: World) -> None:
    w.route(EXTERNAL, "other")
    route = w.route(EXTERNAL, "Shop")
    reply = w.http.get("/v2/routes?q=host:shop")
    found = re.search(r'"guid": ?"([^"]+)"', reply.text)
    assert found and found[1] == route
    assert reply.json()["total_results"] == 1
    assert w.ask("GET", "/v2/routes?q=host:nobody", None, 200)["resources"] == []
    both = f"/v2/routes?q=host IN shop,other&q=domain_guid:{w.domain(EXTERNAL)}"
    assert w.ask("GET", both, None, 200)["total_results"] == 2


def test_domains(w: World) -> None:
    made = w.ask("POST", "/v2/shared_domains", {"name": "new.internal", "internal": True}, 201)
    assert made["entity"]["internal"] is True
    (found,) = w.ask("GET", "/v2/domains?q=name:new.internal", None, 200)["resources"]
    assert found["metadata"]["guid"] == made["metadata"]["guid"]
    assert w.ask("GET", "/v2/shared_domains", None, 200)["total_results"] == 4
    body = {"name": "apps.internal", "internal": True}
    assert refused(w, "POST", "/v2/shared_domains", body) == (400, "CF-DomainNameTaken", 130003)
    body = {"name": "a_b"}
    assert refused(w, "POST", "/v2/shared_domains", body) == (400, "CF-DomainInvalid", 130001)


def test_errors_are_v2s(w: World) -> None:
    app, route = w.app("a"), w.route(EXTERNAL, "x")
    path = f"/v2/apps/ghost/routes/{route}"
    assert refused(w, "PUT", path) == (404, "CF-AppNotFound", 100004)
    path = f"/v2/apps/{app}/routes/ghost"
    assert refused(w, "PUT", path) == (404, "CF-RouteNotFound", 210002)
    assert refused(w, "GET", "/v2/routes?q=color:red")[:2] == (400, "CF-BadQueryParameter")
    assert refused(w, "GET", "/v2/nothing") == (404, "CF-NotFound", 10000)
    weights = {"destinations": [{"app": {"guid": app}, "weight": 2}]}
    w.ask("PATCH", f"/v3/routes/{route}/destinations", weights, 200)
    other = w.app("b")
    path = f"/v2/apps/{other}/routes/{route}"
    assert refused(w, "PUT", path) == (400, "CF-InvalidRelation", 1002)
    del w.http.headers["authorization"]
    assert refused(w, "GET", "/v2/routes") == (401, "CF-NotAuthenticated", 10002)
    assert w.ask("GET", "/v2/info", None, 200)["token_endpoint"] == "http://10.0.16.2"


def test_what_roles_allow(w: World) -> None:
    app, route = w.app("a"), w.route(EXTERNAL, "x")
    w.user("auditor", space_auditor=w.space)
    w.sign_in("auditor")
    path = f"/v2/apps/{app}/routes/{route}"
    assert refused(w, "PUT", path)[:2] == (403, "CF-NotAuthorized")
    assert refused(w, "POST", "/v2/shared_domains", {"name": "x.com"})[0] == 403
