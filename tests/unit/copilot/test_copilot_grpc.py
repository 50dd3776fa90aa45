"""Copilot's gRPC services on loopback, by reflection only: what a client of another hand sees."""

from __future__ import annotations

import asyncio
import base64
import queue
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from meshnet.copilot.main import Copilot
from meshnet.copilot.state import State
from meshnet.store import Store
from meshnet.wire import copilot_server, mcp
from tests.grpcurl import Grpcurl

CC, VIP = "api.CloudControllerCopilot", "api.VIPResolverCopilot"
SOURCE = "istio.mcp.v1alpha1.ResourceSource"
ROUTE = {"guid": "r", "host": "Shop.example.com", "path": "/cart"}
INTERNAL = {"guid": "i", "host": "Api.apps.internal", "internal": True, "vip": "127.128.0.7"}
MAPPING = {"route_guid": "r", "capi_process_guid": "p", "route_weight": 3}
ASSOCIATION = {"capi_process_guid": "p", "diego_process_guids": ["p-1", "p-2"]}
EVERYTHING = {
    "routes": [ROUTE, INTERNAL],
    "route_mappings": [MAPPING],
    "capi_diego_process_associations": [ASSOCIATION],
}
INVALID = grpc.StatusCode.INVALID_ARGUMENT


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


class Served:
    """Copilot's three listeners in a thread of their own; no instance runs anywhere."""

    def __init__(self, directory: Path) -> None:
        self.ports = [free_port() for _ in range(3)]
        self._loop, self._up = asyncio.new_event_loop(), threading.Event()
        self._ended = asyncio.Event()
        self._directory = directory
        self._thread = threading.Thread(target=lambda: self._loop.run_until_complete(self._run()))
        self._thread.start()
        assert self._up.wait(20)
        self.channels = [grpc.insecure_channel(f"127.0.0.1:{port}") for port in self.ports]
        self.cc, self.vip, self.mcp = (Grpcurl(channel) for channel in self.channels)

    async def _run(self) -> None:
        state = State(Store.open(self._directory / "copilot.db"), "127.128.0.0/9")
        self.state, copilot = state, Copilot(state)
        services = (
            copilot_server.CloudControllerCopilot(state, copilot.changed),
            copilot_server.VIPResolverCopilot(state),
            copilot.source,
        )
        listeners = list(zip(self.ports, services, strict=True))
        servers = await copilot_server.start("127.0.0.1", *listeners)
        self.source = copilot.source
        copilot._take_list([])
        self._up.set()
        await self._ended.wait()
        for server in servers:
            await server.stop(0)

    def on_loop(self, work: Callable[[], Any]) -> None:
        """Run something where the services run."""
        done = threading.Event()
        self._loop.call_soon_threadsafe(lambda: (work(), done.set()))
        assert done.wait(10)

    def seen(self) -> list[dict[str, Any]]:
        """All that can be listed."""
        lists = ("ListCfRoutes", "ListCfRouteMappings", "ListCapiDiegoProcessAssociations")
        return [self.cc.call(CC, name) for name in lists]

    def close(self) -> None:
        for channel in self.channels:
            channel.close()
        self._loop.call_soon_threadsafe(self._ended.set)
        self._thread.join()
        self._loop.close()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    made = Served(tmp_path_factory.mktemp("copilot"))
    yield made
    made.close()


@pytest.fixture
def copilot(served: Served) -> Served:
    """With one route, one mapping, one association, whatever was there before."""
    sync(served, EVERYTHING)
    return served


def packed(client: Grpcurl, everything: dict[str, Any]) -> bytes:
    data: bytes = client.message("api.BulkSyncRequest", **everything).SerializeToString()
    return data


def chunks(data: bytes, size: int = 65_536) -> list[dict[str, Any]]:
    """As the Cloud Controller's client sends it: with one more chunk, perhaps empty, at the end."""
    parts = [data[start : start + size] for start in range(0, len(data), size)]
    return [{"chunk": base64.b64encode(part).decode()} for part in [*parts, b""]]


def sync(served: Served, everything: dict[str, Any]) -> int:
    data = packed(served.cc, everything)
    return int(served.cc.send(CC, "BulkSync", chunks(data)).get("total_bytes_received", 0))


def refused(work: Callable[[], Any]) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.RpcError) as caught:
        work()
    return caught.value.code(), caught.value.details()


def test_reflection_tells_the_services_their_methods_and_messages(copilot: Served) -> None:
    reflection = "grpc.reflection.v1alpha.ServerReflection"
    assert copilot.cc.services() == [CC, reflection]
    assert copilot.vip.services() == [VIP, reflection]
    assert copilot.mcp.services() == [reflection, SOURCE]
    assert set(copilot.cc.methods(CC)) == {
        "Health", "ListCfRoutes", "ListCfRouteMappings", "ListCapiDiegoProcessAssociations",
        "UpsertRoute", "DeleteRoute", "MapRoute", "UnmapRoute",
        "UpsertCapiDiegoProcessAssociation", "DeleteCapiDiegoProcessAssociation", "BulkSync",
    }  # fmt: skip
    assert copilot.cc.fields("api.Route") == {
        "guid": 1, "host": 2, "path": 3, "internal": 4, "vip": 5
    }  # fmt: skip
    assert copilot.mcp.fields("istio.mcp.v1alpha1.RequestResources") == {
        "sink_node": 1, "collection": 2, "initial_resource_versions": 3, "response_nonce": 4,
        "error_detail": 5, "incremental": 6,
    }  # fmt: skip


def test_it_is_healthy(copilot: Served) -> None:
    assert copilot.cc.call(CC, "Health") == {"healthy": True}
    assert copilot.vip.call(VIP, "Health") == {"healthy": True}


def test_what_was_synced_is_listed(copilot: Served) -> None:
    assert copilot.seen() == [
        {"routes": {"r": "Shop.example.com", "i": "Api.apps.internal"}},
        {"route_mappings": {"r-p": MAPPING}},
        {"capi_diego_process_associations": {"p": {"diego_process_guids": ["p-1", "p-2"]}}},
    ]


def test_single_calls_change_what_they_name(copilot: Served) -> None:
    copilot.cc.call(CC, "UpsertRoute", route={"guid": "r", "host": "other.example.com"})
    copilot.cc.call(CC, "MapRoute", route_mapping={**MAPPING, "route_weight": 128})
    copilot.cc.call(CC, "MapRoute", route_mapping={**MAPPING, "capi_process_guid": "q"})
    association = {"capi_process_guid": "p", "diego_process_guids": ["p-3"]}
    copilot.cc.call(
        CC, "UpsertCapiDiegoProcessAssociation", capi_diego_process_association=association
    )
    copilot.cc.call(CC, "UnmapRoute", route_mapping={**MAPPING, "capi_process_guid": "q"})
    copilot.cc.call(CC, "UnmapRoute", route_mapping={**MAPPING, "capi_process_guid": "unknown"})
    routes, mappings, associations = copilot.seen()
    assert routes["routes"]["r"] == "other.example.com"
    assert mappings == {"route_mappings": {"r-p": {**MAPPING, "route_weight": 128}}}
    assert associations["capi_diego_process_associations"]["p"] == {"diego_process_guids": ["p-3"]}
    for guid in ("r", "r", "unknown"):
        copilot.cc.call(CC, "DeleteRoute", guid=guid)
    copilot.cc.call(CC, "DeleteCapiDiegoProcessAssociation", capi_process_guid="p")
    routes, mappings, associations = copilot.seen()
    assert routes == {"routes": {"i": "Api.apps.internal"}}
    assert "r-p" in mappings["route_mappings"]  # left behind, as in Copilot
    assert associations == {}


NEEDS = "CapiProcessGuid and DiegoProcessGuids are required"


@pytest.mark.parametrize(
    ("method", "fields", "text"),
    [
        ("UpsertRoute", {}, "Route  is invalid:\n route is required"),
        ("UpsertRoute", {"route": {"host": "h"}}, "route Guid and Host are required"),
        ("UpsertRoute", {"route": {"guid": "g"}}, "route Guid and Host are required"),
        ("UpsertRoute", {"route": {"guid": "g", "host": "a b"}}, "'a b' is no DNS name"),
        ("UpsertRoute", {"route": {**INTERNAL, "vip": "10.0.0.1"}}, "not in 127.128.0.0/9"),
        ("DeleteRoute", {}, "route Guid is required"),
        ("MapRoute", {}, "Route Mapping  is invalid:\n RouteMapping is required"),
        ("MapRoute", {"route_mapping": {**MAPPING, "route_guid": ""}}, "RouteGUID and Capi"),
        ("MapRoute", {"route_mapping": {**MAPPING, "capi_process_guid": ""}}, "RouteGUID and"),
        ("MapRoute", {"route_mapping": {**MAPPING, "route_weight": 0}}, "must be 1 to 128"),
        ("MapRoute", {"route_mapping": {**MAPPING, "route_weight": 129}}, "must be 1 to 128"),
        ("UnmapRoute", {}, "RouteMapping is required"),
        ("UnmapRoute", {"route_mapping": {**MAPPING, "route_weight": 0}}, "must be 1 to 128"),
        ("UpsertCapiDiegoProcessAssociation", {}, "CapiDiegoProcessAssociation is required"),
        (
            "UpsertCapiDiegoProcessAssociation",
            {"capi_diego_process_association": {"capi_process_guid": "p"}},
            NEEDS,
        ),
        (
            "UpsertCapiDiegoProcessAssociation",
            {"capi_diego_process_association": {"diego_process_guids": ["d"]}},
            NEEDS,
        ),
        ("DeleteCapiDiegoProcessAssociation", {}, "CapiProcessGuid is required"),
    ],
)
def test_bad_input_is_an_invalid_argument_and_changes_nothing(
    copilot: Served, method: str, fields: dict[str, Any], text: str
) -> None:
    before = copilot.seen()
    code, details = refused(lambda: copilot.cc.call(CC, method, **fields))
    assert code == INVALID and text in details
    assert copilot.seen() == before


def test_an_error_shows_what_was_sent(copilot: Served) -> None:
    route = {"guid": "g", "host": "a b"}
    _, details = refused(lambda: copilot.cc.call(CC, "UpsertRoute", route=route))
    assert details.startswith('Route route { guid: "g" host: "a b" } is invalid:\n ')


def test_names_are_found_whatever_their_case_and_dots(copilot: Served) -> None:
    for name in ("api.apps.internal", "API.Apps.Internal...", "Api.apps.internal."):
        assert copilot.vip.call(VIP, "GetVIPByName", fqdn=name) == {"ip": "127.128.0.7"}
    assert copilot.vip.call(VIP, "GetVIPByName", fqdn="shop.example.com") == {}
    for name in ("nobody.apps.internal.", ""):
        code, details = refused(lambda name=name: copilot.vip.call(VIP, "GetVIPByName", fqdn=name))  # type: ignore[misc]
        assert (code, details) == (grpc.StatusCode.NOT_FOUND, f"route doesn't exist: {name}")


def test_a_sync_in_many_chunks_says_how_many_bytes_it_was(copilot: Served) -> None:
    routes = [{"guid": f"g{n}", "host": f"h{n}.example.com"} for n in range(5000)]
    data = packed(copilot.cc, {"routes": routes})
    assert len(chunks(data)) > 2
    assert sync(copilot, {"routes": routes}) == len(data)
    assert len(copilot.seen()[0]["routes"]) == 5000


def test_a_sync_after_a_change_is_taken_although_it_is_the_same_as_the_last(
    copilot: Served,
) -> None:
    before = copilot.seen()
    sync(copilot, EVERYTHING)
    copilot.cc.call(CC, "DeleteRoute", guid="r")
    sync(copilot, EVERYTHING)
    assert copilot.seen() == before


def test_a_sync_without_a_chunk_is_refused_and_one_empty_chunk_empties(copilot: Served) -> None:
    before = copilot.seen()
    code, details = refused(lambda: copilot.cc.send(CC, "BulkSync", []))
    assert code == INVALID and "nothing was changed" in details
    assert copilot.seen() == before
    assert copilot.cc.send(CC, "BulkSync", [{}]) == {}
    assert copilot.seen() == [{}, {}, {}]


@pytest.mark.parametrize(
    "change",
    [
        {"routes": [{"guid": "g", "host": "good.example.com"}, {"guid": "", "host": "h"}]},
        {"routes": [{"guid": "g", "host": "a\nb"}]},
        {"route_mappings": [MAPPING, {**MAPPING, "route_weight": 129}]},
        {"capi_diego_process_associations": [{"capi_process_guid": "p"}]},
        {"routes": [{**INTERNAL, "vip": "127.128.0.0"}]},
        {"routes": [INTERNAL, {**INTERNAL, "guid": "j", "host": "j.apps.internal"}]},
    ],
)
def test_a_sync_with_one_bad_record_changes_nothing(
    copilot: Served, change: dict[str, Any]
) -> None:
    before = copilot.seen()
    assert refused(lambda: sync(copilot, {**EVERYTHING, **change}))[0] == INVALID
    assert copilot.seen() == before


def test_a_sync_too_large_is_refused_while_it_comes_and_changes_nothing(copilot: Served) -> None:
    before, sent = copilot.seen(), 0

    def endless() -> Iterator[dict[str, Any]]:
        nonlocal sent
        part = base64.b64encode(b"\0" * 2**20).decode()
        for sent in range(200):  # noqa: B007
            yield {"chunk": part}

    code, details = refused(lambda: copilot.cc.send(CC, "BulkSync", endless()))
    assert code == grpc.StatusCode.RESOURCE_EXHAUSTED and "nothing was changed" in details
    assert sent < 199
    assert copilot.seen() == before


def test_a_message_larger_than_grpc_takes_is_refused(copilot: Served) -> None:
    part = base64.b64encode(b"\0" * (9 * 2**20)).decode()
    code, _ = refused(lambda: copilot.cc.send(CC, "BulkSync", [{"chunk": part}]))
    assert code == grpc.StatusCode.RESOURCE_EXHAUSTED


def test_a_sync_that_is_cut_off_changes_nothing(copilot: Served) -> None:
    before, requests = copilot.seen(), queue.Queue[Any]()
    data = packed(copilot.cc, {"routes": [{"guid": "g", "host": "cut.example.com"}]})
    with grpc.insecure_channel(f"127.0.0.1:{copilot.ports[0]}") as channel:
        call = channel.stream_unary(f"/{CC}/BulkSync").future(iter(requests.get, None))
        requests.put(copilot.cc.message("api.BulkSyncRequestChunk", chunk="").SerializeToString())
        for chunk in chunks(data):
            message = copilot.cc.message("api.BulkSyncRequestChunk", **chunk)
            requests.put(message.SerializeToString())
        call.cancel()
        requests.put(None)
    assert copilot.seen() == before


def test_gzip_is_understood(copilot: Served) -> None:
    gzip = grpc.Compression.Gzip
    with grpc.insecure_channel(f"127.0.0.1:{copilot.ports[0]}", compression=gzip) as channel:
        client = Grpcurl(channel)
        data = packed(client, {"routes": [{"guid": f"g{n}", "host": "h"} for n in range(999)]})
        client.send(CC, "BulkSync", chunks(data))
    assert len(copilot.seen()[0]["routes"]) == 999


@pytest.mark.parametrize("method", ["UpsertRoute", "MapRoute", "DeleteRoute"])
@pytest.mark.parametrize("body", [b"\xff\xff", b"\x0a\x05ab", b"\x0a\x04\x0a\x02\xff\xfe"])
def test_what_is_no_message_is_grpcs_own_error(copilot: Served, method: str, body: bytes) -> None:
    before = copilot.seen()
    code, _ = refused(lambda: copilot.cc.raw(CC, method, body))
    assert code in (grpc.StatusCode.INTERNAL, INVALID)
    assert copilot.seen() == before


@given(st.binary(max_size=200))
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
def test_a_sync_of_any_bytes_is_taken_whole_or_refused(copilot: Served, data: bytes) -> None:
    before = copilot.seen()
    try:
        copilot.cc.send(CC, "BulkSync", chunks(data))
    except grpc.RpcError as exc:
        assert exc.code() == INVALID
        assert copilot.seen() == before
    sync(copilot, EVERYTHING)


# --- MCP ---


def watch(copilot: Served, *requests: dict[str, Any]) -> tuple[Any, queue.Queue[Any]]:
    """A stream, and the queue of its further requests."""
    sent = queue.Queue[Any]()
    for one in requests:
        sent.put(one)
    return copilot.mcp.exchange(SOURCE, "EstablishResourceStream", iter(sent.get, None)), sent


def subscription(collection: str, **fields: Any) -> dict[str, Any]:
    return {"sink_node": {"id": "another"}, "collection": collection, **fields}


def test_every_collection_is_served_with_its_types(copilot: Served) -> None:
    call, sent = watch(copilot, *(subscription(name) for name in mcp.COLLECTIONS))
    replies = {reply.collection: reply for reply in (next(call) for _ in mcp.COLLECTIONS)}
    sent.put(None)
    assert replies.keys() == set(mcp.COLLECTIONS)
    assert {r.body.type_url for reply in replies.values() for r in reply.resources} == {
        f"type.googleapis.com/istio.networking.v1alpha3.{kind}"
        for kind in ("Gateway", "VirtualService", "DestinationRule", "ServiceEntry")
    }
    names = [r.metadata.name for r in replies[mcp.VIRTUAL_SERVICES].resources]
    assert names == ["copilot-service-for-shop.example.com"]
    assert not any(reply.incremental for reply in replies.values())


def test_a_change_is_sent_after_an_ack_and_a_wrong_nonce_is_none(copilot: Served) -> None:
    call, sent = watch(copilot, subscription(mcp.VIRTUAL_SERVICES))
    first = next(call)
    assert (first.nonce, len(first.resources)) == ("1", 1)
    copilot.cc.call(CC, "MapRoute", route_mapping={**MAPPING, "route_guid": "i"})
    sent.put(subscription(mcp.VIRTUAL_SERVICES, response_nonce="99"))
    sent.put(subscription(mcp.GATEWAYS))
    assert next(call).collection == mcp.GATEWAYS  # and not what waits for an answer
    sent.put(subscription(mcp.VIRTUAL_SERVICES, response_nonce="1"))
    second = next(call)
    assert (second.nonce, len(second.resources)) == ("3", 2)
    sent.put(None)


def test_a_sink_that_asks_for_it_is_sent_what_changed(copilot: Served) -> None:
    call, sent = watch(copilot, subscription(mcp.VIRTUAL_SERVICES, incremental=True))
    versions = {r.metadata.name: r.metadata.version for r in next(call).resources}
    sent.put(subscription(mcp.VIRTUAL_SERVICES, incremental=True, response_nonce="1"))
    copilot.cc.call(CC, "MapRoute", route_mapping={**MAPPING, "route_guid": "i"})
    second = next(call)
    assert second.incremental
    assert [r.metadata.name for r in second.resources] == [
        "internal/copilot-service-for-api.apps.internal"
    ]
    call.cancel()
    # Back again: it says what it has, and hears the rest.
    again = subscription(
        mcp.VIRTUAL_SERVICES,
        incremental=True,
        initial_resource_versions={**versions, "gone": "1"},
    )
    call, sent = watch(copilot, again)
    third = next(call)
    assert [r.metadata.name for r in third.resources] == [
        "internal/copilot-service-for-api.apps.internal"
    ]
    assert list(third.removed_resources) == ["gone"]
    sent.put(None)


@pytest.mark.parametrize("name", ["", "nonsense", "istio/networking/v1alpha3/Gateways"])
def test_a_collection_nobody_serves_ends_the_stream(copilot: Served, name: str) -> None:
    call, sent = watch(copilot, subscription(mcp.GATEWAYS), subscription(name))
    code, details = refused(lambda: list(call))
    sent.put(None)
    assert (code, details) == (INVALID, f'unsupported collection "{name}"')


def test_a_refusal_is_seen_and_not_answered(
    copilot: Served, caplog: pytest.LogCaptureFixture
) -> None:
    call, sent = watch(copilot, subscription(mcp.GATEWAYS))
    next(call)
    before = copilot.source.rejections[mcp.GATEWAYS]
    error = {"code": 3, "message": "cloudfoundry-ingress has no server"}
    sent.put(subscription(mcp.GATEWAYS, response_nonce="1", error_detail=error))
    sent.put(subscription(mcp.SIDECARS))
    assert next(call).collection == mcp.SIDECARS
    assert copilot.source.rejections[mcp.GATEWAYS] == before + 1
    [status] = [row for row in copilot.source.status() if row["rejected"]]
    assert (status["node"], status["rejected"]) == ("another", 1)
    assert status["last_error"] == f"{mcp.GATEWAYS}: {error['message']}"
    assert f"another rejected {mcp.GATEWAYS}: {error['message']}" in caplog.text
    sent.put(None)


@given(st.binary(min_size=1, max_size=100))
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
def test_a_stream_of_any_bytes_ends_by_itself_alone(copilot: Served, body: bytes) -> None:
    with grpc.insecure_channel(f"127.0.0.1:{copilot.ports[2]}") as channel:
        call = channel.stream_stream(f"/{SOURCE}/EstablishResourceStream")(iter([body]), timeout=30)
        try:
            list(call)
        except grpc.RpcError as exc:
            assert exc.code() in (INVALID, grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN)
    assert copilot.cc.call(CC, "Health") == {"healthy": True}
