"""BBS's HTTP face: protobuf in, protobuf out, errors in band, and the event stream."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from google.protobuf.message import DecodeError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from meshnet.bbs.auction import Auction
from meshnet.bbs.events import Hub
from meshnet.bbs.lrps import Lrps
from meshnet.model.errors import Conflict, MeshnetError, NotFound
from meshnet.wire import bbs_api as api
from meshnet.wire.gen import bbs_pb2 as pb

_MAX_BODY = 1024 * 1024
_EVENT_HEADERS = {
    "Content-Type": "text/event-stream; charset=utf-8",
    "Cache-Control": "no-cache, no-store, must-revalidate",
}


class Handlers:
    """One method per call: request message in, response message out."""

    def __init__(self, lrps: Lrps, auction: Auction) -> None:
        self.lrps, self.auction = lrps, auction

    def desire(self, request: Any) -> Any:
        """Add or take over a desired LRP."""
        self.lrps.desire(request.desired_lrp)
        self.auction.place_unclaimed()
        return pb.DesiredLRPLifecycleResponse()

    def update(self, request: Any) -> Any:
        """Change instances or routes."""
        self.lrps.update(request.process_guid, request.update)
        self.auction.place_unclaimed()
        return pb.DesiredLRPLifecycleResponse()

    def remove_desired(self, request: Any) -> Any:
        """Remove a desired LRP and its instances."""
        self.lrps.remove(request.process_guid)
        return pb.DesiredLRPLifecycleResponse()

    def desired_list(self, request: Any) -> Any:
        """Desired LRPs, of a domain or of some guids where named."""
        guids = set(request.process_guids)
        found = [
            lrp
            for lrp in self.lrps.desired.values()
            if (not request.domain or lrp.domain == request.domain)
            and (not guids or lrp.process_guid in guids)
        ]
        return pb.DesiredLRPsResponse(desired_lrps=found)

    def desired_by_guid(self, request: Any) -> Any:
        """One desired LRP."""
        if (lrp := self.lrps.desired.get(request.process_guid)) is None:
            raise NotFound(f"no desired LRP {request.process_guid!r}")
        return pb.DesiredLRPResponse(desired_lrp=lrp)

    def actual_list(self, request: Any) -> Any:
        """Actual LRPs that fit every field that is set."""
        found = [lrp for lrp in self.lrps.actual.values() if _fits(lrp, request)]
        return pb.ActualLRPsResponse(actual_lrps=found)

    def start(self, request: Any) -> Any:
        """A cell reports an instance running."""
        self.lrps.start(
            request.actual_lrp_key, request.actual_lrp_instance_key, request.actual_lrp_net_info
        )
        return pb.ActualLRPLifecycleResponse()

    def crash(self, request: Any) -> Any:
        """A cell reports an instance's crash."""
        lrp = self.lrps.crash(
            request.actual_lrp_key, request.actual_lrp_instance_key, request.error_message
        )
        self.auction.crashed(lrp)
        return pb.ActualLRPLifecycleResponse()

    def cells(self, request: Any) -> Any:
        """The cells alive."""
        return self._cells()

    def presence(self, request: Any) -> Any:
        """A cell's heart-beat."""
        cell = request.cell
        self.auction.present(cell.cell_id, cell.rep_address, max(1, request.ttl_seconds))
        return self._cells()

    def _cells(self) -> Any:
        addresses = self.auction.addresses
        return pb.CellsResponse(
            cells=[
                pb.CellPresence(cell_id=cell, rep_address=addresses[cell])
                for cell in self.auction.cells()
            ]
        )


def _fits(lrp: Any, request: Any) -> bool:
    key, instance = lrp.actual_lrp_key, lrp.actual_lrp_instance_key
    return (
        (not request.domain or key.domain == request.domain)
        and (not request.cell_id or instance.cell_id == request.cell_id)
        and (not request.process_guid or key.process_guid == request.process_guid)
        and (not request.HasField("index") or key.index == request.index)
    )


def _error(exc: Exception) -> Any:
    if isinstance(exc, NotFound):
        kind = pb.Error.ResourceNotFound
    elif isinstance(exc, Conflict):
        kind = pb.Error.ActualLRPCannotBeStarted
    elif isinstance(exc, DecodeError):
        kind = pb.Error.InvalidProtobufMessage
    else:
        kind = pb.Error.InvalidRequest
    return pb.Error(type=kind, message=str(exc))


def _endpoint(work: Callable[[Any], Any], request_type: Any, response_type: Any) -> Any:
    async def endpoint(request: Request) -> Response:
        body = await request.body()
        try:
            if len(body) > _MAX_BODY:
                raise DecodeError(f"a request of {len(body)} bytes is too large")
            message = work(request_type.FromString(body))
        except (MeshnetError, DecodeError) as exc:
            message = response_type(error=_error(exc))
        return Response(message.SerializeToString(), media_type=api.CONTENT_TYPE)

    return endpoint


def _events(hub: Hub) -> Any:
    async def endpoint(request: Request) -> Response:
        try:
            cell_id = pb.EventsByCellId.FromString(await request.body()).cell_id
        except DecodeError as exc:
            return Response(str(exc), status_code=400)
        return StreamingResponse(hub.subscribe(cell_id), headers=_EVENT_HEADERS)

    return endpoint


def application(lrps: Lrps, auction: Auction, hub: Hub) -> Starlette:
    """The ASGI application."""
    h = Handlers(lrps, auction)
    lifecycle, actual = pb.DesiredLRPLifecycleResponse, pb.ActualLRPLifecycleResponse
    calls = [
        (api.DESIRE, h.desire, pb.DesireLRPRequest, lifecycle),
        (api.UPDATE, h.update, pb.UpdateDesiredLRPRequest, lifecycle),
        (api.REMOVE_DESIRED, h.remove_desired, pb.RemoveDesiredLRPRequest, lifecycle),
        (api.DESIRED_LIST, h.desired_list, pb.DesiredLRPsRequest, pb.DesiredLRPsResponse),
        (
            api.DESIRED_BY_GUID,
            h.desired_by_guid,
            pb.DesiredLRPByProcessGuidRequest,
            pb.DesiredLRPResponse,
        ),
        (api.ACTUAL_LIST, h.actual_list, pb.ActualLRPsRequest, pb.ActualLRPsResponse),
        (api.START, h.start, pb.StartActualLRPRequest, actual),
        (api.CRASH, h.crash, pb.CrashActualLRPRequest, actual),
        (api.CELLS, h.cells, pb.EmptyRequest, pb.CellsResponse),
        (api.PRESENCE, h.presence, pb.CellPresenceRequest, pb.CellsResponse),
    ]
    routes = [
        Route(path, _endpoint(work, kind, reply), methods=["POST"])
        for path, work, kind, reply in calls
    ]
    routes.append(Route(api.EVENTS, _events(hub), methods=["POST"]))
    return Starlette(routes=routes)
