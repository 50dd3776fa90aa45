"""Pilot's MCP sink over gRPC."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import grpc

from meshnet.model.errors import PeerError
from meshnet.wire import mcp
from meshnet.wire.gen import mcp_pb2_grpc

_OPTIONS = [
    ("grpc.max_receive_message_length", mcp.MAX_MESSAGE_BYTES),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 5_000),
]


async def sink_session(
    address: str, node_id: str, apply: Callable[[dict[str, dict[str, Any]]], None]
) -> None:
    """Run one stream until it breaks.

    Args:
        address: host:port of the source.
        node_id: who we say we are.
        apply: called with collection -> name -> message once all collections have arrived, and at
            each change thereafter. Must not keep a reference to the outer dict.

    Raises:
        PeerError: the stream broke.
    """
    stream = mcp.SinkStream(node_id)
    outbox: asyncio.Queue[Any] = asyncio.Queue()
    for request in stream.open():
        outbox.put_nowait(request)

    async def requests() -> Any:
        while True:
            yield await outbox.get()

    async with grpc.aio.insecure_channel(address, options=_OPTIONS) as channel:
        stub = mcp_pb2_grpc.ResourceSourceStub(channel)
        try:
            async for response in stub.EstablishResourceStream(requests()):
                answer = stream.receive(response)
                if stream.synced and not answer.HasField("error_detail"):
                    apply(stream.received)
                outbox.put_nowait(answer)
        except grpc.aio.AioRpcError as exc:
            raise PeerError(f"Copilot's MCP stream broke: {exc.code().name}") from exc
    raise PeerError("Copilot ended its MCP stream")
