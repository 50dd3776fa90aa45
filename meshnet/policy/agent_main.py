"""`meshnet run policy-agent`: keeps a cell's kernel rules equal to the policy server's policies.

While the policy server is away the last rules stay. The agent never learns addresses.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from meshnet.kernel.bpf.datapath import PolicyRules
from meshnet.policy.planner import plan
from meshnet.wire import runtime
from meshnet.wire.policy_client import PolicyClient
from meshnet.wire.tls import Tls

log = logging.getLogger("meshnet")
_PIN_WAIT_SECONDS = 60.0


@dataclass(frozen=True)
class Config:
    """The policy server's internal API, where the cell pins its maps, and who we are."""

    policy_url: str
    pin_dir: str
    tls: Tls | None = None


async def _follow(client: PolicyClient, rules: PolicyRules) -> None:
    version = 0
    while True:
        update = await client.changes(version)
        added, removed = plan(update.delta.added), plan(update.delta.removed)
        set_, deleted = rules.replace(added) if update.full else rules.change(added, removed)
        if set_ or deleted:
            log.info("%d map entries added, %d removed", set_, deleted)
        version = update.version
        runtime.notify_ready()


async def serve(config: Config) -> None:
    """Serve until cancelled."""
    pin_dir = Path(config.pin_dir)
    rules = await asyncio.to_thread(PolicyRules.open, pin_dir, _PIN_WAIT_SECONDS)
    client = PolicyClient(config.policy_url, config.tls)
    await runtime.keep_trying(lambda: _follow(client, rules), "policy server")


def run(config: dict[str, Any]) -> None:
    """Entry point of the daemon."""
    parsed = runtime.parse(Config, config)
    runtime.run_async(lambda: serve(parsed))
