"""`meshnet run policy`: the policy server."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from typing import Any

from meshnet.model.errors import MeshnetError
from meshnet.policy.external import External, Limits
from meshnet.policy.internal import Internal
from meshnet.policy.spaces import CloudController
from meshnet.policy.state import MAX_PER_SOURCE, MIGRATIONS, State
from meshnet.store import Store, hold
from meshnet.wire import runtime
from meshnet.wire.http_client import http_client
from meshnet.wire.tls import Tls
from meshnet.wire.token import Verifier

log = logging.getLogger("meshnet")


@dataclass(frozen=True)
class Config:
    """Where both APIs listen, where policies are kept, and who knows the apps.

    Attributes:
        token_keys: a file with UAA's public keys (PEM).
        uaa_client, uaa_secret: with which it asks the Cloud Controller about apps and roles.
        enable_space_developer_self_service: space developers need no scope of their own.
        policy_cleanup_interval: minutes between deletions of policies whose app is gone; CAPI
            names such apps at once, this heals.
        tls: TLS outside, mutual inside, as in CF; None = plain.
    """

    listen_host: str
    store: str
    capi_url: str
    token_keys: str
    uaa_secret: str
    uaa_client: str = "network-policy"
    external_port: int = 4002
    internal_port: int = 4003
    enable_space_developer_self_service: bool = True
    max_policies_per_app_source: int = MAX_PER_SOURCE
    policy_cleanup_interval: float = 60.0
    tls: Tls | None = None


async def serve(config: Config) -> None:
    """Serve until cancelled; a second one waits for the store until the first ends."""
    async with hold(config.store, MIGRATIONS) as store:
        await _serve(config, store)


async def _serve(config: Config, store: Store) -> None:
    state = State(store)
    http = http_client(config.capi_url, config.tls)
    capi = CloudController(http, config.uaa_client, config.uaa_secret)
    limits = Limits(config.enable_space_developer_self_service, config.max_policies_per_app_source)
    external = External(state, Verifier.from_file(config.token_keys), capi, limits)
    async with asyncio.TaskGroup() as tasks:
        for app, port, mutual in (
            (external.application(), config.external_port, False),
            (Internal(state).application(), config.internal_port, True),
        ):
            tasks.create_task(
                runtime.serve_asgi(
                    app, host=config.listen_host, port=port, tls=config.tls, mutual=mutual
                )
            )
        tasks.create_task(clean_up(external, config.policy_cleanup_interval * 60))
        await asyncio.sleep(0)
        runtime.notify_ready()


async def clean_up(external: External, seconds: float) -> None:
    """Delete policies of apps that are gone, again and again."""
    while True:
        await asyncio.sleep(seconds)
        try:
            if gone := await external.delete_stale():
                log.info("%d policies of apps that are gone deleted", len(gone))
        except MeshnetError as exc:
            log.warning("policies of apps that are gone were not looked for: %s", exc)


def run(config: dict[str, Any]) -> None:
    """Entry point of the daemon."""
    parsed = runtime.parse(Config, config)
    runtime.run_async(lambda: serve(parsed))
