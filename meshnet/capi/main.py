"""`meshnet run capi`: the Cloud Controller API, v3, with UAA's tokens."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from meshnet.capi.app import application
from meshnet.capi.permissions import READ_ONLY
from meshnet.capi.records import Records
from meshnet.capi.service import Service
from meshnet.capi.sync import Sync
from meshnet.capi.uaa.keys import KeyRing
from meshnet.capi.uaa.tokens import Tokens, secret_digest
from meshnet.store import Store, hold
from meshnet.wire import runtime
from meshnet.wire.bbs_client import BbsClient
from meshnet.wire.copilot_client import CopilotClient

FIRST_ORGANIZATION, FIRST_SPACE = "system", "dev"

POLICY_CLIENT = "network-policy"  # with it the policy server asks about apps and roles


@dataclass(frozen=True)
class Config:
    """Where the API listens, keeps its records and finds its peers.

    Attributes:
        token_key_dir: UAA's signing keys; others check tokens with `public.pem` in it.
        users: name to password; each may do everything.
        domains: shared domains, each {name, internal, istio}.
    """

    listen_host: str
    store: str
    droplet_dir: str
    copilot_addr: str
    bbs_url: str
    policy_url: str
    policy_internal_url: str
    token_key_dir: str
    internal_user: str
    internal_password: str
    listen_port: int = 80
    users: dict[str, str] = field(default_factory=dict)
    domains: list[dict[str, Any]] = field(default_factory=list)


async def serve(config: Config) -> None:
    """Serve until cancelled; a second one waits for the store until the first ends."""
    async with hold(config.store) as store:
        await _serve(config, store)


async def _serve(config: Config, store: Store) -> None:
    droplet_dir = Path(config.droplet_dir)
    droplet_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    records = Records(store, config.domains)
    records.seed(FIRST_ORGANIZATION, FIRST_SPACE)
    for name, password in config.users.items():
        records.uaa.seed_admin(name, password)
    secret = secret_digest(POLICY_CLIENT, config.internal_password)
    records.uaa.seed_client(POLICY_CLIENT, secret, (READ_ONLY,))
    bbs = BbsClient(config.bbs_url)
    sync = Sync(
        records,
        bbs,
        CopilotClient(config.copilot_addr),
        base_url=f"http://{config.listen_host}:{config.listen_port}",
        internal_user=config.internal_user,
        internal_password=config.internal_password,
        policy_internal_url=config.policy_internal_url,
    )
    service = Service(
        records=records,
        sync=sync,
        tokens=Tokens(KeyRing.open(config.token_key_dir), records.uaa),
        bbs=bbs,
        policy=httpx.AsyncClient(base_url=config.policy_url, timeout=10.0),
        droplet_dir=droplet_dir,
        internal_login=(config.internal_user, config.internal_password),
    )
    app = application(service)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(runtime.serve_asgi(app, host=config.listen_host, port=config.listen_port))
        service.resume()
        tasks.create_task(sync.heal())
        tasks.create_task(service.deployer.run())
        await asyncio.sleep(0)
        runtime.notify_ready()


def run(config: dict[str, Any]) -> None:
    """Entry point of the daemon."""
    parsed = runtime.parse(Config, config)
    runtime.run_async(lambda: serve(parsed))
