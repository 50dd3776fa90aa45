"""Delta ADS: nothing is taken away from a proxy that its routes still use."""

from __future__ import annotations

import pytest
from envoy.service.discovery.v3 import discovery_pb2

from meshnet.proxy.xds import CLUSTERS, ENDPOINTS, LISTENERS, ROUTES, Resource
from meshnet.wire.ads import DeltaStream

View = dict[str, dict[str, Resource]]
VACANT = Resource("0", b"", vacant=True)


def view(routes: str, **endpoints: Resource) -> View:
    return {
        CLUSTERS: {name: Resource("1", b"") for name in endpoints},
        ENDPOINTS: dict(endpoints),
        LISTENERS: {"x": Resource("1", b"")},
        ROUTES: {"t": Resource(routes, b"")},
    }


def ask(type_url: str, *names: str, nonce: str = "", error: str = "") -> object:
    request = discovery_pb2.DeltaDiscoveryRequest(type_url=type_url, response_nonce=nonce)
    request.resource_names_subscribe.extend(names)
    if error:
        request.error_detail.message = error
    return request


def settle(stream: DeltaStream, state: View) -> list[tuple[str, list[str]]]:
    log = []
    while responses := stream.send(state):
        for r in responses:
            log.append((r.type_url, [x.name for x in r.resources] + list(r.removed_resources)))
            stream.receive(ask(r.type_url, nonce=r.nonce))
    return log


def connected(state: View) -> DeltaStream:
    stream = DeltaStream()
    subscriptions = {CLUSTERS: (), ENDPOINTS: ("a", "b"), LISTENERS: (), ROUTES: ("t",)}
    for type_url, names in subscriptions.items():
        stream.receive(ask(type_url, *names))
    settle(stream, state)
    assert stream.in_step(state)
    return stream


ONE = Resource("1", b"")


def test_the_last_endpoint_goes_after_the_routes_that_go_elsewhere() -> None:
    stream = connected(view("1", a=ONE, b=ONE))
    assert settle(stream, view("2", a=ONE, b=VACANT)) == [(ROUTES, ["t"]), (ENDPOINTS, ["b"])]


def test_the_last_endpoint_goes_at_once_where_no_route_changes() -> None:
    stream = connected(view("1", a=ONE, b=ONE))
    assert settle(stream, view("1", a=ONE, b=VACANT)) == [(ENDPOINTS, ["b"])]


def test_a_new_cluster_without_endpoints_keeps_nobody_waiting() -> None:
    stream = connected(view("1", a=ONE))
    state = view("2", a=ONE, b=VACANT)
    assert [kind for kind, _ in settle(stream, state)] == [CLUSTERS, ENDPOINTS, ROUTES]
    assert stream.in_step(state)


def test_a_changed_cluster_is_told_its_endpoints_again() -> None:
    stream = connected(view("1", a=ONE))
    state = view("1", a=ONE)
    state[CLUSTERS]["a"] = Resource("2", b"")
    assert settle(stream, state) == [(CLUSTERS, ["a"]), (ENDPOINTS, ["a"])]


def test_a_changed_cluster_is_told_its_endpoints_by_another_pilot_too() -> None:
    stream, state = DeltaStream(), view("1", a=ONE)
    state[CLUSTERS]["a"] = Resource("2", b"")
    first = discovery_pb2.DeltaDiscoveryRequest(type_url=CLUSTERS)
    first.initial_resource_versions["a"] = "1"
    stream.receive(first)
    (response,) = stream.send(state)
    # The proxy's words on its endpoints arrive only now: it still has those of the old cluster.
    second = discovery_pb2.DeltaDiscoveryRequest(type_url=ENDPOINTS)
    second.resource_names_subscribe.append("a")
    second.initial_resource_versions["a"] = "1"
    stream.receive(second)
    (endpoints,) = stream.send(state)
    assert [r.name for r in endpoints.resources] == ["a"]
    stream.receive(ask(CLUSTERS, nonce=response.nonce))
    stream.receive(ask(ENDPOINTS, nonce=endpoints.nonce))
    assert stream.send(state) == []


def test_a_reconnecting_proxy_whose_clusters_are_as_before_is_not_told_endpoints_again() -> None:
    stream, state = DeltaStream(), view("1", a=ONE)
    for type_url in (CLUSTERS, ENDPOINTS):
        request = discovery_pb2.DeltaDiscoveryRequest(type_url=type_url)
        request.resource_names_subscribe.extend(["a"] if type_url == ENDPOINTS else [])
        request.initial_resource_versions["a"] = "1"
        stream.receive(request)
    assert [(r.type_url, len(r.resources)) for r in stream.send(state)] == [(CLUSTERS, 0)]


def test_a_proxy_that_refused_something_is_not_in_step_until_it_takes_something_else() -> None:
    stream = connected(view("1", a=ONE))
    bad = view("2", a=ONE)
    (response,) = stream.send(bad)
    stream.receive(ask(ROUTES, nonce=response.nonce, error="bad"))
    assert stream.send(bad) == [] and not stream.in_step(bad)
    good = view("3", a=ONE)
    settle(stream, good)
    assert stream.in_step(good)


@pytest.mark.parametrize("type_url", ["", "type.googleapis.com/envoy.unknown"])
def test_a_type_nobody_serves_is_ignored(type_url: str) -> None:
    stream = connected(view("1", a=ONE))
    stream.receive(ask(type_url, "x"))
    assert stream.send(view("1", a=ONE)) == []


def test_steps_say_which_service_is_not_in_step() -> None:
    state = view("1", a=Resource("1", b""), b=Resource("1", b""))
    stream = connected(state)
    steps = dict.fromkeys(("CDS", "EDS", "LDS", "RDS"), "in step")
    assert stream.steps(state) == {**steps, "SRDS": "not asked"}
    later = view("2", a=Resource("1", b""), b=Resource("1", b""))
    assert stream.steps(later) == {**stream.steps(state), "RDS": "stale"}
    (response,) = stream.send(later)
    assert stream.steps(later)["RDS"] == "stale"  # sent, not acknowledged
    stream.receive(ask(ROUTES, nonce=response.nonce, error="no such filter"))
    assert stream.steps(later)["RDS"] == "rejected" and len(stream.refusals) == 1
    assert DeltaStream().steps(state)["RDS"] == "not asked"
