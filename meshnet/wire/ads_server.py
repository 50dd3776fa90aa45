"""Pilot's ADS service over gRPC: one TCP listener for routers, one unix socket per sidecar."""

from __future__ import annotations

import asyncio
import logging
import os
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

import grpc
from envoy.service.discovery.v3 import ads_pb2_grpc

from meshnet.proxy.xds import SERVICES, Changes, View
from meshnet.wire import grpc_server
from meshnet.wire.ads import DeltaStream, Stream
from meshnet.wire.ads_state import StateStream
from meshnet.wire.mcp import MAX_MESSAGE_BYTES, PING_OPTIONS
from meshnet.wire.tls import Tls

log = logging.getLogger("meshnet")
# Requests that wait; a proxy that asks on without reading its answers waits then, too.
MOST_WAITING = 64


class Views:
    """The configuration of every proxy, and the news of what of it changed.

    `of(proxy id)` returns a proxy's view, or None while there is nothing to tell it.
    """

    def __init__(self, of: Callable[[str], View | None]) -> None:
        self.of = of
        self.connections: set[Connection] = set()

    def changed(self, changes: Callable[[str], Changes | None] | None = None) -> None:
        """Tell the streams: by proxy id what of its view differs; without, all look at all."""
        for connection in self.connections:
            differs = changes(connection.proxy_id) if changes else {}
            if differs:
                connection.stream.changed(differs)
            if differs or changes is None:
                connection.wake.set()


@dataclass(eq=False)
class Connection:
    """A proxy's stream and what wakes it: a change, a request, or the end of its requests."""

    stream: Stream
    proxy_id: str = ""
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    inbox: deque[Any] = field(default_factory=deque)
    room: asyncio.Event = field(default_factory=asyncio.Event)
    ended: bool = False

    async def read(self, requests: AsyncIterator[Any]) -> None:
        """Take requests until there are no more."""
        try:
            async for request in requests:
                self.inbox.append(request)
                self.wake.set()
                while len(self.inbox) >= MOST_WAITING:
                    self.room.clear()
                    await self.room.wait()
        finally:
            self.ended = True
            self.wake.set()

    async def woken(self) -> bool:
        """Wait for a reason to go on; False: the proxy is gone."""
        await self.wake.wait()
        self.wake.clear()
        return bool(self.inbox) or not self.ended

    def take(self) -> Iterator[Any]:
        """The requests that wait, oldest first."""
        while self.inbox:
            yield self.inbox.popleft()
        self.room.set()


@dataclass
class ProxyStatus:
    """One proxy as Pilot sees it.

    Attributes:
        rejected: resources that it refused, ever.
    """

    id: str
    stream: Stream | None = None
    rejected: int = 0
    last_error: str = ""


@dataclass
class Registry:
    """Every proxy that is expected or connected, and counts since the start by service."""

    proxies: dict[str, ProxyStatus] = field(default_factory=dict)
    pushes: Counter[str] = field(default_factory=Counter)
    pushed_bytes: Counter[str] = field(default_factory=Counter)
    rejects: Counter[str] = field(default_factory=Counter)

    def status(self, views: Views) -> list[dict[str, Any]]:
        """Of each: connected, in step (by discovery service too), pushes, rejected, last error,
        and what is held back because it refused it.
        """
        rows = []
        for proxy in self.proxies.values():
            view = views.of(proxy.id)
            stream = proxy.stream
            rows.append(
                {
                    "id": proxy.id,
                    "connected": stream is not None,
                    "in_step": stream is not None and view is not None and stream.in_step(view),
                    "steps": stream.steps(view) if stream and view is not None else {},
                    "pushes": stream.pushes if stream else 0,
                    "rejected": proxy.rejected,
                    "last_error": proxy.last_error,
                    "held_back": [asdict(one) for one in stream.held_back()] if stream else [],
                }
            )
        return rows

    def sent(self, response: Any) -> None:
        """Count a response."""
        service = SERVICES[response.type_url]
        self.pushes[service] += 1
        self.pushed_bytes[service] += response.ByteSize()


class AdsService(ads_pb2_grpc.AggregatedDiscoveryServiceServicer):
    """Serves proxies; `identity` is whom a unix socket stands for, None where the node id tells."""

    def __init__(self, views: Views, registry: Registry, identity: str | None = None) -> None:
        self._views, self._registry, self._identity = views, registry, identity

    async def DeltaAggregatedResources(
        self, requests: AsyncIterator[Any], context: Any
    ) -> AsyncIterator[Any]:
        """One proxy's stream, incremental."""
        async for response in self._serve(requests, context, DeltaStream()):
            yield response

    async def StreamAggregatedResources(
        self, requests: AsyncIterator[Any], context: Any
    ) -> AsyncIterator[Any]:
        """One proxy's stream, state of the world."""
        async for response in self._serve(requests, context, StateStream()):
            yield response

    async def _serve(
        self, requests: AsyncIterator[Any], context: Any, stream: Stream
    ) -> AsyncIterator[Any]:
        connection = Connection(stream)
        reader = asyncio.create_task(connection.read(requests))
        status: ProxyStatus | None = None
        try:
            while await connection.woken():
                if status is None:
                    connection.proxy_id = self._identity or connection.inbox[0].node.id
                    if not connection.proxy_id:
                        await context.abort(
                            grpc.StatusCode.INVALID_ARGUMENT, "the first request has no node id"
                        )
                    status = self._connected(connection)
                for request in connection.take():
                    stream.receive(request)
                self._tell(status, stream)
                if view := self._views.of(connection.proxy_id):
                    for response in stream.send(view):
                        self._registry.sent(response)
                        yield response
        finally:
            reader.cancel()
            self._views.connections.discard(connection)
            if status is not None and status.stream is stream:
                status.stream = None
                if self._identity is None:
                    self._registry.proxies.pop(status.id, None)

    def _connected(self, connection: Connection) -> ProxyStatus:
        proxy_id = connection.proxy_id
        self._views.connections.add(connection)
        status = self._registry.proxies.setdefault(proxy_id, ProxyStatus(proxy_id))
        status.stream = connection.stream
        return status

    def _tell(self, status: ProxyStatus, stream: Stream) -> None:
        """Make what the proxy refused known, by resource."""
        for one in stream.refusals:
            status.rejected += 1
            status.last_error = f"{one.service} {one.name}: {one.error}"
            self._registry.rejects[one.service] += 1
            log.warning("%s rejected %s", status.id, status.last_error)
        stream.refusals.clear()


async def listen(
    target: str, service: AdsService, owner: int | None = None, tls: Tls | None = None
) -> Any:
    """Start a server at "ADDRESS:PORT" or "unix:PATH" (made 0600, owned by uid `owner`).

    Raises:
        InputError: the address is taken, the socket's directory is missing, or the certificate
            cannot be used.
    """
    options = [
        ("grpc.so_reuseport", 0),
        *PING_OPTIONS,
        ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ]
    server = grpc.aio.server(options=options)
    ads_pb2_grpc.add_AggregatedDiscoveryServiceServicer_to_server(service, server)
    path = target.removeprefix("unix:") if target.startswith("unix:") else ""
    if path and os.path.exists(path):
        os.unlink(path)
    grpc_server.bind(server, target, tls)
    if path:
        os.chmod(path, 0o600)
        if owner is not None:
            os.chown(path, owner, owner)
    await server.start()
    return server
