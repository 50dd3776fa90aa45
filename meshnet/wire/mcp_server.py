"""Copilot's MCP service over gRPC."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping
from typing import Any

import grpc

from meshnet.wire import mcp
from meshnet.wire.gen import mcp_pb2_grpc

log = logging.getLogger("meshnet")


class McpSource(mcp_pb2_grpc.ResourceSourceServicer):
    """Serves the collections last set, and each new version of one as soon as it is set.

    Until the first `set` a stream is accepted and told nothing: an empty mesh is never served for
    want of knowing better.
    """

    def __init__(self) -> None:
        self._state: dict[str, mcp.Collection] = {}
        self._changed = asyncio.Event()

    def set(self, snapshot: Mapping[str, Mapping[str, Any]]) -> bool:
        """Serve this snapshot (collection -> name -> message); whether anything differs."""
        state = {name: mcp.collection(name, messages) for name, messages in snapshot.items()}
        if state == self._state:
            return False
        self._state = state
        self._changed.set()
        self._changed = asyncio.Event()
        return True

    async def EstablishResourceStream(
        self, requests: AsyncIterator[Any], context: Any
    ) -> AsyncIterator[Any]:
        """One sink's stream."""
        stream = mcp.SourceStream()
        inbox: asyncio.Queue[Any] = asyncio.Queue()

        async def read() -> None:
            async for request in requests:
                inbox.put_nowait(request)
            inbox.put_nowait(None)

        reader = asyncio.create_task(read())
        try:
            while True:
                changed = self._changed
                if self._state:
                    for response in stream.send(self._state):
                        yield response
                request = await _first(inbox, changed)
                if request is None:
                    return
                if request is not _NOTHING:
                    await self._receive(stream, request, context)
        finally:
            reader.cancel()

    async def _receive(self, stream: mcp.SourceStream, request: Any, context: Any) -> None:
        rejected = stream.rejected
        try:
            stream.receive(request)
        except mcp.UnsupportedCollection as exc:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(exc))
        if stream.rejected > rejected:
            log.warning("%s rejected %s", request.sink_node.id, stream.last_error)


_NOTHING = object()


async def _first(inbox: asyncio.Queue[Any], changed: asyncio.Event) -> Any:
    """The next request, or _NOTHING when the state changed first."""
    getter = asyncio.ensure_future(inbox.get())
    waiter = asyncio.ensure_future(changed.wait())
    try:
        await asyncio.wait((getter, waiter), return_when=asyncio.FIRST_COMPLETED)
        return getter.result() if getter.done() else _NOTHING
    finally:
        waiter.cancel()
        if not getter.done():
            getter.cancel()
