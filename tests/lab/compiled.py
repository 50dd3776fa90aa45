"""What the proxies and the kernel of a lab must have, compiled anew from what its stores hold.

Nothing is asked of the running daemons: copies of their SQLite files go once, from nothing, through
the code of Copilot, Pilot and the policy agent.
"""

from __future__ import annotations

import json
import sqlite3
from dataclasses import dataclass
from pathlib import Path

from meshnet.bbs.events import Hub
from meshnet.bbs.work import State as BbsState
from meshnet.cli import proxy_lookup
from meshnet.copilot import resources
from meshnet.copilot.backends import Backends
from meshnet.copilot.certificates import names_in
from meshnet.copilot.state import State as CopilotState
from meshnet.kernel.bpf import abi
from meshnet.kernel.bpf.policy_rules import PolicyRules, keys_of, rule_of
from meshnet.pilot.views import Views
from meshnet.policy.planner import plan
from meshnet.policy.state import MIGRATIONS
from meshnet.policy.state import State as PolicyState
from meshnet.proxy import dump
from meshnet.store import Store
from meshnet.wire import mcp, proxies
from meshnet.wire.mcp_sink import Delta
from netns_lab import status
from netns_lab.paths import Paths

VIP_RANGE = "127.128.0.0/9"


@dataclass
class Stores:
    """What the daemons' stores hold at one moment."""

    copilot: CopilotState
    bbs: BbsState
    policy: PolicyState


def read(paths: Paths, directory: Path) -> Stores:
    """What a lab's stores hold now, by copies below `directory`."""
    opened = {
        room: Store.open(_copy(paths.state / f"{room}.db", directory), migrations)
        for room, migrations in (("copilot", ()), ("bbs", ()), ("policy", MIGRATIONS))
    }
    try:
        return Stores(
            CopilotState(opened["copilot"], VIP_RANGE),
            BbsState(opened["bbs"], Hub()),
            PolicyState(opened["policy"]),
        )
    finally:
        for store in opened.values():
            store.close()


def _copy(path: Path, directory: Path) -> Path:
    copy = directory / path.name
    copy.unlink(missing_ok=True)
    with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as source, sqlite3.connect(copy) as sink:
        source.backup(sink)
    source.close()
    sink.close()
    return copy


def differences(paths: Paths, stores: Stores) -> list[str]:
    """In what the lab's Envoys and kernels differ from the stores; empty where in nothing."""
    views = _views(paths, stores)
    known, silent = proxy_lookup.every(paths)
    found = [f"{name} does not answer" for name in silent]
    for proxy in known:
        view = views[proxy.pilot].of(proxy.id)
        if view is None:
            found.append(f"{proxy.name}: of no instance that is announced")
            continue
        for kind, lines in dump.difference(dump.wanted(view), proxy.dump()).items():
            found += [f"{proxy.name} {kind}", *lines[:40]] if lines else []
    return found + _unproxied(paths, stores) + _kernel(paths, stores)


def _views(paths: Paths, stores: Stores) -> dict[str, Views]:
    backends, mesh = Backends(), stores.copilot.mesh
    for guid in backends.replace(stores.bbs.table.all()):
        mesh.set_backends(guid, backends.backends(guid))
    config = json.loads((paths.run / "config" / "control.copilot.json").read_text())
    gateway = resources.gateway(names_in(config["certificates"]))
    made = {**resources.everything(mesh), mcp.GATEWAYS: gateway}
    news = {name: Delta(changed=one) for name, one in made.items()}
    views = {}
    for node in status.collect(paths)["pilots"]:
        views[node] = Views()
        views[node].set_sidecars(proxies.read(paths.run / "cells" / node / "proxies"))
        views[node].update(news)
    return views


def _unproxied(paths: Paths, stores: Stores) -> list[str]:
    """Instances that run and have no proxy that Pilot knows."""
    served = {proxy.id for proxy in proxy_lookup.every(paths)[0]}
    running = {
        lrp.actual_lrp_instance_key.instance_guid
        for lrp in stores.bbs.table.all()
        if lrp.state == "RUNNING"
    }
    return [f"instance {guid} runs without a proxy" for guid in sorted(running - served)]


def _kernel(paths: Paths, stores: Stores) -> list[str]:
    policies = plan(map(stores.policy.tagged, stores.policy.policies))
    wanted = {
        rule_of(abi.PolicyKey.from_buffer_copy(key)) for rule in policies for key in keys_of(rule)
    }
    found = []
    for cell in status.cells(paths):
        rules = PolicyRules.open(paths.bpf / cell)
        has = set(rules.items())
        rules.close()
        found += [f"{cell}: the kernel lacks {rule}" for rule in sorted(wanted - has)]
        found += [f"{cell}: the kernel has {rule} still" for rule in sorted(has - wanted)]
    return found
