"""BBS's client and the lease client against peers that are away or talk nonsense."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import httpx
import pytest

from meshnet.model.errors import Conflict, InputError, NotFound, PeerError
from meshnet.wire import bbs_api as api
from meshnet.wire.bbs_client import BbsClient, BbsEvent, Connected
from meshnet.wire.gen import bbs_pb2 as pb
from meshnet.wire.lease_client import LeaseClient
from meshnet.wire.sse import SseEvent, encode


def _answering(client: Any, answer: Callable[[httpx.Request], httpx.Response]) -> Any:
    client._http = httpx.AsyncClient(base_url="http://bbs", transport=httpx.MockTransport(answer))
    return client


def _bbs(reply: httpx.Response) -> BbsClient:
    found: BbsClient = _answering(BbsClient("http://bbs"), lambda _: reply)
    return found


def _streaming(body: bytes) -> BbsClient:
    async def pieces() -> AsyncIterator[bytes]:
        yield body

    return _bbs(httpx.Response(200, content=pieces()))


async def _events(client: BbsClient) -> list[Any]:
    return [event async for event in client.events()]


CALLS: list[Callable[[BbsClient], Awaitable[Any]]] = [
    lambda c: c.ping(),
    lambda c: c.desire(pb.DesiredLRP()),
    lambda c: c.update_desired("a", instances=1),
    lambda c: c.remove_desired("a"),
    lambda c: c.desired_lrps(),
    lambda c: c.desired_lrp("a"),
    lambda c: c.actual_lrps(),
    lambda c: c.claim_actual("a", 0, pb.ActualLRPInstanceKey()),
    lambda c: c.start_actual(pb.ActualLRPKey(), pb.ActualLRPInstanceKey(), pb.ActualLRPNetInfo()),
    lambda c: c.crash_actual(pb.ActualLRPKey(), pb.ActualLRPInstanceKey(), "x"),
    lambda c: c.remove_actual("a", 0),
    lambda c: c.presence("cell-1", "10.0.16.21", 5),
    lambda c: c.cells(),
    _events,
]


@pytest.mark.parametrize("call", CALLS)
def test_every_call_says_so_when_bbs_is_away(call: Callable[[BbsClient], Awaitable[Any]]) -> None:
    async def scenario() -> None:
        async with BbsClient("http://127.0.0.1:9") as client:  # discard: nobody listens
            await call(client)

    with pytest.raises(PeerError, match="BBS"):
        asyncio.run(scenario())


@pytest.mark.parametrize("reply", [(500, b""), (200, b"\xff\xff\xff")])
@pytest.mark.parametrize("call", CALLS[1:-1])
def test_nonsense_is_the_peers_fault(
    call: Callable[[BbsClient], Awaitable[Any]], reply: tuple[int, bytes]
) -> None:
    with pytest.raises(PeerError):
        asyncio.run(_done(call(_bbs(httpx.Response(reply[0], content=reply[1])))))


async def _done(work: Awaitable[Any]) -> Any:
    return await work


@pytest.mark.parametrize(
    ("kind", "error"),
    [
        (pb.Error.ResourceNotFound, NotFound),
        (pb.Error.ActualLRPCannotBeClaimed, Conflict),
        (pb.Error.ActualLRPCannotBeStarted, Conflict),
        (pb.Error.ActualLRPCannotBeCrashed, Conflict),
        (pb.Error.ActualLRPCannotBeRemoved, Conflict),
        (pb.Error.InvalidRequest, InputError),
        (pb.Error.UnknownError, PeerError),
    ],
)
def test_errors_in_band_become_ours(kind: Any, error: type[Exception]) -> None:
    reply = pb.ActualLRPLifecycleResponse(error=pb.Error(type=kind, message="because"))
    client = _bbs(httpx.Response(200, content=reply.SerializeToString()))
    with pytest.raises(error, match="because") as raised:
        asyncio.run(_done(client.crash_actual(pb.ActualLRPKey(), pb.ActualLRPInstanceKey(), "")))
    assert type(raised.value) is error


def test_a_stream_begins_with_connected_skips_unknown_events_and_ends_with_an_error() -> None:
    lrp = pb.ActualLRP(state=api.RUNNING)
    body = encode(SseEvent(0, "actual_lrp_evacuated", b"?")) + encode(
        SseEvent(
            1, api.CREATED, pb.ActualLRPInstanceCreatedEvent(actual_lrp=lrp).SerializeToString()
        )
    )
    heard: list[Any] = []

    async def scenario() -> None:
        async for event in _streaming(body).events("cell-1"):
            heard.append(event)

    with pytest.raises(PeerError, match="ended its event stream"):
        asyncio.run(scenario())
    assert heard == [
        Connected(),
        BbsEvent(api.CREATED, pb.ActualLRPInstanceCreatedEvent(actual_lrp=lrp)),
    ]


def test_an_undecodable_event_ends_the_stream_as_the_peers_fault() -> None:
    body = encode(SseEvent(0, api.CREATED, b"\xff\xff"))
    with pytest.raises(PeerError, match="BBS sent no ActualLRPInstanceCreatedEvent"):
        asyncio.run(_done(_events(_streaming(body))))


def test_what_an_event_leaves_behind_is_what_a_list_says() -> None:
    lrp = pb.ActualLRP(
        actual_lrp_key=pb.ActualLRPKey(process_guid="a", index=1, domain="d"),
        actual_lrp_instance_key=pb.ActualLRPInstanceKey(instance_guid="i", cell_id="c"),
        state=api.CRASHED,
        crash_count=3,
        crash_reason="why",
        since=7,
    )
    event = pb.ActualLRPInstanceChangedEvent(
        actual_lrp_key=lrp.actual_lrp_key,
        actual_lrp_instance_key=lrp.actual_lrp_instance_key,
        after=api.info(lrp),
    )
    assert api.changed_lrp(event) == lrp
    lrp.actual_lrp_net_info.instance_address = "10.255.1.2"
    event.after.CopyFrom(api.info(lrp))
    assert api.changed_lrp(event) == lrp


@pytest.mark.parametrize(
    "body", [b"[]", b"{}", b"null", b'{"leases": [7]}', b'{"version": "x"}', b"<"]
)
def test_a_lease_controller_that_talks_nonsense_is_a_peer_error(body: bytes) -> None:
    client = _answering(LeaseClient("http://x"), lambda _: httpx.Response(200, content=body))
    for call in (client.leases, lambda: client.watch(1), lambda: client.acquire("10.0.16.21")):
        with pytest.raises(PeerError):
            asyncio.run(_done(call()))
