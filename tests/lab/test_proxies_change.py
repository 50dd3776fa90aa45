"""Copilot, Pilot and real Envoys: what a proxy refuses keeps nothing else from it, and what goes is
drained. In both forms of ADS; needs no lab.
"""

from __future__ import annotations

import http.client
import os
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from meshnet.kernel import netns

from .proxy_parts import Load, ask, wait
from .proxy_world import World

pytestmark = pytest.mark.sudo

_SLOW_SECONDS = 1.5
# Pilots that make of a host named so what an Envoy does not take.
_BAD_CLUSTERS = """
import meshnet.proxy.envoy as e
good = e._cluster
def bad(config):
    made = good(config)
    if "refused-cds" in config.name:
        made.connect_timeout.FromSeconds(0)
    return made
e._cluster = bad
"""
_BAD_ROUTES = """
import meshnet.proxy.envoy as e
good = e._host
def bad(config):
    made = good(config)
    if "refused-rds" in config.name:
        made.domains.append(made.domains[0])
    return made
e._host = bad
"""


@pytest.fixture(scope="module", params=["DELTA_GRPC", "GRPC"])
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    made = World(f"e-pc-{os.getpid()}", request.param)
    try:
        made.start()
        yield made
    finally:
        made.close()


def router(world: World) -> dict[str, Any]:
    rows = [row for row in world.status()["proxies"] if row["id"].startswith("router~")]
    return rows[0] if rows else {"held_back": [], "in_step": False, "connected": False}


@pytest.mark.parametrize(
    ("release", "service", "answer"),
    [(_BAD_CLUSTERS, "CDS", 503), (_BAD_ROUTES, "RDS", 404)],
    ids=["cluster", "routes"],
)
def test_what_a_proxy_refuses_is_held_back_alone_and_told(
    world: World, release: str, service: str, answer: int
) -> None:
    refused, before, after = (f"{name}-{service}.x".lower() for name in ("refused", "a", "b"))
    world.app(f"p{service}", f"10.255.1.{10 + answer % 100}")
    world.route(before, {f"p{service}": 1})
    world.until(200, before)
    with Load(lambda: world.get(before)) as load:
        world.kill("pilot", release)
        wait(lambda: router(world)["in_step"])
        world.route(refused, {f"p{service}": 1})
        wait(lambda: router(world)["held_back"])
        (held,) = router(world)["held_back"]
        assert held["service"] == service and refused in held["name"] and held["error"]
        assert router(world)["steps"][service] == "rejected" and not router(world)["in_step"]
        # The others go on, whatever their kind.
        world.route(after, {f"p{service}": 1})
        world.until(200, after)
        assert world.get(refused)[0] == answer
        rejected = router(world)["rejected"]
        world.route(f"more-{service}.x".lower(), {f"p{service}": 1})
        world.until(200, f"more-{service}.x".lower())
        assert router(world)["rejected"] == rejected, "tried again though nothing of it differs"
        log = world.daemons["pilot"].log.read_text()
        assert f"rejected {service}" in log and refused in log
        metrics = ask(world.status_socket, "/metrics")
        assert f'pilot_total_xds_rejects{{type="{service}"}} {rejected}' in metrics
        world.kill("pilot")
        world.until(200, refused, seconds=10.0)
        wait(lambda: router(world)["in_step"])
        assert router(world)["held_back"] == []
    assert load.failed() == []


def slow(world: World, host: str, **where: Any) -> Callable[[], tuple[int, str]]:
    """A request that is on its way; its answer, when it is there."""
    found: list[tuple[int, str]] = []

    def request() -> None:
        found.append(world.get(host, **where))

    thread = threading.Thread(target=request)
    thread.start()

    def answer() -> tuple[int, str]:
        thread.join()
        return found[0]

    return answer


@pytest.mark.parametrize("internal", [False, True], ids=["external", "internal"])
def test_a_request_on_its_way_is_answered_though_all_it_needs_is_taken_away(
    world: World, internal: bool
) -> None:
    kind = "in" if internal else "ex"
    host, process = f"drain-{kind}.x", f"d{kind}"
    app = world.app(process, f"10.255.1.{30 + internal}")
    guid = world.route(host, {process: 1}, internal=internal)
    where = {"address": world.vip(host), "port": 8080} if internal else {}
    world.until(200, host, **where)
    app.delay = _SLOW_SECONDS
    seen = app.seen
    answer = slow(world, host, **where)
    wait(lambda: app.seen > seen)
    # Endpoint, route, listener and cluster go, one after the other.
    world.scale(process, [])
    world.copilot(lambda c: c.delete_route(guid))
    world.until(404, host, **where)
    wait(world.in_step)
    assert answer() == (200, process)


def test_a_connection_that_stays_open_survives_changes_of_its_listener(world: World) -> None:
    host, process, other = "stays.x", "stays", "other"
    world.app(process, "10.255.1.40")
    world.app(other, "10.255.1.41")
    world.route(host, {process: 1}, internal=True)
    where = (world.vip(host), 8080)
    world.until(200, host, address=where[0], port=where[1])
    connection = _Kept(world, where)
    with Load(lambda: connection.get(host)) as load:
        for number in range(6):
            world.route(host, {process: 1 + number, other: 6 - number}, internal=True)
            world.route(f"near-{number}.x", {process: 1}, internal=True)
            wait(world.in_step)
        wait(lambda: {body for _, body in load.replies} == {process, other})
    assert load.failed() == []
    assert connection.opened < len(load.replies) / 4


class _Kept:
    """One connection from inside, opened anew where the proxy asks for that."""

    def __init__(self, world: World, where: tuple[str, int]) -> None:
        self._world, self._where, self.opened = world, where, 0
        self._connection: http.client.HTTPConnection | None = None

    def get(self, host: str) -> tuple[int, str]:
        if self._connection is None or self._connection.sock is None:
            self._connection = http.client.HTTPConnection(host)
            self._connection.sock = netns.run(
                self._world.space, lambda: socket.create_connection(self._where, 20)
            )
            self.opened += 1
        self._connection.request("GET", "/")
        reply = self._connection.getresponse()
        return reply.status, reply.read().decode()


@pytest.mark.parametrize("world", ["DELTA_GRPC"], indirect=True)
def test_a_proxy_that_meets_another_pilot_is_pushed_nothing_that_it_has(world: World) -> None:
    """Only the incremental form says what a proxy has."""
    host, process = "again.x", "again"
    world.app(process, "10.255.1.50")
    for number in range(20):
        world.route(f"{number}-{host}", {process: 1})
    world.until(200, f"19-{host}")
    wait(world.in_step)
    world.kill("pilot")
    wait(lambda: router(world)["connected"] and world.in_step())
    status = world.status()
    # The first answers to the two wildcards, and scopes; nothing in them.
    assert router(world)["pushes"] <= 3 and sum(status["pushed_bytes"].values()) < 1000, status
