"""Delta ADS: a refused resource keeps nothing from a proxy but itself."""

from __future__ import annotations

import pytest
from envoy.service.discovery.v3 import discovery_pb2

from meshnet.proxy.xds import CLUSTERS, ENDPOINTS, LISTENERS, ROUTES, SCOPES, Resource
from meshnet.wire.ads import DeltaStream, Refusal

View = dict[str, dict[str, Resource]]


def ask(type_url: str, *names: str, nonce: str = "", error: str = "") -> object:
    request = discovery_pb2.DeltaDiscoveryRequest(type_url=type_url, response_nonce=nonce)
    request.resource_names_subscribe.extend(names)
    if error:
        request.error_detail.message = error
    return request


class Proxy:
    """Refuses whatever holds a resource whose body begins with "bad"; takes nothing of that."""

    def __init__(self, *, names_culprits: bool) -> None:
        self.stream, self._names_culprits = DeltaStream(), names_culprits
        self.has: dict[str, dict[str, bytes]] = {}
        self.responses = 0
        for type_url in (CLUSTERS, LISTENERS):
            self.stream.receive(ask(type_url))
        self.stream.receive(ask(ROUTES, "t", "u"))

    def settle(self, state: View) -> None:
        while due := self.stream.send(state):
            for one in due:
                self.responses += 1
                found = {r.name: r.resource.value for r in one.resources}
                bad = [name for name, body in found.items() if body.startswith(b"bad")]
                error = f"error: {', '.join(bad)}" if self._names_culprits else "error"
                if not bad:
                    has = self.has.setdefault(one.type_url, {})
                    has.update(found)
                    for name in one.removed_resources:
                        has.pop(name, None)
                nonce = one.nonce
                self.stream.receive(ask(one.type_url, nonce=nonce, error=error if bad else ""))
                if one.type_url == CLUSTERS and not bad and found:
                    self.stream.receive(ask(ENDPOINTS, *found))


def one(body: str) -> Resource:
    return Resource(body, body.encode())


def mesh(count: int, bad: set[int], *, table: str = "r1", version: str = "") -> View:
    names = [f"c{n}" for n in range(count)]
    return {
        CLUSTERS: {
            name: one(f"bad{version}" if n in bad else "good") for n, name in enumerate(names)
        },
        ENDPOINTS: {name: one("e") for name in names},
        LISTENERS: {"l": one("l")},
        SCOPES: {},
        ROUTES: {"t": one(table), "u": one("r")},
    }


@pytest.mark.parametrize("names_culprits", [True, False])
@pytest.mark.parametrize("bad", [{0}, {7, 300, 499}, set(range(5))])
def test_only_the_bad_ones_are_held_back_and_routes_go_on(
    bad: set[int], names_culprits: bool
) -> None:
    proxy, state = Proxy(names_culprits=names_culprits), mesh(500, bad)
    proxy.settle(state)
    assert set(proxy.has[CLUSTERS]) == {f"c{n}" for n in range(500) if n not in bad}
    assert proxy.has[ROUTES] == {"t": b"r1", "u": b"r"} and proxy.has[LISTENERS] == {"l": b"l"}
    held = proxy.stream.held_back()
    assert [(r.service, r.name) for r in held] == [("CDS", f"c{n}") for n in sorted(bad, key=str)]
    assert sorted(proxy.stream.refusals, key=lambda r: r.name) == held
    assert not proxy.stream.in_step(state) and proxy.stream.steps(state)["CDS"] == "rejected"
    # Halves: some 2 log2(500) rounds for each bad one, and as few where the proxy names it.
    assert proxy.responses < 20 * len(bad) + 10


def test_it_is_tried_again_when_it_differs_and_only_then() -> None:
    proxy = Proxy(names_culprits=True)
    proxy.settle(mesh(3, {1}))
    before = proxy.responses
    proxy.settle(mesh(3, {1}))
    assert proxy.responses == before
    proxy.settle(mesh(3, {1}, version="er"))
    assert proxy.responses == before + 1 and len(proxy.stream.refusals) == 2
    proxy.settle(mesh(3, set()))
    assert proxy.stream.held_back() == [] and proxy.stream.in_step(mesh(3, set()))


def test_a_bad_table_is_held_back_and_the_other_one_and_later_clusters_go_on() -> None:
    proxy = Proxy(names_culprits=False)
    proxy.settle(mesh(2, set(), table="bad"))
    assert proxy.has[ROUTES] == {"u": b"r"}
    proxy.settle(mesh(4, set(), table="bad"))
    assert len(proxy.has[CLUSTERS]) == 4
    assert proxy.stream.held_back() == [Refusal("RDS", "t", "error")]
    assert proxy.stream.steps(mesh(4, set(), table="bad"))["RDS"] == "rejected"


def test_a_held_back_resource_that_goes_is_forgotten() -> None:
    proxy = Proxy(names_culprits=True)
    proxy.settle(mesh(3, {2}))
    proxy.settle(mesh(2, set()))
    assert proxy.stream.held_back() == [] and proxy.stream.in_step(mesh(2, set()))


def test_only_what_is_said_to_differ_is_looked_at() -> None:
    proxy, state = Proxy(names_culprits=True), mesh(3, set())
    proxy.settle(state)
    before = proxy.responses
    state[ENDPOINTS]["c1"] = one("e2")
    state[ENDPOINTS]["c2"] = one("e2")
    assert proxy.stream.send(state) == []
    proxy.stream.changed({ENDPOINTS: ["c1"]})
    proxy.settle(state)
    assert proxy.responses == before + 1 and proxy.has[ENDPOINTS]["c1"] == b"e2"
    assert proxy.has[ENDPOINTS]["c2"] == b"e"
