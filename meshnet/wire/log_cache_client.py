"""A client of log-cache's gRPC services."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import grpc

from meshnet.model.errors import InputError, PeerError
from meshnet.wire.gen import logcache_pb2 as pb
from meshnet.wire.gen import logcache_pb2_grpc, loggregator_pb2
from meshnet.wire.grpc_client import Channel
from meshnet.wire.tls import Tls

_TIMEOUT = 5.0
_OPTIONS = [
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
]


class LogCacheClient:
    """Typed calls. Every method raises PeerError where log-cache is away."""

    def __init__(self, address: str, tls: Tls | None = None) -> None:
        """Of the log-cache at `address` (HOST:PORT). Raises InputError: no good certificate."""
        self._channel = Channel(address, tls, _OPTIONS)

    async def close(self) -> None:
        """Close the channel."""
        await self._channel.close()

    async def send(self, envelopes: Iterable[Any]) -> None:
        """Hand in Envelopes; on return log-cache has them."""
        batch = loggregator_pb2.EnvelopeBatch(batch=envelopes)
        stub = logcache_pb2_grpc.IngressStub(self._channel.get())
        await _call(stub.Send, pb.SendRequest(envelopes=batch))

    async def read(
        self, source_id: str, *, start: int, kind: str = "ANY", limit: int = 1000
    ) -> list[Any]:
        """The newest Envelopes of a source since `start` (ns), newest first.

        Args:
            kind: "LOG", "GAUGE", ...: the name of an EnvelopeType.
        """
        request = pb.ReadRequest(
            source_id=source_id,
            start_time=start,
            limit=limit,
            envelope_types=[pb.EnvelopeType.Value(kind)],
            descending=True,
        )
        stub = logcache_pb2_grpc.EgressStub(self._channel.get())
        reply = await _call(stub.Read, request)
        return list(reply.envelopes.batch)


async def _call(method: Any, request: Any) -> Any:
    try:
        return await method(request, timeout=_TIMEOUT)
    except grpc.aio.AioRpcError as exc:
        if exc.code() == grpc.StatusCode.INVALID_ARGUMENT:
            raise InputError(exc.details()) from exc
        raise PeerError(f"log-cache does not answer: {exc.code().name}") from exc
