"""MCP: what a source answers, what a sink refuses, and both together."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshnet.wire import mcp
from meshnet.wire.gen import istio_networking_pb2 as istio
from meshnet.wire.gen import mcp_pb2
from meshnet.wire.mcp_sink import Sink
from meshnet.wire.mcp_source import Catalog, Collection, SourceStream, UnsupportedCollection


class Source:
    """A catalog and one stream of it."""

    def __init__(self, *hosts: str) -> None:
        self.catalog = Catalog()
        self.stream = SourceStream(self.catalog)
        self.have(*hosts)

    def have(self, *hosts: str) -> None:
        """Let these be all the virtual services there are."""
        present = self.catalog.collections[mcp.VIRTUAL_SERVICES].resources
        services = {f"vs-{h}": istio.VirtualService(hosts=[h]) for h in hosts}
        changes = {mcp.VIRTUAL_SERVICES: {**dict.fromkeys(present), **services}}
        self.stream.changed(self.catalog.update(changes))

    def ask(self, *requests: Any) -> list[Any]:
        for request in requests:
            self.stream.receive(request)
        return self.stream.send()


def request(
    nonce: str = "",
    error: str = "",
    name: str = mcp.VIRTUAL_SERVICES,
    incremental: bool = False,
    **versions: str,
) -> Any:
    message = mcp_pb2.RequestResources(
        collection=name,
        response_nonce=nonce,
        incremental=incremental,
        initial_resource_versions=versions,
    )
    if error:
        message.error_detail.message = error
    return message


def names(response: Any) -> list[str]:
    return [r.metadata.name for r in response.resources]


def test_a_subscription_is_answered_once_and_each_new_version_again() -> None:
    source = Source("a")
    assert source.ask() == []
    (first,) = source.ask(request())
    assert (first.nonce, names(first), first.incremental) == ("1", ["vs-a"], False)
    assert first.resources[0].body.type_url == (
        "type.googleapis.com/istio.networking.v1alpha3.VirtualService"
    )
    source.have("a", "b")
    assert source.ask() == []  # not before the answer to the first
    (second,) = source.ask(request("1"))
    assert (second.nonce, names(second)) == ("2", ["vs-a", "vs-b"])
    assert source.ask(request("2")) == []


def test_a_subscription_without_a_nonce_is_answered_anew() -> None:
    source = Source("a")
    source.ask(request())
    source.ask(request("1"))
    (again,) = source.ask(request())
    assert names(again) == ["vs-a"]


@pytest.mark.parametrize("incremental", [False, True])
def test_a_refused_version_is_not_sent_again_but_the_next_one_is(incremental: bool) -> None:
    source = Source("a")
    source.ask(request(incremental=incremental))
    assert source.stream.receive(request("1", "no", incremental=incremental)) == "no"
    assert source.ask() == []
    source.have("a", "b")
    (second,) = source.ask()
    assert names(second) == ["vs-a", "vs-b"]  # the first has not been taken, so it is in it again


def test_a_stale_nonce_acknowledges_nothing() -> None:
    source = Source("a")
    source.ask(request())
    assert source.stream.receive(request("7", "no")) is None
    source.have("b")
    assert source.ask() == []
    assert len(source.ask(request("1"))) == 1


def test_a_collection_nobody_serves_is_refused() -> None:
    with pytest.raises(UnsupportedCollection, match=r'^unsupported collection "nonsense"$'):
        Source().ask(request(name="nonsense"))


def test_the_nonce_is_shared_and_empty_collections_are_answered_too() -> None:
    replies = Source("a").ask(*(request(name=name) for name in mcp.COLLECTIONS))
    assert [r.nonce for r in replies] == [str(n) for n in range(1, 18)]
    assert {r.collection for r in replies} == set(mcp.COLLECTIONS)


def test_an_incremental_sink_is_sent_what_changed_and_nothing_else() -> None:
    source = Source("a", "b", "c")
    (first,) = source.ask(request(incremental=True))
    assert (names(first), first.incremental) == (["vs-a", "vs-b", "vs-c"], True)
    source.ask(request("1", incremental=True))
    source.have("a", "c", "d")
    (second,) = source.ask()
    assert (names(second), list(second.removed_resources)) == (["vs-d"], ["vs-b"])


def test_a_sink_that_comes_back_is_sent_what_differs_from_what_it_has() -> None:
    source = Source("a", "b")
    (first,) = source.ask(request(incremental=True))
    versions = {r.metadata.name: r.metadata.version for r in first.resources}
    again = SourceStream(source.catalog)
    again.receive(request(incremental=True, **{**versions, "vs-b": "other", "vs-x": "gone"}))
    (reply,) = again.send()
    assert (names(reply), list(reply.removed_resources)) == (["vs-b"], ["vs-x"])


def test_a_sink_that_has_everything_is_told_so() -> None:
    source = Source("a")
    versions = {
        name: one.metadata.version
        for name, one in source.catalog.collections[mcp.VIRTUAL_SERVICES].resources.items()
    }
    (reply,) = source.ask(request(incremental=True, **versions))
    assert (names(reply), list(reply.removed_resources)) == ([], [])


def test_a_round_ends_before_the_next_begins_and_only_its_last_part_says_so() -> None:
    both = (mcp.VIRTUAL_SERVICES, mcp.SERVICE_ENTRIES)
    source = Source("a")
    first = source.ask(*(request(name=name, incremental=True) for name in both))
    assert [r.more_follow for r in first] == [True, False]
    source.have("a", "b")
    assert source.ask(request("1", name=both[0], incremental=True)) == []
    assert len(source.ask(request("2", name=both[1], incremental=True))) == 1


def sink_and_source(*hosts: str) -> tuple[Sink, Source]:
    sink, source = Sink("pilot"), Source(*hosts)
    exchange(sink, source, source.ask(*sink.open()))
    return sink, source


def exchange(sink: Sink, source: Source, replies: list[Any]) -> None:
    """Until nothing is due."""
    while replies:
        replies = source.ask(*[sink.receive(reply) for reply in replies])


def test_a_sink_has_news_when_every_collection_came_and_not_before() -> None:
    sink, source = Sink("pilot"), Source("a")
    for reply in source.ask(*sink.open()):
        assert sink.news() is None
        source.stream.receive(sink.receive(reply))
    news = sink.news()
    assert news is not None and news.keys() == mcp.MESSAGES.keys()
    assert list(news[mcp.VIRTUAL_SERVICES].changed) == ["vs-a"]
    assert sink.held[mcp.VIRTUAL_SERVICES]["vs-a"].hosts == ["a"]
    assert source.ask() == [] and sink.news() is None


def test_a_sinks_news_are_what_changed() -> None:
    sink, source = sink_and_source("a", "b")
    sink.news()
    source.have("b", "c")
    exchange(sink, source, source.ask())
    news = sink.news()
    assert news is not None and set(news) == {mcp.VIRTUAL_SERVICES}
    delta = news[mcp.VIRTUAL_SERVICES]
    assert (set(delta.changed), delta.removed) == ({"vs-c"}, {"vs-a"})


def test_a_sink_that_comes_back_hears_what_it_missed() -> None:
    sink, _ = sink_and_source("a", "b")
    sink.news()
    after = Source("b", "c")  # a source that was restarted
    replies = after.ask(*sink.open())
    services = next(r for r in replies if r.collection == mcp.VIRTUAL_SERVICES)
    assert (names(services), list(services.removed_resources)) == (["vs-c"], ["vs-a"])
    exchange(sink, after, replies)
    assert set(sink.held[mcp.VIRTUAL_SERVICES]) == {"vs-b", "vs-c"}


def test_a_source_that_sends_whole_collections_is_understood() -> None:
    sink, _ = sink_and_source("a", "b")
    sink.news()
    made = Collection()
    made.put("vs-b", istio.VirtualService(hosts=["b"]))
    made.put("vs-c", istio.VirtualService(hosts=["c"]))
    whole = mcp_pb2.Resources(
        collection=mcp.VIRTUAL_SERVICES, nonce="9", resources=made.resources.values()
    )
    answer = sink.receive(whole)
    assert answer.response_nonce == "9" and not answer.HasField("error_detail")
    news = sink.news()
    assert news is not None
    delta = news[mcp.VIRTUAL_SERVICES]
    assert (set(delta.changed), delta.removed) == ({"vs-c"}, {"vs-a"})


def test_a_sink_waits_for_the_rest_of_a_change() -> None:
    sink, _ = sink_and_source("a")
    sink.news()
    part = mcp_pb2.Resources(
        collection=mcp.VIRTUAL_SERVICES,
        removed_resources=["vs-a"],
        incremental=True,
        more_follow=True,
    )
    sink.receive(part)
    assert sink.news() is None
    sink.receive(mcp_pb2.Resources(collection=mcp.SERVICE_ENTRIES, incremental=True))
    news = sink.news()
    assert news is not None and news[mcp.VIRTUAL_SERVICES].removed == {"vs-a"}


def test_a_sink_refuses_what_is_not_what_it_says_and_keeps_what_it_had() -> None:
    sink = Sink("pilot")
    wrong = mcp_pb2.Resources(collection=mcp.GATEWAYS, nonce="1")
    wrong.resources.append(mcp.resource("g", istio.Gateway()))
    sink.receive(wrong)
    wrong.resources.append(mcp.resource("h", istio.VirtualService()))
    wrong.nonce = "2"
    answer = sink.receive(wrong)
    assert (answer.error_detail.code, answer.response_nonce) == (3, "2")
    assert "h is a" in answer.error_detail.message
    assert "VirtualService" in answer.error_detail.message
    assert set(sink.held[mcp.GATEWAYS]) == {"g"}


def test_a_sink_refuses_a_body_of_bytes_that_are_no_message() -> None:
    reply = mcp_pb2.Resources(collection=mcp.GATEWAYS, nonce="1")
    body = reply.resources.add().body
    body.type_url = "type.googleapis.com/istio.networking.v1alpha3.Gateway"
    body.value = b"\xff\xff\xff"
    sink = Sink("pilot")
    assert sink.receive(reply).error_detail.code == 3
    assert not sink.held[mcp.GATEWAYS]


def test_a_sink_says_what_it_did_not_subscribe_to() -> None:
    assert Sink("pilot").receive(mcp_pb2.Resources(collection="x")).error_detail.code == 12


_STEPS = st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(["x", "y", None])))


@given(_STEPS)
def test_a_version_says_what_is_in_a_collection_whatever_led_to_it(
    steps: list[tuple[str, str | None]],
) -> None:
    walked, direct = Collection(), Collection()
    final: dict[str, str | None] = {}
    for name, host in steps:
        walked.put(name, host and istio.VirtualService(hosts=[host]))
        final[name] = host
    for name, host in sorted(final.items()):
        direct.put(name, host and istio.VirtualService(hosts=[host]))
    assert walked.version == direct.version
    assert walked.resources == direct.resources
    direct.put("d", istio.VirtualService())
    assert walked.version != direct.version


_CHANGES = st.lists(
    st.one_of(
        st.sets(st.sampled_from("abcd")).map(sorted),  # what there is from now on
        st.sampled_from(["take", "refuse", "break"]),
    ),
    max_size=20,
)


@given(_CHANGES)
def test_a_sink_ends_with_what_the_source_has_whatever_happens(steps: list[Any]) -> None:
    source, sink = Source("a"), Sink("pilot")
    replies = source.ask(*sink.open())
    news: dict[str, Any] = {}
    for step in [*steps, "break", "take", "take"]:
        if isinstance(step, list):
            source.have(*step)
        elif step == "break":
            source.stream = SourceStream(source.catalog)
            replies = source.ask(*sink.open())
        elif step == "refuse" and replies:
            nacks = [request(r.nonce, "no", r.collection, incremental=True) for r in replies]
            replies = source.ask(*nacks)
        else:
            replies = source.ask(*[sink.receive(reply) for reply in replies])
            for delta in (sink.news() or {}).values():
                for name in delta.removed:
                    news.pop(name, None)
                news.update(delta.changed)
    present = source.catalog.collections[mcp.VIRTUAL_SERVICES].resources.keys()
    assert sink.held[mcp.VIRTUAL_SERVICES].keys() == present == news.keys()
