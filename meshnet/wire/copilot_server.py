"""Copilot's two gRPC services: messages to values and back, errors to status codes."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol

import grpc
from google.protobuf import text_format
from google.protobuf.message import DecodeError
from grpc_reflection.v1alpha import reflection

from meshnet.model.errors import Conflict, InputError, MeshnetError, NotFound
from meshnet.model.routes import Route
from meshnet.wire import grpc_server
from meshnet.wire.gen import copilot_pb2 as pb
from meshnet.wire.gen import copilot_pb2_grpc, mcp_pb2, mcp_pb2_grpc
from meshnet.wire.grpc_server import Decoding
from meshnet.wire.mcp import MAX_MESSAGE_BYTES, PING_OPTIONS
from meshnet.wire.tls import Tls

_MAX_SYNC_BYTES = 64 * 1024 * 1024
_MAX_SHOWN = 512  # characters of a request in an error's text
Weights = Mapping[tuple[str, str], int]


class CopilotState(Protocol):
    """What the services read and write (copilot.state.State)."""

    @property
    def routes(self) -> Mapping[str, Route]: ...
    @property
    def mappings(self) -> Weights: ...
    @property
    def associations(self) -> Mapping[str, Iterable[str]]: ...
    def upsert_route(self, route: Route, vip: str = "") -> None: ...
    def delete_route(self, guid: str) -> None: ...
    def map_route(self, route: str, process: str, weight: int) -> None: ...
    def unmap_route(self, route: str, process: str, weight: int) -> None: ...
    def associate(self, process: str, diego_guids: list[str]) -> None: ...
    def dissociate(self, process: str) -> None: ...
    def replace(
        self,
        routes: Mapping[str, Route],
        mappings: Weights,
        associations: Mapping[str, list[str]],
        asked: Mapping[str, str] | None = None,
    ) -> None: ...
    def vip_of(self, fqdn: str) -> str: ...


class _Refused(Exception):
    def __init__(self, code: Any, text: str) -> None:
        super().__init__(text)
        self.code = code


@contextmanager
def _refusing(what: str = "", message: Any = None) -> Iterator[None]:
    """Turn our errors into statuses; invalid input in Copilot's words for `what` was sent."""
    try:
        yield
    except NotFound as exc:
        raise _Refused(grpc.StatusCode.NOT_FOUND, str(exc)) from exc
    except Conflict as exc:
        raise _Refused(grpc.StatusCode.RESOURCE_EXHAUSTED, str(exc)) from exc
    except (InputError, DecodeError) as exc:
        sent = what and f"{what} {_shown(message)} is invalid:\n "
        raise _Refused(grpc.StatusCode.INVALID_ARGUMENT, f"{sent}{exc}") from exc
    except MeshnetError as exc:
        raise _Refused(grpc.StatusCode.INTERNAL, str(exc)) from exc


def _shown(message: Any) -> str:
    return str(text_format.MessageToString(message, as_one_line=True))[:_MAX_SHOWN]


def _unary(work: Callable[[CloudControllerCopilot, Any], Any], what: str = "") -> Any:
    async def method(self: CloudControllerCopilot, request: Any, context: Any) -> Any:
        try:
            with _refusing(what, request):
                return work(self, request)
        except _Refused as exc:
            await context.abort(exc.code, str(exc))

    return method


def _route(message: Any) -> Route:
    return Route(message.guid, message.host, message.path, message.internal)


def _needs(request: Any, field: str, text: str) -> None:
    if not request.HasField(field):
        raise InputError(text)


class CloudControllerCopilot(copilot_pb2_grpc.CloudControllerCopilotServicer):
    """`api.CloudControllerCopilot`; `changed` is called after each write."""

    def __init__(self, state: CopilotState, changed: Callable[[], None]) -> None:
        self._state, self._announce = state, changed
        self._synced = b""  # hash of the last BulkSync, as long as nothing was changed since

    def _changed(self) -> None:
        self._synced = b""
        self._announce()

    def _upsert_route(self, request: Any) -> Any:
        _needs(request, "route", "route is required")
        self._state.upsert_route(_route(request.route), request.route.vip)
        self._changed()
        return pb.UpsertRouteResponse()

    def _delete_route(self, request: Any) -> Any:
        self._state.delete_route(request.guid)
        self._changed()
        return pb.DeleteRouteResponse()

    def _map_route(self, request: Any) -> Any:
        _needs(request, "route_mapping", "RouteMapping is required")
        m = request.route_mapping
        self._state.map_route(m.route_guid, m.capi_process_guid, m.route_weight)
        self._changed()
        return pb.MapRouteResponse()

    def _unmap_route(self, request: Any) -> Any:
        _needs(request, "route_mapping", "RouteMapping is required")
        m = request.route_mapping
        self._state.unmap_route(m.route_guid, m.capi_process_guid, m.route_weight)
        self._changed()
        return pb.UnmapRouteResponse()

    def _associate(self, request: Any) -> Any:
        _needs(request, "capi_diego_process_association", "CapiDiegoProcessAssociation is required")
        a = request.capi_diego_process_association
        self._state.associate(a.capi_process_guid, list(a.diego_process_guids))
        self._changed()
        return pb.UpsertCapiDiegoProcessAssociationResponse()

    def _dissociate(self, request: Any) -> Any:
        self._state.dissociate(request.capi_process_guid)
        self._changed()
        return pb.DeleteCapiDiegoProcessAssociationResponse()

    def _list_routes(self, request: Any) -> Any:
        hosts = {guid: route.host for guid, route in self._state.routes.items()}
        return pb.ListCfRoutesResponse(routes=hosts)

    def _list_mappings(self, request: Any) -> Any:
        reply = pb.ListCfRouteMappingsResponse()
        for (route, process), weight in self._state.mappings.items():
            mapping = reply.route_mappings[f"{route}-{process}"]
            mapping.route_guid, mapping.capi_process_guid = route, process
            mapping.route_weight = weight
        return reply

    def _list_associations(self, request: Any) -> Any:
        reply = pb.ListCapiDiegoProcessAssociationsResponse()
        for process, guids in self._state.associations.items():
            reply.capi_diego_process_associations[process].diego_process_guids.extend(guids)
        return reply

    Health = _unary(lambda self, request: pb.HealthResponse(healthy=True))
    UpsertRoute = _unary(_upsert_route, "Route")
    DeleteRoute = _unary(_delete_route)
    MapRoute = _unary(_map_route, "Route Mapping")
    UnmapRoute = _unary(_unmap_route, "Route Mapping")
    UpsertCapiDiegoProcessAssociation = _unary(_associate, "Capi/Diego Process Association")
    DeleteCapiDiegoProcessAssociation = _unary(_dissociate)
    ListCfRoutes = _unary(_list_routes)
    ListCfRouteMappings = _unary(_list_mappings)
    ListCapiDiegoProcessAssociations = _unary(_list_associations)

    async def BulkSync(self, chunks: AsyncIterator[Any], context: Any) -> Any:
        """Replace all state by what the chunks hold together; no chunk at all is refused."""
        received, count = bytearray(), 0
        async for chunk in chunks:
            received += chunk.chunk
            count += 1
            if len(received) > _MAX_SYNC_BYTES:
                text = f"BulkSync is larger than {_MAX_SYNC_BYTES} bytes; nothing was changed"
                await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, text)
        if not count:
            text = "BulkSync ended without a single chunk; nothing was changed"
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, text)
        digest = hashlib.sha256(received).digest()
        if digest != self._synced:
            try:
                with _refusing():
                    self._replace(pb.BulkSyncRequest.FromString(bytes(received)))
            except _Refused as exc:
                await context.abort(exc.code, str(exc))
            self._changed()
            self._synced = digest
        return pb.BulkSyncResponse(total_bytes_received=len(received))

    def _replace(self, request: Any) -> None:
        self._state.replace(
            {r.guid: _route(r) for r in request.routes},
            {(m.route_guid, m.capi_process_guid): m.route_weight for m in request.route_mappings},
            {
                a.capi_process_guid: list(a.diego_process_guids)
                for a in request.capi_diego_process_associations
            },
            {r.host: r.vip for r in request.routes if r.internal and r.vip},
        )


class VIPResolverCopilot(copilot_pb2_grpc.VIPResolverCopilotServicer):
    """`api.VIPResolverCopilot`."""

    def __init__(self, state: CopilotState) -> None:
        self._state = state

    async def Health(self, request: Any, context: Any) -> Any:
        """Always healthy while it answers."""
        return pb.HealthResponse(healthy=True)

    async def GetVIPByName(self, request: Any, context: Any) -> Any:
        """The VIP of an internal host, or NOT_FOUND."""
        try:
            return pb.GetVIPByNameResponse(ip=self._state.vip_of(request.fqdn))
        except NotFound as exc:
            await context.abort(grpc.StatusCode.NOT_FOUND, str(exc))


async def start(
    host: str,
    cc: tuple[int, Any],
    vip: tuple[int, Any],
    source: tuple[int, Any],
    tls: Tls | None = None,
) -> list[Any]:
    """Start the three listeners, each a (port, servicer).

    Args:
        tls: only clients with a certificate; None = plain. CF's resolver of VIPs has no TLS at all.

    Raises:
        InputError: a port is taken, or the certificate cannot be used.
    """
    cc_pb, mcp_name = pb.DESCRIPTOR.services_by_name, mcp_pb2.DESCRIPTOR.services_by_name
    listeners = (
        (cc, copilot_pb2_grpc.add_CloudControllerCopilotServicer_to_server),
        (vip, copilot_pb2_grpc.add_VIPResolverCopilotServicer_to_server),
        (source, mcp_pb2_grpc.add_ResourceSourceServicer_to_server),
    )
    names = (
        cc_pb["CloudControllerCopilot"].full_name,
        cc_pb["VIPResolverCopilot"].full_name,
        mcp_name["ResourceSource"].full_name,
    )
    servers = []
    for ((port, servicer), add), name in zip(listeners, names, strict=True):
        server = grpc.aio.server(
            interceptors=[Decoding()],
            options=[
                ("grpc.so_reuseport", 0),
                *PING_OPTIONS,
                ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
                ("grpc.max_send_message_length", -1),  # what a sink takes is the sink's to say
            ],
        )
        add(servicer, server)
        reflection.enable_server_reflection((name, reflection.SERVICE_NAME), server)
        grpc_server.bind(server, f"{host}:{port}", tls)
        await server.start()
        servers.append(server)
    return servers
