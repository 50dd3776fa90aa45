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
    ("grpc.http2.max_pings_without_data", 0),
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
    async with grpc.aio.insecure_channel(address, options=_OPTIONS) as channel:
        call = mcp_pb2_grpc.ResourceSourceStub(channel).EstablishResourceStream()
        try:
            for request in stream.open():
                await call.write(request)
            while (response := await call.read()) is not grpc.aio.EOF:
                answer = stream.receive(response)
                if stream.synced and not answer.HasField("error_detail"):
                    apply(stream.received)
                await call.write(answer)
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError) as exc:
            code = exc.code().name if isinstance(exc, grpc.aio.AioRpcError) else "closed"
            raise PeerError(f"Copilot's MCP stream broke: {code}") from exc
        finally:
            call.cancel()
    raise PeerError("Copilot ended its MCP stream")
