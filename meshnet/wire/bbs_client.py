"""An asynchronous client of BBS."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import httpx
from google.protobuf.message import DecodeError

from meshnet.model.errors import Conflict, InputError, NotFound, PeerError
from meshnet.model.patience import patient
from meshnet.wire import bbs_api as api
from meshnet.wire.gen import bbs_pb2 as pb
from meshnet.wire.http_client import http_client
from meshnet.wire.sse import Decoder
from meshnet.wire.tls import Tls

_TIMEOUT = 5.0
# A quiet event stream looks like one whose BBS vanished without a word (its node's link was down
# while it restarted): the kernel asks, and breaks the stream after 5 + 3 * 2 seconds of silence.
_KEEP_ALIVE = [
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 5),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 2),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3),
]


@dataclass(frozen=True)
class Connected:
    """First item of every event stream: what happens from now on will be heard; list now."""


@dataclass(frozen=True)
class BbsEvent:
    """An event: its name (see bbs_api) and its protobuf message."""

    name: str
    message: Any


class BbsClient:
    """Typed calls. Every method raises PeerError where BBS is away or answers nonsense."""

    def __init__(self, url: str, tls: Tls | None = None) -> None:
        # A burst of calls waits its turn: heart-beats behind it must not fail for want of one.
        patience = httpx.Timeout(patient(_TIMEOUT), pool=60.0)
        self._http = http_client(url, tls, timeout=patience, socket_options=_KEEP_ALIVE)

    async def __aenter__(self) -> BbsClient:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close all connections."""
        await self._http.aclose()

    async def ping(self) -> None:
        """Return if BBS answers."""
        await self._post(api.PING, pb.EmptyRequest())

    async def desire(self, lrp: Any) -> None:
        """Desire a DesiredLRP, or replace the routes and instances of one of the same guid."""
        await self._call(api.DESIRE, pb.DesireLRPRequest(desired_lrp=lrp), _LIFECYCLE)

    async def update_desired(
        self, process_guid: str, *, instances: int | None = None, routes: Any = None
    ) -> None:
        """Change a desired LRP's instances or routes. Raises NotFound where there is none."""
        update = pb.DesiredLRPUpdate(instances=instances, routes=routes)
        request = pb.UpdateDesiredLRPRequest(process_guid=process_guid, update=update)
        await self._call(api.UPDATE, request, _LIFECYCLE)

    async def remove_desired(self, process_guid: str) -> None:
        """Stop desiring it; its instances are removed. One that is not there is no error."""
        try:
            request = pb.RemoveDesiredLRPRequest(process_guid=process_guid)
            await self._call(api.REMOVE_DESIRED, request, _LIFECYCLE)
        except NotFound:
            return

    async def desired_lrps(self) -> list[Any]:
        """Every DesiredLRP."""
        reply = await self._call(api.DESIRED_LIST, pb.DesiredLRPsRequest(), pb.DesiredLRPsResponse)
        return list(reply.desired_lrps)

    async def desired_lrp(self, process_guid: str) -> Any:
        """One DesiredLRP. Raises NotFound where there is none."""
        request = pb.DesiredLRPByProcessGuidRequest(process_guid=process_guid)
        reply = await self._call(api.DESIRED_BY_GUID, request, pb.DesiredLRPResponse)
        return reply.desired_lrp

    async def actual_lrps(self, *, cell_id: str = "", process_guid: str = "") -> list[Any]:
        """ActualLRPs, of one cell or process where named."""
        request = pb.ActualLRPsRequest(cell_id=cell_id, process_guid=process_guid)
        reply = await self._call(api.ACTUAL_LIST, request, pb.ActualLRPsResponse)
        return list(reply.actual_lrps)

    async def claim_actual(self, process_guid: str, index: int, instance_key: Any) -> None:
        """Take an UNCLAIMED instance. Raises Conflict where another has it, NotFound."""
        request = pb.ClaimActualLRPRequest(
            process_guid=process_guid, index=index, actual_lrp_instance_key=instance_key
        )
        await self._call(api.CLAIM, request, _ACTUAL)

    async def start_actual(
        self, key: Any, instance_key: Any, net_info: Any, *, routable: bool | None = None
    ) -> None:
        """Report an instance RUNNING. Raises Conflict where BBS wants that instance no longer.

        Args:
            routable: whether it is ready for requests; None: nobody checks that.
        """
        request = pb.StartActualLRPRequest(
            actual_lrp_key=key,
            actual_lrp_instance_key=instance_key,
            actual_lrp_net_info=net_info,
            routable=routable,
        )
        await self._call(api.START, request, _ACTUAL)

    async def crash_actual(self, key: Any, instance_key: Any, reason: str) -> None:
        """Report an instance's crash.

        Raises Conflict where BBS knows the instance no longer, or knows of this crash.
        """
        request = pb.CrashActualLRPRequest(
            actual_lrp_key=key, actual_lrp_instance_key=instance_key, error_message=reason
        )
        await self._call(api.CRASH, request, _ACTUAL)

    async def remove_actual(self, process_guid: str, index: int, instance_key: Any = None) -> None:
        """Report that an instance was stopped; it starts over if it is still desired.

        Raises NotFound, and Conflict where the record is not of `instance_key`.
        """
        request = pb.RemoveActualLRPRequest(
            process_guid=process_guid, index=index, actual_lrp_instance_key=instance_key
        )
        await self._call(api.REMOVE_ACTUAL, request, _ACTUAL)

    async def fail_actual(self, key: Any, reason: str) -> None:
        """Report why an instance could not be placed. Raises NotFound, Conflict."""
        request = pb.FailActualLRPRequest(actual_lrp_key=key, error_message=reason)
        await self._call(api.FAIL, request, _ACTUAL)

    async def retire_actual(self, key: Any) -> None:
        """Have an instance stopped; it starts over if it is still desired. Raises NotFound."""
        await self._call(api.RETIRE, pb.RetireActualLRPRequest(actual_lrp_key=key), _ACTUAL)

    async def evacuate_running(
        self, key: Any, instance_key: Any, net_info: Any, *, routable: bool | None = None
    ) -> bool:
        """Report an instance that runs on a cell being emptied; whether to keep it running.

        To be said again until it need not be kept: its replacement runs, or it is not wanted.
        """
        request = pb.EvacuateRunningActualLRPRequest(
            actual_lrp_key=key,
            actual_lrp_instance_key=instance_key,
            actual_lrp_net_info=net_info,
            routable=routable,
        )
        reply = await self._call(api.EVACUATE_RUNNING, request, pb.EvacuationResponse)
        return bool(reply.keep_container)

    async def evacuate_claimed(self, key: Any, instance_key: Any) -> None:
        """Give back an instance that does not run yet. Raises NotFound."""
        request = pb.EvacuateClaimedActualLRPRequest(
            actual_lrp_key=key, actual_lrp_instance_key=instance_key
        )
        await self._call(api.EVACUATE_CLAIMED, request, pb.EvacuationResponse)

    async def evacuate_crashed(self, key: Any, instance_key: Any, reason: str) -> None:
        """Report a crash on a cell being emptied. Raises Conflict as `crash_actual`."""
        request = pb.EvacuateCrashedActualLRPRequest(
            actual_lrp_key=key, actual_lrp_instance_key=instance_key, error_message=reason
        )
        await self._call(api.EVACUATE_CRASHED, request, pb.EvacuationResponse)

    async def evacuate_stopped(self, key: Any, instance_key: Any) -> None:
        """Report an instance stopped on a cell being emptied. Raises NotFound, Conflict."""
        request = pb.EvacuateStoppedActualLRPRequest(
            actual_lrp_key=key, actual_lrp_instance_key=instance_key
        )
        await self._call(api.EVACUATE_STOPPED, request, pb.EvacuationResponse)

    async def remove_evacuating(self, key: Any, instance_key: Any) -> None:
        """Report that an evacuating instance is gone. Raises NotFound."""
        request = pb.RemoveEvacuatingActualLRPRequest(
            actual_lrp_key=key, actual_lrp_instance_key=instance_key
        )
        await self._call(api.REMOVE_EVACUATING, request, pb.RemoveEvacuatingActualLRPResponse)

    async def presence(
        self,
        cell_id: str,
        rep_address: str,
        ttl_seconds: int,
        room: int = 0,
        *,
        memory_mb: int = 0,
        zone: str = "",
        evacuating: bool = False,
    ) -> None:
        """Keep a cell's presence for `ttl_seconds` more.

        Args:
            room: how many instances it takes; 0 = any number.
            memory_mb: how much memory they may have together; 0 = any.
            zone: cells of one zone fail together.
            evacuating: nothing new is to go there.
        """
        capacity = pb.CellCapacity(memory_mb=memory_mb, containers=room)
        cell = pb.CellPresence(
            cell_id=cell_id, rep_address=rep_address, zone=zone, capacity=capacity
        )
        request = pb.CellPresenceRequest(cell=cell, ttl_seconds=ttl_seconds, evacuating=evacuating)
        await self._call(api.PRESENCE, request, pb.CellsResponse)

    async def cells(self) -> list[Any]:
        """Every live cell's CellPresence."""
        return list((await self._call(api.CELLS, pb.EmptyRequest(), pb.CellsResponse)).cells)

    async def events(self, cell_id: str = "") -> AsyncIterator[Connected | BbsEvent]:
        """One event stream: `Connected`, then events until it breaks with PeerError.

        Args:
            cell_id: only events of this cell's instances.
        """
        request = pb.EventsByCellId(cell_id=cell_id).SerializeToString()
        headers = {"Content-Type": api.CONTENT_TYPE}
        timeout = httpx.Timeout(patient(_TIMEOUT), read=None)
        decoder = Decoder()
        try:
            async with self._http.stream(
                "POST", api.EVENTS, content=request, headers=headers, timeout=timeout
            ) as reply:
                if reply.status_code != httpx.codes.OK:
                    raise PeerError(f"BBS refused its event stream with HTTP {reply.status_code}")
                yield Connected()
                async for chunk in reply.aiter_raw():
                    for event in decoder.feed(chunk):
                        if kind := api.EVENT_TYPES.get(event.name):
                            yield BbsEvent(event.name, _parsed(kind, event.data))
        except httpx.HTTPError as exc:
            raise PeerError(f"the event stream of BBS broke: {type(exc).__name__}") from exc
        raise PeerError("BBS ended its event stream")

    async def _call(self, path: str, request: Any, kind: Any) -> Any:
        content = await self._post(path, request)
        message = _parsed(kind, content)
        if message.HasField("error"):
            raise _translated(message.error)
        return message

    async def _post(self, path: str, request: Any) -> bytes:
        try:
            reply = await self._http.post(
                path,
                content=request.SerializeToString(),
                headers={"Content-Type": api.CONTENT_TYPE},
            )
        except httpx.HTTPError as exc:
            raise PeerError(f"BBS does not answer: {type(exc).__name__}") from exc
        if reply.status_code != httpx.codes.OK:
            raise PeerError(f"BBS answered {path} with HTTP {reply.status_code}")
        return reply.content


def _parsed(kind: Any, data: bytes) -> Any:
    try:
        return kind.FromString(data)
    except DecodeError as exc:
        raise PeerError(f"BBS sent no {kind.DESCRIPTOR.name}: {exc}") from exc


_LIFECYCLE = pb.DesiredLRPLifecycleResponse
_ACTUAL = pb.ActualLRPLifecycleResponse


_CONFLICTS = (
    pb.Error.ResourceConflict,
    pb.Error.ActualLRPCannotBeClaimed,
    pb.Error.ActualLRPCannotBeStarted,
    pb.Error.ActualLRPCannotBeCrashed,
    pb.Error.ActualLRPCannotBeFailed,
    pb.Error.ActualLRPCannotBeRemoved,
)


def _translated(error: Any) -> Exception:
    if error.type == pb.Error.ResourceNotFound:
        return NotFound(error.message)
    if error.type in _CONFLICTS:
        return Conflict(error.message)
    if error.type == pb.Error.UnknownError:
        return PeerError(f"BBS cannot do it: {error.message}")
    return InputError(error.message)
