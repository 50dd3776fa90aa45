"""State-of-the-world ADS: what a response holds, which requests count, what goes silently."""

from __future__ import annotations

from typing import Any

from envoy.service.discovery.v3 import discovery_pb2

from meshnet.proxy.xds import CLUSTERS, ENDPOINTS, LISTENERS, ROUTES, Resource
from meshnet.wire.ads_state import StateStream

View = dict[str, dict[str, Resource]]


def view(c: str = "", e: str = "", x: str = "", r: str = "") -> View:
    """Resources as "name=version name=version"; the body is the version."""

    def made(text: str) -> dict[str, Resource]:
        pairs = (word.split("=") for word in text.split())
        return {name: Resource(version, version.encode()) for name, version in pairs}

    return {CLUSTERS: made(c), ENDPOINTS: made(e), LISTENERS: made(x), ROUTES: made(r)}


def request(type_url: str, *names: str, nonce: str = "", error: str = "") -> Any:
    message = discovery_pb2.DiscoveryRequest(type_url=type_url, response_nonce=nonce)
    message.resource_names.extend(names)
    if error:
        message.error_detail.message = error
    return message


class Proxy:
    """Enough of an Envoy: acknowledges everything, and names the endpoints and tables it wants."""

    def __init__(self, state: View, *tables: str) -> None:
        self.stream = StateStream()
        self.names = {CLUSTERS: [], ENDPOINTS: [], LISTENERS: [], ROUTES: [*tables]}
        self.log: list[tuple[str, list[str]]] = []
        for type_url in (CLUSTERS, LISTENERS, ROUTES):
            self.stream.receive(request(type_url, *self.names[type_url]))
        self.settle(state)

    def settle(self, state: View) -> list[tuple[str, list[str]]]:
        """What was said until nothing more is due: (kind, the bodies)."""
        self.log = []
        while responses := self.stream.send(state):
            for one in responses:
                self.log.append((one.type_url, [r.value.decode() for r in one.resources]))
                self.stream.receive(
                    request(one.type_url, *self.names[one.type_url], nonce=one.nonce)
                )
                if one.type_url == CLUSTERS and self.names[ENDPOINTS] != [*state[CLUSTERS]]:
                    self.names[ENDPOINTS] = [*state[CLUSTERS]]
                    nonce = self.stream._nonces.get(ENDPOINTS, "")
                    self.stream.receive(request(ENDPOINTS, *self.names[ENDPOINTS], nonce=nonce))
        return self.log


FULL = view(c="a=c1 b=c2", e="a=e1 b=e2", x="l=l1", r="t=r1")


def test_clusters_and_listeners_travel_whole_of_the_others_what_changed() -> None:
    proxy = Proxy(FULL, "t")
    assert proxy.stream.in_step(FULL)
    assert proxy.settle(view(c="a=c1 b=c2", e="a=e1 b=e3", x="l=l1", r="t=r1")) == [
        (ENDPOINTS, ["e3"])
    ]
    more = view(c="a=c1 b=c2 c=c3", e="a=e1 b=e3 c=e4", x="l=l1", r="t=r2")
    assert proxy.settle(more) == [
        (CLUSTERS, ["c1", "c2", "c3"]), (ENDPOINTS, ["e4"]), (ROUTES, ["r2"])
    ]  # fmt: skip


def test_a_cluster_goes_by_not_being_said_any_more_after_the_route_that_used_it() -> None:
    proxy = Proxy(FULL, "t")
    less = view(c="a=c1", e="a=e1", x="l=l1", r="t=r2")
    assert proxy.settle(less) == [(ROUTES, ["r2"]), (CLUSTERS, ["c1"])]
    assert proxy.stream.in_step(less)


def test_what_goes_without_a_word_holds_nothing_else_back() -> None:
    full = view(c="a=c1 b=c2", e="a=e1 b=e2", x="l=l1 m=l2", r="t=r1 u=r2")
    proxy = Proxy(full, "t", "u")
    # The table goes while the proxy still names it; of tables only those that are there are said.
    less = view(c="a=c1", e="a=e1", x="l=l1", r="t=r1")
    stream = proxy.stream
    stream._types[ROUTES].pending = "outstanding"
    (listeners,) = stream.send(less)
    assert [r.value for r in listeners.resources] == [b"l1"]
    stream.receive(request(LISTENERS, nonce=listeners.nonce))
    assert stream.send(less) == []
    stream._types[ROUTES].pending = ""
    assert [(r.type_url, len(r.resources)) for r in stream.send(less)] == [(CLUSTERS, 1)]


def test_a_request_that_answers_an_older_response_is_ignored() -> None:
    proxy = Proxy(FULL, "t")
    old = proxy.stream._nonces[ENDPOINTS]
    later = view(c="a=c1 b=c2", e="a=e1 b=e3", x="l=l1", r="t=r1")
    (response,) = proxy.stream.send(later)
    proxy.stream.receive(request(ENDPOINTS, "a", nonce=old))
    assert not proxy.stream.in_step(later)  # neither an acknowledgement nor a wish for less
    proxy.stream.receive(request(ENDPOINTS, "a", "b", nonce=response.nonce))
    assert proxy.stream.in_step(later)


def test_a_name_that_is_asked_for_anew_is_told_again() -> None:
    proxy = Proxy(FULL, "t")
    nonce = proxy.stream._nonces[ROUTES]
    proxy.stream.receive(request(ROUTES, nonce=nonce))
    assert proxy.stream.send(FULL) == []
    proxy.stream.receive(request(ROUTES, "t", nonce=nonce))
    (response,) = proxy.stream.send(FULL)
    assert [r.value for r in response.resources] == [b"r1"]


def test_equal_resources_give_an_equal_version() -> None:
    versions = []
    for _ in range(2):
        stream = StateStream()
        stream.receive(request(CLUSTERS))
        (response,) = stream.send(FULL)
        versions.append(response.version_info)
    assert versions[0] == versions[1] != ""


def test_the_first_answer_comes_even_when_there_is_nothing() -> None:
    stream = StateStream()
    stream.receive(request(CLUSTERS))
    (response,) = stream.send(view())
    assert (response.type_url, len(response.resources)) == (CLUSTERS, 0)


def test_the_bad_one_of_several_is_held_back_and_the_others_are_said() -> None:
    stream = StateStream()
    stream.receive(request(CLUSTERS))
    state = view(c="a=c1 b=bad c=c3 d=c4")
    said = []
    while responses := stream.send(state):
        (response,) = responses
        bodies = [r.value for r in response.resources]
        said.append(bodies)
        error = "no" if b"bad" in bodies else ""
        stream.receive(request(CLUSTERS, nonce=response.nonce, error=error))
    assert said[-1] == [b"c1", b"c3", b"c4"]
    assert [r.name for r in stream.held_back()] == ["b"]
    assert stream.send(view(c="a=c1 b=bad c=c3 d=c4")) == []
    (response,) = stream.send(view(c="a=c1 b=good c=c3 d=c4"))
    assert sorted(r.value for r in response.resources) == [b"c1", b"c3", b"c4", b"good"]


def test_a_resource_that_was_good_before_stays_as_it_was_while_its_bad_successor_is_held() -> None:
    proxy = Proxy(FULL, "t")
    worse = view(c="a=bad b=c2", e="a=e1 b=e2", x="l=l1", r="t=r1")
    clusters, endpoints = proxy.stream.send(worse)
    proxy.stream.receive(request(CLUSTERS, nonce=clusters.nonce, error="no"))
    proxy.stream.receive(request(ENDPOINTS, "a", "b", nonce=endpoints.nonce))
    later = view(c="a=bad b=c3", e="a=e1 b=e2", x="l=l1", r="t=r1")
    assert proxy.settle(later)[0] == (CLUSTERS, ["c1", "c3"])


def test_who_names_something_wants_all_no_longer_until_it_says_so() -> None:
    stream = StateStream()

    def said(*names: str, nonce: str) -> tuple[list[str], str]:
        stream.receive(request(LISTENERS, *names, nonce=nonce))
        responses = [one for one in stream.send(state) if one.type_url == LISTENERS]
        assert len(responses) == 1
        return [r.value.decode() for r in responses[0].resources], responses[0].nonce

    state = view(c="a=c1", x="l=l1 m=m1")
    stream.receive(request(CLUSTERS))
    (clusters,) = stream.send(state)
    stream.receive(request(CLUSTERS, nonce=clusters.nonce))
    bodies, nonce = said(nonce="")
    assert bodies == ["l1", "m1"]
    bodies, nonce = said("m", nonce=nonce)
    assert bodies == ["m1"]
    bodies, nonce = said("*", nonce=nonce)
    assert bodies == ["l1", "m1"]
