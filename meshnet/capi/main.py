"""`meshnet run capi`: the Cloud Controller API, v3, with UAA's tokens."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from meshnet.capi.app import application
from meshnet.capi.logs import Logs
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
from meshnet.wire.http_client import http_client
from meshnet.wire.log_cache_client import LogCacheClient
from meshnet.wire.tls import Tls

FIRST_ORGANIZATION, FIRST_SPACE = "system", "dev"

POLICY_CLIENT = "network-policy"  # with it the policy server asks about apps and roles


@dataclass(frozen=True)
class Config:
    """Where the API listens, keeps its records and finds its peers.

    Attributes:
        token_key_dir: UAA's signing keys; others check tokens with `public.pem` in it.
        users: name to password; each may do everything.
        domains: shared domains, each {name, internal, istio}.
        tls: HTTPS at `tls_port`, and at `internal_port` only for clients with a certificate (CF's
            own port for its components; cells fetch droplets there); None = plain.
    """

    listen_host: str
    store: str
    droplet_dir: str
    copilot_addr: str
    bbs_url: str
    policy_url: str
    policy_internal_url: str
    log_cache_url: str
    log_cache_addr: str
    token_key_dir: str
    internal_user: str
    internal_password: str
    listen_port: int = 80
    tls_port: int = 443
    internal_port: int = 9023
    tls: Tls | None = None
    users: dict[str, str] = field(default_factory=dict)
    domains: list[dict[str, Any]] = field(default_factory=list)


def public_url(config: Config) -> str:
    """Where users and apps find the API (`cf_api` of VCAP_APPLICATION); cells have another port."""
    scheme, port, usual = (
        ("https", config.tls_port, 443) if config.tls else ("http", config.listen_port, 80)
    )
    return f"{scheme}://{config.listen_host}" + (f":{port}" if port != usual else "")


async def serve(config: Config) -> None:
    """Serve until cancelled; a second one waits for the store until the first ends."""
    async with hold(config.store) as store:
        await _serve(config, store)


async def _serve(config: Config, store: Store) -> None:
    droplet_dir = Path(config.droplet_dir)
    droplet_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    records = Records(store, config.domains)
    records.seed(FIRST_ORGANIZATION, FIRST_SPACE)
    records.uaa.seed(config.users)
    secret = secret_digest(POLICY_CLIENT, config.internal_password)
    records.uaa.seed_client(POLICY_CLIENT, secret, (READ_ONLY,))
    tls, host = config.tls, config.listen_host
    bbs = BbsClient(config.bbs_url, tls)
    sync = Sync(
        records,
        bbs,
        CopilotClient(config.copilot_addr, tls),
        base_url=(
            f"https://{host}:{config.internal_port}"
            if tls
            else f"http://{host}:{config.listen_port}"
        ),
        cf_api=public_url(config),
        internal_user=config.internal_user,
        internal_password=config.internal_password,
        policy=http_client(config.policy_internal_url, tls),
    )
    logs = Logs(LogCacheClient(config.log_cache_addr, tls))
    service = Service(
        records=records,
        sync=sync,
        tokens=Tokens(KeyRing.open(config.token_key_dir), records.uaa),
        bbs=bbs,
        policy=http_client(config.policy_url, tls, timeout=10.0),
        log_cache=http_client(config.log_cache_url, tls, timeout=10.0),
        logs=logs,
        droplet_dir=droplet_dir,
        internal_login=(config.internal_user, config.internal_password),
    )
    app = application(service)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(runtime.serve_asgi(app, host=host, port=config.listen_port))
        for port, mutual in ((config.tls_port, False), (config.internal_port, True)) if tls else ():
            tasks.create_task(runtime.serve_asgi(app, host=host, port=port, tls=tls, mutual=mutual))
        service.resume()
        tasks.create_task(sync.heal())
        crashes = runtime.keep_trying(
            lambda: logs.report_crashes(bbs, records.crashed), "BBS's events"
        )
        tasks.create_task(crashes)
        tasks.create_task(service.deployer.run())
        await asyncio.sleep(0)
        runtime.notify_ready()


def run(config: dict[str, Any]) -> None:
    """Entry point of the daemon."""
    parsed = runtime.parse(Config, config)
    runtime.run_async(lambda: serve(parsed))
