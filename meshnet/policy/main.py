"""`meshnet run policy`: the policy server."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

import httpx

from meshnet.policy.app import External, Internal
from meshnet.policy.state import State
from meshnet.store import Store, hold
from meshnet.wire import runtime
from meshnet.wire.token import Verifier


@dataclass(frozen=True)
class Config:
    """Where both APIs listen, where policies are kept, and who knows the apps.

    Attributes:
        token_keys: a file with UAA's public keys (PEM).
    """

    listen_host: str
    store: str
    capi_url: str
    token_keys: str
    external_port: int = 4002
    internal_port: int = 4003


async def serve(config: Config) -> None:
    """Serve until cancelled; a second one waits for the store until the first ends."""
    async with hold(config.store) as store:
        await _serve(config, store)


async def _serve(config: Config, store: Store) -> None:
    state = State(store)
    capi = httpx.AsyncClient(base_url=config.capi_url, timeout=5.0)
    external = External(state, Verifier.from_file(config.token_keys), capi).application()
    internal = Internal(state).application()
    host = config.listen_host
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(runtime.serve_asgi(external, host=host, port=config.external_port))
        tasks.create_task(runtime.serve_asgi(internal, host=host, port=config.internal_port))
        await asyncio.sleep(0)
        runtime.notify_ready()


def run(config: dict[str, Any]) -> None:
    """Entry point of the daemon."""
    parsed = runtime.parse(Config, config)
    runtime.run_async(lambda: serve(parsed))
