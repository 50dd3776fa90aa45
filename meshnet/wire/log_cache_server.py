"""log-cache over gRPC, for components: cells send in, the Cloud Controller reads."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable
from typing import Any, Protocol

import grpc
from grpc_reflection.v1alpha import reflection

from meshnet.wire import grpc_server
from meshnet.wire.gen import logcache_pb2 as pb
from meshnet.wire.gen import logcache_pb2_grpc, loggregator_pb2
from meshnet.wire.tls import Tls

MOST_READ, READ = 1000, 100  # envelopes a read gives at most, and where it does not say


class Envelopes(Protocol):
    """What the services read and write (logcache.ring.Ring)."""

    def put(self, envelopes: Iterable[Any]) -> None: ...
    def get(
        self,
        source_id: str,
        *,
        start: int,
        end: int,
        limit: int,
        kinds: Collection[str] = (),
        descending: bool = False,
    ) -> list[Any]: ...
    def meta(self) -> dict[str, Any]: ...


def read(envelopes: Envelopes, request: Any) -> list[Any]:
    """The envelopes a ReadRequest asks for. Raises ValueError in log-cache's own words."""
    if request.end_time and request.start_time > request.end_time:
        raise ValueError(
            f"StartTime ({request.start_time}) must be before EndTime ({request.end_time})"
        )
    if request.limit > MOST_READ:
        raise ValueError(f"Limit ({request.limit}) must be {MOST_READ} or less")
    if request.limit < 0:
        raise ValueError(f"Limit ({request.limit}) must be greater than zero")
    names = (pb.EnvelopeType.Name(kind) for kind in request.envelope_types)
    return envelopes.get(
        request.source_id,
        start=request.start_time,
        end=request.end_time or time.time_ns(),
        limit=request.limit or READ,
        kinds={name.lower() for name in names if name != "ANY"},
        descending=request.descending,
    )


class _Ingress(logcache_pb2_grpc.IngressServicer):
    def __init__(self, envelopes: Envelopes) -> None:
        self._envelopes = envelopes

    async def Send(self, request: Any, context: Any) -> Any:
        self._envelopes.put(request.envelopes.batch)
        return pb.SendResponse()


class _Egress(logcache_pb2_grpc.EgressServicer):
    def __init__(self, envelopes: Envelopes) -> None:
        self._envelopes = envelopes

    async def Read(self, request: Any, context: Any) -> Any:
        try:
            found = read(self._envelopes, request)
        except ValueError as exc:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(exc))
        return pb.ReadResponse(envelopes=loggregator_pb2.EnvelopeBatch(batch=found))

    async def Meta(self, request: Any, context: Any) -> Any:
        return pb.MetaResponse(meta=meta_info(self._envelopes))


def meta_info(envelopes: Envelopes) -> dict[str, Any]:
    """MetaInfo of every source."""
    return {
        name: pb.MetaInfo(
            count=one.count,
            expired=one.expired,
            oldest_timestamp=one.oldest,
            newest_timestamp=one.newest,
        )
        for name, one in envelopes.meta().items()
    }


async def start(address: str, envelopes: Envelopes, tls: Tls | None) -> Any:
    """Serve Ingress and Egress; the grpc.aio server. Raises InputError: cannot listen."""
    server = grpc.aio.server()
    logcache_pb2_grpc.add_IngressServicer_to_server(_Ingress(envelopes), server)
    logcache_pb2_grpc.add_EgressServicer_to_server(_Egress(envelopes), server)
    names = [pb.DESCRIPTOR.services_by_name[name].full_name for name in ("Ingress", "Egress")]
    reflection.enable_server_reflection((*names, reflection.SERVICE_NAME), server)
    grpc_server.bind(server, address, tls)
    await server.start()
    return server
