"""`meshnet run log-cache`: logs and metrics come in by gRPC, users read them over HTTP."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

from meshnet.logcache.access import Access
from meshnet.logcache.app import Api
from meshnet.logcache.ring import MOST_BYTES, MOST_ENVELOPES, Ring
from meshnet.wire import log_cache_server, runtime
from meshnet.wire.http_client import http_client
from meshnet.wire.tls import Tls
from meshnet.wire.token import Verifier


@dataclass(frozen=True)
class Config:
    """Where both faces listen, and how much is kept.

    Attributes:
        capi_url: who says which apps a user may see.
        token_keys: a file with UAA's public keys (PEM).
        grpc_port: Ingress and Egress, for components; mutual TLS where `tls` is given.
        http_port: the read API; the Cloud Controller passes users' requests on to it.
    """

    listen_host: str
    capi_url: str
    token_keys: str
    grpc_port: int = 8080
    http_port: int = 8083
    most_envelopes: int = MOST_ENVELOPES
    most_bytes: int = MOST_BYTES
    tls: Tls | None = None


async def serve(config: Config) -> None:
    """Serve until cancelled; what it holds is in memory only, as in CF."""
    ring = Ring(config.most_envelopes, config.most_bytes)
    capi = http_client(config.capi_url, config.tls)
    api = Api(ring, Access(Verifier.from_file(config.token_keys), capi))
    address = f"{config.listen_host}:{config.grpc_port}"
    server = await log_cache_server.start(address, ring, config.tls)
    try:
        async with asyncio.TaskGroup() as tasks:
            serving = runtime.serve_asgi(
                api.application(), host=config.listen_host, port=config.http_port, tls=config.tls
            )
            tasks.create_task(serving)
            await asyncio.sleep(0)
            runtime.notify_ready()
    finally:
        await server.stop(0)


def run(config: dict[str, Any]) -> None:
    """Entry point of the daemon."""
    parsed = runtime.parse(Config, config)
    runtime.run_async(lambda: serve(parsed))
