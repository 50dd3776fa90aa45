"""BBS's HTTP face: protobuf in, protobuf out, errors in band, and the event stream."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from google.protobuf.message import DecodeError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from meshnet.bbs.events import Hub
from meshnet.bbs.handlers import Handlers
from meshnet.bbs.queries import Queries
from meshnet.model.errors import Conflict, InputError, MeshnetError, NotFound
from meshnet.wire import bbs_api as api
from meshnet.wire.gen import bbs_pb2 as pb

_MAX_BODY = 1024 * 1024
_EVENT_HEADERS = {
    "Content-Type": "text/event-stream; charset=utf-8",
    "Cache-Control": "no-cache, no-store, must-revalidate",
    "Connection": "keep-alive",
}
# Diego's PingResponse{available: true}.
_PONG = b"\x08\x01"


@dataclass(frozen=True)
class Call:
    """One call: its path, its handler, its messages, and the error type of a Conflict."""

    path: str
    work: Callable[[Any], Any]
    request: Any
    response: Any
    conflict: Any = pb.Error.ResourceConflict


def calls(h: Handlers, q: Queries) -> list[Call]:
    """Every call but ping and the event stream."""
    error = pb.Error
    desired, actual = pb.DesiredLRPLifecycleResponse, pb.ActualLRPLifecycleResponse
    by_guid, evacuation = pb.DesiredLRPByProcessGuidRequest, pb.EvacuationResponse
    some, groups = pb.DesiredLRPsRequest, pb.ActualLRPGroupsResponse
    scheduling = pb.DesiredLRPSchedulingInfoByProcessGuidResponse
    claimed, started = error.ActualLRPCannotBeClaimed, error.ActualLRPCannotBeStarted
    crashed, removed = error.ActualLRPCannotBeCrashed, error.ActualLRPCannotBeRemoved
    failed = error.ActualLRPCannotBeFailed
    group_of = pb.ActualLRPGroupByProcessGuidAndIndexRequest
    gone = pb.RemoveEvacuatingActualLRPResponse
    return [
        Call(api.DOMAINS, h.fresh_domains, pb.EmptyRequest, pb.DomainsResponse),
        Call(api.UPSERT_DOMAIN, h.upsert_domain, pb.UpsertDomainRequest, pb.UpsertDomainResponse),
        Call(api.DESIRE, h.desire, pb.DesireLRPRequest, desired),
        Call(api.UPDATE, h.update, pb.UpdateDesiredLRPRequest, desired),
        Call(api.REMOVE_DESIRED, h.remove_desired, pb.RemoveDesiredLRPRequest, desired),
        Call(api.DESIRED_LIST, q.desired_list, some, pb.DesiredLRPsResponse),
        Call(api.DESIRED_BY_GUID, q.desired_by_guid, by_guid, pb.DesiredLRPResponse),
        Call(api.ROUTING_LIST, q.routing_list, some, pb.DesiredLRPsResponse),
        Call(api.SCHEDULING_LIST, q.scheduling_list, some, pb.DesiredLRPSchedulingInfosResponse),
        Call(api.SCHEDULING_BY_GUID, q.scheduling_by_guid, by_guid, scheduling),
        Call(api.ACTUAL_LIST, q.actual_list, pb.ActualLRPsRequest, pb.ActualLRPsResponse),
        Call(
            api.ACTUAL_BY_GUIDS,
            q.actual_by_guids,
            pb.ActualLRPsByProcessGuidsRequest,
            pb.ActualLRPsByProcessGuidsResponse,
        ),
        Call(api.GROUP_LIST, q.group_list, pb.ActualLRPGroupsRequest, groups),
        Call(api.GROUPS_BY_GUID, q.groups_by_guid, pb.ActualLRPGroupsByProcessGuidRequest, groups),
        Call(api.GROUP_BY_INDEX, q.group_by_index, group_of, pb.ActualLRPGroupResponse),
        Call(api.CLAIM, h.claim, pb.ClaimActualLRPRequest, actual, claimed),
        Call(api.START, h.start, pb.StartActualLRPRequest, actual, started),
        Call(api.CRASH, h.crash, pb.CrashActualLRPRequest, actual, crashed),
        Call(api.FAIL, h.fail, pb.FailActualLRPRequest, actual, failed),
        Call(api.REMOVE_ACTUAL, h.remove_actual, pb.RemoveActualLRPRequest, actual, removed),
        Call(api.RETIRE, h.retire, pb.RetireActualLRPRequest, actual, removed),
        Call(
            api.EVACUATE_CLAIMED,
            h.evacuate_claimed,
            pb.EvacuateClaimedActualLRPRequest,
            evacuation,
        ),
        Call(
            api.EVACUATE_CRASHED,
            h.evacuate_crashed,
            pb.EvacuateCrashedActualLRPRequest,
            evacuation,
            crashed,
        ),
        Call(
            api.EVACUATE_STOPPED,
            h.evacuate_stopped,
            pb.EvacuateStoppedActualLRPRequest,
            evacuation,
            removed,
        ),
        Call(
            api.EVACUATE_RUNNING,
            h.evacuate_running,
            pb.EvacuateRunningActualLRPRequest,
            evacuation,
        ),
        Call(api.REMOVE_EVACUATING, h.remove_evacuating, pb.RemoveEvacuatingActualLRPRequest, gone),
        Call(api.CELLS, h.cells, pb.EmptyRequest, pb.CellsResponse),
        Call(api.PRESENCE, h.presence, pb.CellPresenceRequest, pb.CellsResponse),
    ]


def _error(exc: Exception, conflict: Any) -> Any:
    if isinstance(exc, NotFound):
        kind = pb.Error.ResourceNotFound
    elif isinstance(exc, Conflict):
        kind = conflict
    elif isinstance(exc, DecodeError):
        kind = pb.Error.InvalidProtobufMessage
    elif isinstance(exc, InputError):
        kind = pb.Error.InvalidRequest
    else:
        kind = pb.Error.UnknownError
    return pb.Error(type=kind, message=str(exc))


async def _body(request: Request) -> bytes:
    """The request's body. Raises InputError as soon as it is larger than it may be."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > _MAX_BODY:
            raise InputError(f"a request may hold {_MAX_BODY} bytes at most")
    return body


def _endpoint(call: Call) -> Any:
    async def endpoint(request: Request) -> Response:
        try:
            message = call.work(call.request.FromString(await _body(request)))
        except (MeshnetError, DecodeError) as exc:
            message = call.response(error=_error(exc, call.conflict))
        return Response(message.SerializeToString(), media_type=api.CONTENT_TYPE)

    return endpoint


def _events(hub: Hub, *, groups: bool = False) -> Any:
    async def endpoint(request: Request) -> Response:
        try:
            cell_id = pb.EventsByCellId.FromString(await _body(request)).cell_id
        except (InputError, DecodeError) as exc:
            return Response(str(exc), status_code=400)
        stream = hub.subscribe(cell_id, groups=groups)
        return StreamingResponse(stream, headers=_EVENT_HEADERS)

    return endpoint


async def _ping(request: Request) -> Response:
    return Response(_PONG, media_type=api.CONTENT_TYPE)


def application(handlers: Handlers, queries: Queries, hub: Hub) -> Starlette:
    """The ASGI application."""
    endpoints = {call.path: _endpoint(call) for call in calls(handlers, queries)}
    endpoints[api.EVENTS] = _events(hub)
    endpoints[api.GROUP_EVENTS] = _events(hub, groups=True)
    endpoints[api.PING] = _ping
    endpoints.update({old: endpoints[new] for new, old in api.OLDER.items()})
    streams = {api.GROUP_EVENTS, api.OLDER[api.GROUP_EVENTS]}
    routes = [
        Route(path, endpoint, methods=["GET", "POST"] if path in streams else ["POST"])
        for path, endpoint in endpoints.items()
    ]
    return Starlette(routes=routes)
