"""`meshnet run copilot`: routes (gRPC) and instances (BBS) in, Istio's resources (MCP) out."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from typing import Any

from meshnet.copilot.backends import Backends
from meshnet.copilot.snapshot import Mesh, snapshot
from meshnet.copilot.state import State
from meshnet.store import Store
from meshnet.wire import copilot_server, runtime
from meshnet.wire.bbs_client import BbsClient, Connected
from meshnet.wire.mcp_server import McpSource

log = logging.getLogger("meshnet")


@dataclass(frozen=True)
class Config:
    """Where Copilot listens, keeps its state and finds BBS."""

    listen_host: str
    store: str
    bbs_url: str
    cc_port: int = 9001
    vip_port: int = 9002
    mcp_port: int = 9009
    vip_range: str = "127.128.0.0/9"


class Copilot:
    """Joins the inputs and publishes a snapshot after each change, once per turn of the loop."""

    def __init__(self, state: State) -> None:
        self._state, self._backends = state, Backends()
        self.source = McpSource()
        self._listed = False
        self._due: asyncio.Handle | None = None

    def changed(self) -> None:
        """Publish at the end of this turn of the loop; changes of one turn make one version."""
        if self._listed and self._due is None:
            self._due = asyncio.get_running_loop().call_soon(self._publish)

    def _publish(self) -> None:
        self._due = None
        state = self._state
        mesh = Mesh(
            state.routes,
            state.mappings,
            state.associations,
            self._backends.by_process(),
            state.vips,
        )
        served = self.source.catalog.collections
        self.source.update(
            {
                name: {**dict.fromkeys(served[name].resources), **messages}
                for name, messages in snapshot(mesh).items()
            }
        )

    async def follow(self, bbs: BbsClient) -> None:
        """List BBS's instances, then follow its events until the stream breaks.

        Nothing is published before the first list: an empty mesh for want of one would fail
        every request.
        """
        async for event in bbs.events():
            if isinstance(event, Connected):
                self._backends.replace(await bbs.actual_lrps())
                if not self._listed:
                    self._listed = True
                    log.info("instances listed; serving MCP")
                self.changed()
            elif self._backends.apply(event.name, event.message):
                self.changed()


async def serve(config: Config) -> None:
    """Serve until cancelled."""
    state = State(Store.open(config.store), config.vip_range)
    copilot = Copilot(state)
    bbs = BbsClient(config.bbs_url)
    servers = await copilot_server.start(
        config.listen_host,
        (config.cc_port, copilot_server.CloudControllerCopilot(state, copilot.changed)),
        (config.vip_port, copilot_server.VIPResolverCopilot(state)),
        (config.mcp_port, copilot.source),
    )
    runtime.notify_ready()
    try:
        await runtime.keep_trying(lambda: copilot.follow(bbs), "BBS's events")
    finally:
        for server in servers:
            await server.stop(0)


def run(config: dict[str, Any]) -> None:
    """Entry point of the daemon."""
    parsed = runtime.parse(Config, config)
    runtime.run_async(lambda: serve(parsed))
