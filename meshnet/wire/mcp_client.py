"""Pilot's MCP sink over gRPC."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import grpc

from meshnet.model.errors import PeerError
from meshnet.wire.gen import mcp_pb2_grpc
from meshnet.wire.grpc_client import Channel
from meshnet.wire.mcp_sink import Deltas, Sink
from meshnet.wire.tls import Tls

_OPTIONS = [
    # Istio's sinks take 8 MiB; a first response holds a whole collection.
    ("grpc.max_receive_message_length", 256 * 1024 * 1024),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.keepalive_timeout_ms", 5_000),
]


async def sink_session(
    address: str, sink: Sink, apply: Callable[[Deltas], None], tls: Tls | None = None
) -> None:
    """Run one stream until it breaks.

    Args:
        address: host:port of the source.
        sink: holds what was received; the same one for each session, so that a session begins
            with what differs.
        apply: called with what is new (collection to Delta): everything the first time, once all
            collections have arrived, and at each change thereafter what the change is.
        tls: who we are; None = plain.

    Raises:
        PeerError: the stream broke.
    """
    channel = Channel(address, tls, _OPTIONS)
    async with channel.get() as connection:
        call = mcp_pb2_grpc.ResourceSourceStub(connection).EstablishResourceStream()
        try:
            for request in sink.open():
                await call.write(request)
            while (response := await call.read()) is not grpc.aio.EOF:
                answer = sink.receive(response)
                if news := sink.news():
                    apply(news)
                await call.write(answer)
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError) as exc:
            code = exc.code().name if isinstance(exc, grpc.aio.AioRpcError) else "closed"
            raise PeerError(f"Copilot's MCP stream broke: {code}") from exc
        finally:
            call.cancel()
    raise PeerError("Copilot ended its MCP stream")
