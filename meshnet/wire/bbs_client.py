"""An asynchronous client of BBS."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import httpx

from meshnet.model.errors import Conflict, InputError, NotFound, PeerError
from meshnet.wire import bbs_api as api
from meshnet.wire.gen import bbs_pb2 as pb
from meshnet.wire.sse import Decoder

_TIMEOUT = 5.0


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

    def __init__(self, url: str) -> None:
        self._http = httpx.AsyncClient(base_url=url, timeout=_TIMEOUT)

    async def __aenter__(self) -> BbsClient:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close all connections."""
        await self._http.aclose()

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

    async def start_actual(self, key: Any, instance_key: Any, net_info: Any) -> None:
        """Report an instance RUNNING. Raises Conflict where BBS wants that instance no longer."""
        request = pb.StartActualLRPRequest(
            actual_lrp_key=key, actual_lrp_instance_key=instance_key, actual_lrp_net_info=net_info
        )
        await self._call(api.START, request, _ACTUAL)

    async def crash_actual(self, key: Any, instance_key: Any, reason: str) -> None:
        """Report an instance's crash. Raises Conflict where BBS knows it no longer."""
        request = pb.CrashActualLRPRequest(
            actual_lrp_key=key, actual_lrp_instance_key=instance_key, error_message=reason
        )
        await self._call(api.CRASH, request, _ACTUAL)

    async def presence(self, cell_id: str, rep_address: str, ttl_seconds: int) -> None:
        """Keep a cell's presence for `ttl_seconds` more."""
        cell = pb.CellPresence(cell_id=cell_id, rep_address=rep_address)
        request = pb.CellPresenceRequest(cell=cell, ttl_seconds=ttl_seconds)
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
        timeout = httpx.Timeout(_TIMEOUT, read=None)
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
                            yield BbsEvent(event.name, kind.FromString(event.data))
        except httpx.HTTPError as exc:
            raise PeerError(f"the event stream of BBS broke: {type(exc).__name__}") from exc
        raise PeerError("BBS ended its event stream")

    async def _call(self, path: str, request: Any, kind: Any) -> Any:
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
        message = kind.FromString(reply.content)
        if message.HasField("error"):
            raise _translated(message.error)
        return message


_LIFECYCLE = pb.DesiredLRPLifecycleResponse
_ACTUAL = pb.ActualLRPLifecycleResponse


def _translated(error: Any) -> Exception:
    kinds = pb.Error
    if error.type == kinds.ResourceNotFound:
        return NotFound(error.message)
    if error.type in (kinds.ActualLRPCannotBeStarted, kinds.ActualLRPCannotBeCrashed):
        return Conflict(error.message)
    return InputError(error.message)
