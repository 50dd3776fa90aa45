"""Pilot's ADS service over gRPC: one TCP listener for routers, one unix socket per sidecar."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

import grpc
from envoy.service.discovery.v3 import ads_pb2_grpc

from meshnet.model.errors import InputError
from meshnet.proxy.xds import View
from meshnet.wire.ads import DeltaStream, Stream
from meshnet.wire.ads_state import StateStream
from meshnet.wire.mcp import MAX_MESSAGE_BYTES, PING_OPTIONS

log = logging.getLogger("meshnet")


class Views:
    """The configuration of every proxy, and the news that it changed.

    `of(proxy id)` returns a proxy's view, or None while there is nothing to tell it.
    """

    def __init__(self, of: Callable[[str], View | None]) -> None:
        self.of = of
        self._changed = asyncio.Event()

    def changed(self) -> None:
        """Wake every stream."""
        self._changed.set()
        self._changed = asyncio.Event()

    @property
    def next_change(self) -> asyncio.Event:
        """Set at the next change after now."""
        return self._changed


@dataclass
class ProxyStatus:
    """One proxy as Pilot sees it."""

    id: str
    stream: Stream | None = None
    rejected: int = 0
    last_error: str = ""


@dataclass
class Registry:
    """Every proxy that is expected or connected."""

    proxies: dict[str, ProxyStatus] = field(default_factory=dict)

    def status(self, views: Views) -> list[dict[str, Any]]:
        """Of each: connected, in step (by discovery service too), pushes, rejected, last error."""
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
                }
            )
        return rows


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
        inbox: asyncio.Queue[Any] = asyncio.Queue()
        reader = asyncio.create_task(_read(requests, inbox))
        status: ProxyStatus | None = None
        try:
            request = await inbox.get()
            if request is None:
                return
            proxy_id = self._identity or request.node.id
            if not proxy_id:
                await context.abort(
                    grpc.StatusCode.INVALID_ARGUMENT, "the first request has no node id"
                )
            status = self._registry.proxies.setdefault(proxy_id, ProxyStatus(proxy_id))
            status.stream = stream
            stream.receive(request)
            while True:
                changed = self._views.next_change
                while not inbox.empty():
                    if (request := inbox.get_nowait()) is None:
                        return
                    _receive(stream, request, status)
                if view := self._views.of(proxy_id):
                    for response in stream.send(view):
                        yield response
                if not await _wait(inbox, changed, stream, status):
                    return
        finally:
            reader.cancel()
            if status is not None and status.stream is stream:
                status.stream = None
                if self._identity is None:
                    self._registry.proxies.pop(status.id, None)


async def _read(requests: AsyncIterator[Any], inbox: asyncio.Queue[Any]) -> None:
    try:
        async for request in requests:
            inbox.put_nowait(request)
    finally:
        inbox.put_nowait(None)


async def _wait(
    inbox: asyncio.Queue[Any], changed: asyncio.Event, stream: Stream, status: ProxyStatus
) -> bool:
    """Wait for a request (taken) or a change; False when the proxy is gone."""
    getter = asyncio.ensure_future(inbox.get())
    waiter = asyncio.ensure_future(changed.wait())
    try:
        await asyncio.wait((getter, waiter), return_when=asyncio.FIRST_COMPLETED)
        if getter.done():
            if (request := getter.result()) is None:
                return False
            _receive(stream, request, status)
        return True
    finally:
        waiter.cancel()
        if not getter.done():
            getter.cancel()


def _receive(stream: Stream, request: Any, status: ProxyStatus) -> None:
    nacks = stream.nacks
    stream.receive(request)
    if stream.nacks > nacks:
        status.rejected += 1
        status.last_error = stream.last_error
        log.warning("%s rejected %s", status.id, stream.last_error)


async def listen(target: str, service: AdsService, owner: int | None = None) -> Any:
    """Start a server at "ADDRESS:PORT" or "unix:PATH" (made 0600, owned by uid `owner`).

    Raises:
        InputError: the address is taken, or the socket's directory is missing.
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
    try:
        server.add_insecure_port(target)
    except RuntimeError as exc:
        raise InputError(f"cannot listen on {target}") from exc
    if path:
        os.chmod(path, 0o600)
        if owner is not None:
            os.chown(path, owner, owner)
    await server.start()
    return server
