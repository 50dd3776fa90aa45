"""istio-acceptance-tests, restated for a running lab: those that need no docker and no browser.

Each test's docstring names the case of the original suite. Two of its cases, the weighted ones,
are skipped there; here they run. Hosts are of mixed case, as in the suite.
"""

from __future__ import annotations

import json
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from meshnet.model.patience import patient
from netns_lab.stage import APPS, COMMAND, EXTERNAL, INTERNAL, POLICY_PORTS, Stage

from .conftest import meshnet

pytestmark = pytest.mark.sudo
PLAIN = "apps.internal"
_FAILED, _UNTRUSTED = 22, 60  # curl's words


@dataclass
class Apps:
    """Two greeters without routes: one says hello, the other hola."""

    stage: Stage
    hello: str
    hola: str

    def route(self, host: str, *apps: str, path: str = "", domain: str = EXTERNAL) -> str:
        """Map a route to apps; its guid."""
        client = self.stage.client
        made = client.route(domain, host, path) or client.create_route(domain, host, path)
        for app in apps:
            client.map_route(app, domain, host, path)
        return str(made["guid"])

    def statuses(self, url: str, times: int = 5) -> set[int]:
        return {reply.status for reply in self.stage.outside.get(url, times=times)}

    def greetings(self, url: str, times: int) -> Counter[str]:
        replies = self.stage.outside.get(url, times=times)
        assert {reply.status for reply in replies} == {200}
        return Counter(str(reply.json()["greeting"]) for reply in replies)


@pytest.fixture(scope="module")
def pushed(stage: Stage) -> Iterator[Apps]:
    client, guids = stage.client, []
    for greeting in ("hello", "hola"):
        name = f"iats-{greeting}"
        env = {"GREETING": greeting}
        app = client.push(name, APPS / "hello", COMMAND, memory_mb=64, env=env)
        client.act(app["guid"], "start")
        guids.append(str(app["guid"]))
    for guid in guids:
        client.wait_running(guid)
    yield Apps(stage, *guids)
    for guid in guids:
        client.delete_app(guid)


@pytest.fixture
def apps(pushed: Apps) -> Iterator[Apps]:
    client = pushed.stage.client
    before = {route["guid"] for route in client.routes()}
    yield pushed
    for route in client.routes():
        if route["guid"] not in before:
            client.delete_route(route["guid"])


def url(host: str, path: str = "/") -> str:
    return f"http://{host}.{EXTERNAL}{path}"


def until(condition: Callable[[], Any], seconds: float = 15.0) -> None:
    deadline = time.monotonic() + patient(seconds)
    while not condition():
        assert time.monotonic() < deadline, "not in time"
        time.sleep(0.1)


def holds(condition: Callable[[], bool], seconds: float) -> None:
    """Assert that a condition holds all the while."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        assert condition()
        time.sleep(0.1)


def test_an_app_is_served_by_https_to_who_trusts_the_labs_ca(apps: Apps, tmp_path: Path) -> None:
    """Routing, HTTPS; the certificate is verified, and without the CA refused by the client."""
    ca = tmp_path / "ca.pem"
    ca.write_text(meshnet("lab", "ca", lab=apps.stage.paths.lab).stdout)
    apps.route("IATS-Secure", apps.hello)
    apps.stage.until(url("IATS-Secure"), lambda status: status == 200)

    def ask(host: str, *options: str) -> tuple[int, Any]:
        line = ["curl", "-sSf", "--max-time", "60", *options, f"https://{host}.{EXTERNAL}/x"]
        done = subprocess.run(
            apps.stage.outside.argv(line), capture_output=True, text=True, timeout=90
        )
        return done.returncode, json.loads(done.stdout or "{}")

    trusting = ("--cacert", str(ca))
    for version in ("--http1.1", "--http2"):
        for _ in range(4):  # by either router
            code, answer = ask("IATS-Secure", *trusting, version)
            assert (code, answer["greeting"], answer["path"]) == (0, "hello", "/x")
            headers = {name.lower(): value for name, value in answer["headers"].items()}
            assert headers["x-forwarded-proto"] == "https" and headers["x-forwarded-for"]
    assert ask("IATS-Secure") == (_UNTRUSTED, {})
    assert ask("IATS-Nobody", *trusting, "-w", "%{http_code}") == (_FAILED, 404)


def test_a_stopped_app_answers_503_for_as_long_as_it_is_stopped(apps: Apps) -> None:
    """Routing, stopped app. The original only asks that 503 is seen once."""
    stage = apps.stage
    apps.route("IATS-Stopped", apps.hello)
    stage.until(url("IATS-Stopped"), lambda status: status == 200)
    stage.client.act(apps.hello, "stop")
    try:
        stage.until(url("IATS-Stopped"), lambda status: status == 503, 15.0)
        holds(lambda: apps.statuses(url("IATS-Stopped")) == {503}, 5.0)
        assert apps.statuses(url("IATS-Nobody")) == {404}
    finally:
        stage.client.act(apps.hello, "start")
        stage.client.wait_running(apps.hello)
    stage.until(url("IATS-Stopped"), lambda status: status == 200)


def test_many_routes_lead_to_one_app_and_go_one_by_one(apps: Apps) -> None:
    """Routing, several routes; and unmapping one of them."""
    stage = apps.stage
    apps.route("IATS-One", apps.hello)
    apps.route("IATS-Two", apps.hello)
    for host in ("IATS-One", "IATS-Two", "iats-two"):
        stage.until(url(host), lambda status: status == 200)
    stage.client.unmap_route(apps.hello, EXTERNAL, "IATS-One")
    # Unmapped, not deleted: the route leads nowhere, and as CF says of one nobody serves, 404.
    stage.until(url("IATS-One"), lambda status: status == 404)
    assert apps.statuses(url("IATS-Two")) == {200}


def test_internal_routes_are_not_served_outside(apps: Apps) -> None:
    """Routing, internal routes: neither of the plain domain nor of the mesh's."""
    apps.route("iats-inner", apps.hello, domain=PLAIN)
    apps.route("iats-inner", apps.hello, domain=INTERNAL)
    apps.route("IATS-Outer", apps.hello)
    apps.stage.until(url("IATS-Outer"), lambda status: status == 200)
    for host in (f"iats-inner.{PLAIN}", f"iats-inner.{INTERNAL}"):
        line = ["curl", "-sS", "-o", "/dev/null", "-w", "%{http_code}", "-H", f"Host: {host}"]
        command = apps.stage.outside.argv([*line, f"http://envoy.{EXTERNAL}/"])
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
        assert done.stdout == "404"


@pytest.mark.parametrize("path", ["/v2/apps/{app}/routes/{route}", "/v2/routes/{route}/apps/{app}"])
def test_v2_calls_map_a_route(apps: Apps, path: str) -> None:
    """Route mappings, by the apps' and by the routes' call."""
    client = apps.stage.client
    host = f"IATS-V2-{path.split('/')[2]}"
    route = apps.route(host)
    found = client.get("/v2/routes", q=f"host:{host}")["resources"]
    assert [r["metadata"]["guid"] for r in found] == [route]
    client.call("PUT", path.format(app=apps.hello, route=route))
    apps.stage.until(url(host), lambda status: status == 200)


def test_a_context_path_serves_what_is_below_it_and_nothing_else(apps: Apps) -> None:
    """Context paths: the bare host stays 404."""
    apps.route("IATS-Path", apps.hello, path="/nothing/matters")
    apps.stage.until(url("IATS-Path", "/nothing/matters"), lambda status: status == 200)
    assert apps.greetings(url("IATS-Path", "/nothing/matters/x"), 3) == {"hello": 3}
    holds(lambda: apps.statuses(url("IATS-Path"), 2) == {404}, 3.0)
    assert apps.statuses(url("IATS-Path", "/nothing")) == {404}


def test_a_context_paths_life(apps: Apps) -> None:
    """Context paths: unmapped and deleted it is 404; a route without path then serves it too."""
    stage, where = apps.stage, url("IATS-Life", "/nothing/matters")
    guid = apps.route("IATS-Life", apps.hello, path="/nothing/matters")
    stage.until(where, lambda status: status == 200)
    stage.client.unmap_route(apps.hello, EXTERNAL, "IATS-Life", "/nothing/matters")
    stage.until(where, lambda status: status == 404)
    stage.client.delete_route(guid)
    assert apps.statuses(where) == {404}
    apps.route("IATS-Life", apps.hello)
    stage.until(where, lambda status: status == 200)


def test_one_app_has_several_paths_and_hosts(apps: Apps) -> None:
    """Context paths: a second, longer path and a second host of the same app."""
    apps.route("IATS-Paths", apps.hello, path="/nothing/matters")
    apps.route("IATS-Paths", apps.hola, path="/nothing/matters/again")
    apps.route("IATS-Paths-2", apps.hello, path="/nothing/matters")
    again = url("IATS-Paths", "/nothing/matters/again")
    until(lambda: apps.statuses(again) == {200} and apps.greetings(again, 3) == {"hola": 3})
    for host in ("IATS-Paths", "IATS-Paths-2"):
        where = url(host, "/nothing/matters")
        apps.stage.until(where, lambda status: status == 200)
        assert apps.greetings(where, 5) == {"hello": 5}


def test_apps_of_one_host_and_other_paths_never_meet(apps: Apps) -> None:
    """Context paths: the other app never answers."""
    apps.route("IATS-Split", apps.hello, path="/one")
    apps.route("IATS-Split", apps.hola, path="/two")
    for path in ("/one", "/two"):
        apps.stage.until(url("IATS-Split", path), lambda status: status == 200)
    assert apps.greetings(url("IATS-Split", "/one"), 40) == {"hello": 40}
    assert apps.greetings(url("IATS-Split", "/two"), 40) == {"hola": 40}


def test_apps_of_one_route_take_turns(apps: Apps) -> None:
    """Context paths: one host and path of two apps; round robin over apps."""
    where = url("IATS-Shared", "/both")
    apps.route("IATS-Shared", apps.hello, apps.hola, path="/both")
    apps.stage.until(where, lambda status: status == 200)
    until(lambda: set(apps.greetings(where, 20)) == {"hello", "hola"})
    apps.route("IATS-Own-1", apps.hello)
    apps.route("IATS-Own-2", apps.hola)
    for host, greeting in (("IATS-Own-1", "hello"), ("IATS-Own-2", "hola")):
        apps.stage.until(url(host), lambda status: status == 200)
        assert apps.greetings(url(host), 4) == {greeting: 4}


def test_instances_take_turns(apps: Apps) -> None:
    """Round robin over instances, each with its own index and guid."""
    client = apps.stage.client
    apps.route("IATS-Turns", apps.hello)
    client.scale(apps.hello, 2)
    try:
        client.wait_running(apps.hello)

        def seen() -> set[tuple[Any, Any]]:
            replies = apps.stage.outside.get(url("IATS-Turns"), times=10)
            return {
                (r.json().get("instance_index"), r.json().get("instance_guid")) for r in replies
            }

        until(lambda: len(seen()) == 2)
    finally:
        client.scale(apps.hello, 1)


def _near(found: Counter[str]) -> bool:
    """1 of 10 says hello, give or take what chance does to 100 requests."""
    return found["hello"] + found["hola"] == 100 and 1 <= found["hello"] <= 22


def test_weights_split_an_external_route(apps: Apps) -> None:
    """Weighted, external: 1 and 9, which the original suite skips."""
    route = apps.route("IATS-Weights", apps.hello, apps.hola)
    apps.stage.client.split_route(route, {apps.hello: 1, apps.hola: 9})
    apps.stage.until(url("IATS-Weights"), lambda status: status == 200)
    until(lambda: _near(apps.greetings(url("IATS-Weights"), 100)))


def test_weights_split_an_internal_route(apps: Apps) -> None:
    """Weighted, internal: through an app that may call both."""
    client, source = apps.stage.client, apps.stage.guids["frontend"]
    route = apps.route("iats-weights", apps.hello, apps.hola, domain=INTERNAL)
    client.split_route(route, {apps.hello: 1, apps.hola: 9})
    for app in (apps.hello, apps.hola):
        client.allow(source, app, ports=POLICY_PORTS)
    try:
        where = apps.stage.via_frontend("iats-weights")
        until(lambda: apps.statuses(where) == {200})
        until(lambda: _near(apps.greetings(where, 100)))
    finally:
        for app in (apps.hello, apps.hola):
            client.deny(source, app, ports=POLICY_PORTS)


def test_what_fails_two_times_of_three_is_retried(apps: Apps) -> None:
    """Retries: each of three single requests is answered 200."""
    where = apps.stage.via_frontend("flaky")
    apps.stage.until(where, lambda status: status == 200)
    assert apps.statuses(where, 3) == {200}


def test_a_domain_that_a_user_makes_below_the_meshs_is_served_too(apps: Apps) -> None:
    """Not of the original suite: there the domains are the operator's."""
    client, name = apps.stage.client, f"team.{EXTERNAL}"
    made = client.post("/v3/domains", {"name": name})
    try:
        client.map_route(apps.hello, name, "IATS-Domain")
        apps.stage.until(f"http://iats-domain.{name}/", lambda status: status == 200)
    finally:
        client.job("DELETE", f"/v3/domains/{made['guid']}")
    apps.stage.until(f"http://iats-domain.{name}/", lambda status: status == 404)
