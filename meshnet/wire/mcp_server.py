"""Copilot's MCP service over gRPC."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import grpc

from meshnet.wire.gen import mcp_pb2_grpc
from meshnet.wire.mcp import Changes
from meshnet.wire.mcp_source import Catalog, SourceStream, UnsupportedCollection

log = logging.getLogger("meshnet")
# Requests that wait; a sink that asks on without reading its answers waits then, too.
MOST_WAITING = 256  # more than there are collections


@dataclass(eq=False)
class _Connection:
    """A stream and what wakes it: a change, a request, or the end of its requests."""

    stream: SourceStream
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    inbox: list[Any] = field(default_factory=list)
    room: asyncio.Event = field(default_factory=asyncio.Event)
    ended: bool = False
    node: str = ""
    rejected: int = 0
    last_error: str = ""


class McpSource(mcp_pb2_grpc.ResourceSourceServicer):
    """Serves the catalog, and each change of it as soon as it is known.

    Until the first `update` a stream is accepted and told nothing: an empty mesh is never served
    for want of knowing better.

    Attributes:
        serving: whether there was one.
        rejections: how many responses of each collection were refused.
    """

    def __init__(self) -> None:
        self.catalog = Catalog()
        self.rejections = Counter[str]()
        self.serving = False
        self._connections: set[_Connection] = set()

    def update(self, changes: Changes) -> bool:
        """Take changed resources (None: gone) and tell every stream; whether anything differs."""
        differ = self.catalog.update(changes)
        first, self.serving = not self.serving, True
        if differ or first:
            for connection in self._connections:
                connection.stream.changed(differ)
                connection.wake.set()
        return bool(differ)

    def status(self) -> list[dict[str, Any]]:
        """Each connected sink: who, and what it refused."""
        return [
            {"node": c.node, "rejected": c.rejected, "last_error": c.last_error}
            for c in sorted(self._connections, key=lambda c: c.node)
        ]

    async def EstablishResourceStream(
        self, requests: AsyncIterator[Any], context: Any
    ) -> AsyncIterator[Any]:
        """One sink's stream."""
        connection = _Connection(SourceStream(self.catalog))
        self._connections.add(connection)
        reader = asyncio.create_task(_read(requests, connection))
        try:
            while not connection.ended:
                await connection.wake.wait()
                connection.wake.clear()
                await self._receive(connection, context)
                for response in connection.stream.send() if self.serving else ():
                    yield response
        finally:
            self._connections.discard(connection)
            reader.cancel()

    async def _receive(self, connection: _Connection, context: Any) -> None:
        for request in _taken(connection):
            connection.node = request.sink_node.id or connection.node
            try:
                error = connection.stream.receive(request)
            except UnsupportedCollection as exc:
                await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(exc))
            if error is not None:
                self._rejected(connection, request.collection, error)

    def _rejected(self, connection: _Connection, collection: str, error: str) -> None:
        self.rejections[collection] += 1
        connection.rejected += 1
        connection.last_error = f"{collection}: {error}"
        log.warning("%s rejected %s: %s", connection.node or "a sink", collection, error)


def _taken(connection: _Connection) -> list[Any]:
    requests, connection.inbox = connection.inbox, []
    connection.room.set()
    return requests


async def _read(requests: AsyncIterator[Any], connection: _Connection) -> None:
    try:
        async for request in requests:
            connection.inbox.append(request)
            connection.wake.set()
            while len(connection.inbox) >= MOST_WAITING:
                connection.room.clear()
                await connection.room.wait()
    except grpc.aio.AbortError:
        pass  # it sent what does not parse, and has been told
    finally:
        connection.ended = True
        connection.wake.set()
