"""MCP: what a source answers, what a sink refuses, and both together."""

from __future__ import annotations

import pytest

from meshnet.wire import mcp
from meshnet.wire.gen import istio_networking_pb2 as istio
from meshnet.wire.gen import mcp_pb2


def state(*hosts: str) -> dict[str, mcp.Collection]:
    services = {f"vs-{h}": istio.VirtualService(hosts=[h]) for h in hosts}
    return {
        name: mcp.collection(name, services if name == mcp.VIRTUAL_SERVICES else {})
        for name in mcp.COLLECTIONS
    }


def request(nonce: str = "", error: str = "", name: str = mcp.VIRTUAL_SERVICES) -> object:
    message = mcp_pb2.RequestResources(collection=name, response_nonce=nonce)
    if error:
        message.error_detail.message = error
    return message


def test_a_subscription_is_answered_once_and_each_new_version_again() -> None:
    source = mcp.SourceStream()
    assert source.send(state("a")) == []
    source.receive(request())
    (first,) = source.send(state("a"))
    assert (first.nonce, [r.metadata.name for r in first.resources]) == ("1", ["vs-a"])
    assert first.resources[0].body.type_url == (
        "type.googleapis.com/istio.networking.v1alpha3.VirtualService"
    )
    assert source.send(state("b")) == []  # not before the answer to the first
    source.receive(request("1"))
    assert source.send(state("a")) == []
    (second,) = source.send(state("b"))
    assert (second.nonce, second.resources[0].metadata.name) == ("2", "vs-b")


def test_a_refused_version_is_not_sent_again_but_the_next_one_is() -> None:
    source = mcp.SourceStream()
    source.receive(request())
    source.send(state("a"))
    source.receive(request("1", "no"))
    assert (source.rejected, source.last_error) == (1, f"{mcp.VIRTUAL_SERVICES}: no")
    assert source.send(state("a")) == []
    assert len(source.send(state("b"))) == 1


def test_a_stale_nonce_acknowledges_nothing() -> None:
    source = mcp.SourceStream()
    source.receive(request())
    source.send(state("a"))
    source.receive(request("7", "no"))
    assert source.rejected == 0
    assert source.send(state("b")) == []


def test_a_collection_nobody_serves_is_refused() -> None:
    with pytest.raises(mcp.UnsupportedCollection, match="nonsense"):
        mcp.SourceStream().receive(request(name="nonsense"))


def test_the_nonce_is_shared_and_empty_collections_are_answered_too() -> None:
    source = mcp.SourceStream()
    for name in mcp.COLLECTIONS:
        source.receive(request(name=name))
    replies = source.send(state("a"))
    assert [r.nonce for r in replies] == [str(n) for n in range(1, 18)]
    assert {r.collection for r in replies} == set(mcp.COLLECTIONS)


def test_a_sink_is_synced_when_every_collection_came_and_not_before() -> None:
    source, sink = mcp.SourceStream(), mcp.SinkStream("pilot")
    for message in sink.open():
        source.receive(message)
    replies = source.send(state("a"))
    for reply in replies:
        assert not sink.synced
        answer = sink.receive(reply)
        assert answer.response_nonce == reply.nonce and not answer.HasField("error_detail")
        source.receive(answer)
    assert sink.synced
    assert sink.received[mcp.VIRTUAL_SERVICES]["vs-a"].hosts == ["a"]
    assert source.send(state("a")) == []


def test_a_sink_refuses_what_is_not_what_it_says_and_keeps_what_it_had() -> None:
    sink = mcp.SinkStream("pilot")
    good = mcp_pb2.Resources(
        collection=mcp.GATEWAYS, resources=mcp.collection("", {"g": istio.Gateway()}).resources
    )
    sink.receive(good)
    wrong = mcp_pb2.Resources(
        collection=mcp.GATEWAYS,
        nonce="2",
        resources=mcp.collection("", {"g": istio.VirtualService()}).resources,
    )
    answer = sink.receive(wrong)
    assert (answer.error_detail.code, answer.response_nonce) == (3, "2")
    assert "VirtualService" in answer.error_detail.message
    assert isinstance(sink.received[mcp.GATEWAYS]["g"], istio.Gateway)


def test_a_sink_refuses_a_body_of_bytes_that_are_no_message() -> None:
    reply = mcp_pb2.Resources(collection=mcp.GATEWAYS, nonce="1")
    body = reply.resources.add().body
    body.type_url = "type.googleapis.com/istio.networking.v1alpha3.Gateway"
    body.value = b"\xff\xff\xff"
    sink = mcp.SinkStream("pilot")
    assert sink.receive(reply).HasField("error_detail")
    assert not sink.received


def test_equal_content_is_an_equal_version_and_other_content_another() -> None:
    assert state("a", "b") == state("b", "a")
    assert state("a")[mcp.VIRTUAL_SERVICES] != state("b")[mcp.VIRTUAL_SERVICES]
    assert state("a")[mcp.GATEWAYS] == state("b")[mcp.GATEWAYS]
