"""Delta ADS: what is sent, in which order, and what a refusal does."""

from __future__ import annotations

from typing import Any

from envoy.service.discovery.v3 import discovery_pb2

from meshnet.proxy.xds import CLUSTERS, ENDPOINTS, LISTENERS, ROUTES, Resource
from meshnet.wire.ads import DeltaStream, Refusal

View = dict[str, dict[str, Resource]]


def view(**versions: dict[str, str]) -> View:
    kinds = {"c": CLUSTERS, "e": ENDPOINTS, "l": LISTENERS, "r": ROUTES}
    made: View = {kind: {} for kind in kinds.values()}
    for short, names in versions.items():
        made[kinds[short]] = {n: Resource(v, v.encode()) for n, v in names.items()}
    return made


def request(type_url: str, *names: str, nonce: str = "", error: str = "", **known: str) -> Any:
    message = discovery_pb2.DeltaDiscoveryRequest(type_url=type_url, response_nonce=nonce)
    message.resource_names_subscribe.extend(names)
    message.initial_resource_versions.update(known)
    if error:
        message.error_detail.message = error
    return message


class Proxy:
    """Enough of an Envoy: acknowledges everything, and subscribes to the endpoints it needs."""

    def __init__(self, stream: DeltaStream) -> None:
        self.stream = stream
        self.log: list[tuple[str, list[str], list[str]]] = []

    def settle(self, state: View) -> list[str]:
        order = []
        while responses := self.stream.send(state):
            for response in responses:
                kind = response.type_url.rpartition(".")[2]
                names = [r.name for r in response.resources]
                self.log.append((kind, names, list(response.removed_resources)))
                order.append(kind)
                self.stream.receive(request(response.type_url, nonce=response.nonce))
                if response.type_url == CLUSTERS and names:
                    self.stream.receive(request(ENDPOINTS, *names))
        return order


def connected(state: View) -> Proxy:
    proxy = Proxy(DeltaStream())
    for type_url, names in ((CLUSTERS, ()), (LISTENERS, ()), (ROUTES, ("t",))):
        proxy.stream.receive(request(type_url, *names))
    proxy.settle(state)
    return proxy


FULL = view(c={"a": "1"}, e={"a": "1"}, l={"x": "1"}, r={"t": "1"})


def test_clusters_and_endpoints_come_before_listeners_and_routes() -> None:
    proxy = connected(FULL)
    kinds = [kind for kind, _, _ in proxy.log]
    assert kinds.index("Cluster") < kinds.index("ClusterLoadAssignment")
    assert kinds.index("ClusterLoadAssignment") < kinds.index("Listener")
    assert proxy.stream.in_step(FULL)


def test_only_what_changed_is_sent() -> None:
    proxy = connected(FULL)
    proxy.log.clear()
    proxy.settle(view(c={"a": "1"}, e={"a": "2"}, l={"x": "1"}, r={"t": "1"}))
    assert proxy.log == [("ClusterLoadAssignment", ["a"], [])]


def test_a_cluster_is_removed_after_the_route_that_used_it() -> None:
    proxy = connected(FULL)
    proxy.log.clear()
    after = view(c={"b": "1"}, e={"b": "1"}, l={"x": "1"}, r={"t": "2"})
    proxy.settle(after)
    routes = proxy.log.index(("RouteConfiguration", ["t"], []))
    removal = next(i for i, (k, _, gone) in enumerate(proxy.log) if k == "Cluster" and "a" in gone)
    assert routes < removal
    assert proxy.stream.in_step(after)


def test_the_first_answer_comes_even_when_there_is_nothing() -> None:
    stream = DeltaStream()
    stream.receive(request(CLUSTERS))
    assert [r.type_url for r in stream.send(view())] == [CLUSTERS]
    assert stream.send(view()) == []


def test_a_reconnecting_proxy_gets_the_difference_only() -> None:
    stream = DeltaStream()
    stream.receive(request(CLUSTERS, a="1", gone="1"))
    (response,) = stream.send(view(c={"a": "1", "b": "1"}))
    assert [r.name for r in response.resources] == ["b"]


def test_a_refused_response_is_counted_and_not_sent_again() -> None:
    stream = DeltaStream()
    stream.receive(request(CLUSTERS))
    (response,) = stream.send(FULL)
    stream.receive(request(CLUSTERS, nonce=response.nonce, error="bad cluster"))
    assert stream.refusals == [Refusal("CDS", "a", "bad cluster")] == stream.held_back()
    assert [r for r in stream.send(FULL) if r.type_url == CLUSTERS] == []
    changed = view(c={"a": "2"}, e={"a": "1"})
    assert [r.resources[0].version for r in stream.send(changed)] == ["2"]


def test_a_subscribed_name_that_does_not_exist_is_said_to_be_absent() -> None:
    stream = DeltaStream()
    stream.receive(request(ENDPOINTS, "nobody"))
    (response,) = stream.send(view())
    assert list(response.removed_resources) == ["nobody"]
    stream.receive(request(ENDPOINTS, nonce=response.nonce))
    assert stream.send(view()) == []
    (late,) = stream.send(view(e={"nobody": "1"}))
    assert late.resources[0].name == "nobody"


def test_nothing_is_sent_while_an_answer_is_outstanding() -> None:
    stream = DeltaStream()
    stream.receive(request(CLUSTERS))
    stream.send(FULL)
    assert stream.send(view(c={"a": "2"}, e={"a": "1"})) == []
