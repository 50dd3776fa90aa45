"""Asynchronous clients of Copilot's two gRPC services."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping
from typing import Any

import grpc

from meshnet.model.errors import InputError, NotFound, PeerError
from meshnet.model.routes import Route
from meshnet.wire.gen import copilot_pb2 as pb
from meshnet.wire.gen import copilot_pb2_grpc
from meshnet.wire.grpc_client import Channel
from meshnet.wire.tls import Tls

_CHUNK_BYTES = 65_536  # as the Cloud Controller's Ruby client
_TIMEOUT = 5.0
_OPTIONS = [
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
]


class _Client:
    _stub_type: Any

    def __init__(self, address: str, tls: Tls | None = None) -> None:
        self._channel = Channel(address, tls, _OPTIONS)

    async def close(self) -> None:
        """Close the channel."""
        await self._channel.close()

    async def _call(self, method: str, request: Any, timeout: float = _TIMEOUT) -> Any:
        try:
            stub = self._stub_type(self._channel.get())
            return await getattr(stub, method)(request, timeout=timeout)
        except grpc.aio.AioRpcError as exc:
            if exc.code() == grpc.StatusCode.NOT_FOUND:
                raise NotFound(exc.details()) from exc
            if exc.code() == grpc.StatusCode.INVALID_ARGUMENT:
                raise InputError(exc.details()) from exc
            raise PeerError(f"Copilot's {method} failed: {exc.code().name}") from exc


def _route(route: Route) -> Any:
    return pb.Route(guid=route.guid, host=route.host, path=route.path, internal=route.internal)


class CopilotClient(_Client):
    """`api.CloudControllerCopilot`. Methods raise InputError and PeerError."""

    _stub_type = copilot_pb2_grpc.CloudControllerCopilotStub

    async def upsert_route(self, route: Route, vip: str = "") -> None:
        """Add or replace a route; without a `vip` Copilot gives an internal one the lowest free."""
        message = _route(route)
        message.vip = vip
        await self._call("UpsertRoute", pb.UpsertRouteRequest(route=message))

    async def delete_route(self, guid: str) -> None:
        """Forget a route."""
        await self._call("DeleteRoute", pb.DeleteRouteRequest(guid=guid))

    async def map_route(self, route: str, process: str, weight: int) -> None:
        """Map a route to a process."""
        await self._call("MapRoute", pb.MapRouteRequest(route_mapping=_map(route, process, weight)))

    async def unmap_route(self, route: str, process: str) -> None:
        """Take a mapping away."""
        mapping = _map(route, process, 1)
        await self._call("UnmapRoute", pb.UnmapRouteRequest(route_mapping=mapping))

    async def associate(self, process: str, diego_guids: Iterable[str]) -> None:
        """Say which Diego processes run a process."""
        await self._call(
            "UpsertCapiDiegoProcessAssociation",
            pb.UpsertCapiDiegoProcessAssociationRequest(
                capi_diego_process_association=_association(process, diego_guids)
            ),
        )

    async def dissociate(self, process: str) -> None:
        """Say that nothing runs a process."""
        request = pb.DeleteCapiDiegoProcessAssociationRequest(capi_process_guid=process)
        await self._call("DeleteCapiDiegoProcessAssociation", request)

    async def bulk_sync(
        self,
        routes: Iterable[Route],
        mappings: Mapping[tuple[str, str], int],
        associations: Mapping[str, Iterable[str]],
    ) -> None:
        """Replace everything Copilot knows from us."""
        request = pb.BulkSyncRequest(
            routes=[_route(route) for route in routes],
            route_mappings=[_map(r, p, weight) for (r, p), weight in mappings.items()],
            capi_diego_process_associations=[_association(p, g) for p, g in associations.items()],
        )
        data = request.SerializeToString()

        async def chunks() -> AsyncIterator[Any]:
            for start in range(0, len(data), _CHUNK_BYTES):
                yield pb.BulkSyncRequestChunk(chunk=data[start : start + _CHUNK_BYTES])
            yield pb.BulkSyncRequestChunk()

        await self._call("BulkSync", chunks())


def _map(route: str, process: str, weight: int) -> Any:
    return pb.RouteMapping(route_guid=route, capi_process_guid=process, route_weight=weight)


def _association(process: str, diego_guids: Iterable[str]) -> Any:
    return pb.CapiDiegoProcessAssociation(
        capi_process_guid=process, diego_process_guids=list(diego_guids)
    )


class VipResolverClient(_Client):
    """`api.VIPResolverCopilot`. Methods raise NotFound and PeerError."""

    _stub_type = copilot_pb2_grpc.VIPResolverCopilotStub

    async def vip(self, fqdn: str, timeout: float = _TIMEOUT) -> str:
        """The VIP of an internal host; PeerError where there is no answer in `timeout` seconds."""
        request = pb.GetVIPByNameRequest(fqdn=fqdn)
        return str((await self._call("GetVIPByName", request, timeout)).ip)
