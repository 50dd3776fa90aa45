"""`meshnet run copilot`: routes (gRPC) and instances (BBS) in, Istio's resources (MCP) out."""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from meshnet.copilot import resources, status
from meshnet.copilot.backends import Backends
from meshnet.copilot.callees import Callees
from meshnet.copilot.certificates import names_in
from meshnet.copilot.state import State
from meshnet.store import Store, hold
from meshnet.wire import copilot_server, mcp, runtime
from meshnet.wire.bbs_client import BbsClient, Connected
from meshnet.wire.mcp_server import McpSource
from meshnet.wire.policy_client import PolicyClient, Update
from meshnet.wire.tls import Tls

log = logging.getLogger("meshnet")


@dataclass(frozen=True)
class Config:
    """Where Copilot listens, keeps its state and finds BBS and the policy server's internal API.

    Attributes:
        certificates: files with the PEM chains that the ingress gateway has at port 443.
        tls: mutual TLS, as server and as client; None = plain.
        status_socket: unix socket that answers GET /status and /metrics, or empty.
    """

    listen_host: str
    store: str
    bbs_url: str
    policy_url: str
    cc_port: int = 9001
    vip_port: int = 9002
    mcp_port: int = 9009
    vip_range: str = "127.128.0.0/9"
    certificates: Sequence[str] = ()
    tls: Tls | None = None
    status_socket: str = ""


class Copilot:
    """Joins the inputs, and publishes what a change touches, once per turn of the loop."""

    def __init__(self, state: State, certificates: Sequence[Sequence[str]] = ()) -> None:
        self._state, self._backends, self._callees = state, Backends(), Callees()
        self.source = McpSource()
        self._fixed = {mcp.GATEWAYS: resources.gateway(certificates)}
        self._listed = False
        self._due: asyncio.Handle | None = None

    def changed(self) -> None:
        """Publish at the end of this turn of the loop; changes of one turn make one version."""
        if self._listed and self._due is None:
            self._due = asyncio.get_running_loop().call_soon(self._publish)

    def _publish(self) -> None:
        self._due = None
        mesh, changes = self._state.mesh, defaultdict[str, dict[str, Any]](dict, self._fixed)
        self._fixed, touched = {}, mesh.take_touched()
        for site in touched.sites:
            for collection, made in resources.of_site(mesh, site).items():
                changes[collection].update(made)
        for app in touched.sidecars:
            changes[mcp.SIDECARS].update(resources.of_policies(mesh, app))
        self.source.update(changes)

    def _take_list(self, lrps: list[Any]) -> None:
        self._take_backends(self._backends.replace(lrps))
        if not self._listed:
            self._listed = True
            log.info("instances listed; serving MCP")
        self.changed()

    def _take_backends(self, differ: Iterable[str]) -> None:
        for diego_guid in differ:
            self._state.mesh.set_backends(diego_guid, self._backends.backends(diego_guid))

    async def follow(self, bbs: BbsClient) -> None:
        """List BBS's instances, then follow its events until the stream breaks.

        Nothing is published before the first list: an empty mesh for want of one would fail
        every request.
        """
        async for event in bbs.events():
            if isinstance(event, Connected):
                self._take_list(await bbs.actual_lrps())
            elif differs := self._backends.apply(event.name, event.message):
                self._take_backends([differs])
                self.changed()

    async def follow_policies(self, client: PolicyClient) -> None:
        """Take the policies, and each change of them, until the policy server is away: what is
        known of them stays, and everything else goes on.
        """
        version = 0
        while True:
            update = await client.changes(version)
            self.take_policies(update)
            version = update.version

    def take_policies(self, update: Update) -> None:
        """Take all policies, or what changed of them, and publish what that touches."""
        if update.full:
            self._state.set_policies(self._callees.replace(update.delta.added))
        else:
            self._state.change_policies(self._callees.change(update.delta))
        self.changed()


async def serve(config: Config) -> None:
    """Serve until cancelled; a second one waits for the store until the first ends."""
    async with hold(config.store) as store:
        await _serve(config, store)


async def _serve(config: Config, store: Store) -> None:
    state = State(store, config.vip_range)
    copilot = Copilot(state, names_in(config.certificates))
    bbs = BbsClient(config.bbs_url, config.tls)
    servers = await copilot_server.start(
        config.listen_host,
        (config.cc_port, copilot_server.CloudControllerCopilot(state, copilot.changed)),
        (config.vip_port, copilot_server.VIPResolverCopilot(state)),
        (config.mcp_port, copilot.source),
        config.tls,
    )
    runtime.notify_ready()
    policies = PolicyClient(config.policy_url, config.tls)
    try:
        async with asyncio.TaskGroup() as tasks:
            follow = runtime.keep_trying(lambda: copilot.follow(bbs), "BBS's events")
            tasks.create_task(follow)
            follow = runtime.keep_trying(lambda: copilot.follow_policies(policies), "policies")
            tasks.create_task(follow)
            if config.status_socket:
                says = status.application(state, copilot.source)
                tasks.create_task(runtime.serve_asgi(says, uds=config.status_socket))
    finally:
        for server in servers:
            await server.stop(0)


def run(config: dict[str, Any]) -> None:
    """Entry point of the daemon."""
    parsed = runtime.parse(Config, config)
    runtime.run_async(lambda: serve(parsed))
