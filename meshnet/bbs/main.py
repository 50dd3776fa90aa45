"""`meshnet run bbs`: desired and actual LRPs, their placement, and the event stream."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

from meshnet.bbs.app import application
from meshnet.bbs.auction import Auction
from meshnet.bbs.domains import Domains
from meshnet.bbs.events import Hub
from meshnet.bbs.handlers import Handlers
from meshnet.bbs.lrps import Lrps
from meshnet.bbs.queries import Queries
from meshnet.bbs.work import State
from meshnet.store import Store, hold
from meshnet.wire import runtime
from meshnet.wire.tls import Tls


@dataclass(frozen=True)
class Config:
    """Where BBS listens and keeps its records.

    Attributes:
        cell_grace_seconds: how long cells may be silent after a start of BBS.
        tls: mutual TLS; None = plain.
    """

    listen_host: str
    store: str
    listen_port: int = 8889
    cell_grace_seconds: float = 30.0
    tls: Tls | None = None


async def serve(config: Config) -> None:
    """Serve until cancelled; a second one waits for the store until the first ends."""
    async with hold(config.store) as store:
        await _serve(config, store)


async def _serve(config: Config, store: Store) -> None:
    hub = Hub()
    lrps = Lrps(State(store, hub))
    auction = Auction(lrps, store)
    app = application(Handlers(lrps, auction, Domains(store)), Queries(lrps), hub)
    async with asyncio.TaskGroup() as tasks:
        host, port = config.listen_host, config.listen_port
        tasks.create_task(runtime.serve_asgi(app, host=host, port=port, tls=config.tls))
        await asyncio.sleep(0)
        auction.resume(grace_seconds=config.cell_grace_seconds)
        runtime.notify_ready()


def run(config: dict[str, Any]) -> None:
    """Entry point of the daemon."""
    parsed = runtime.parse(Config, config)
    runtime.run_async(lambda: serve(parsed))
