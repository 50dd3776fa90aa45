"""`meshnet run ROOM --config FILE`: one daemon, the way the lab, systemd and Vagrant start it."""

from __future__ import annotations

import importlib
import json
import resource
from collections.abc import Sequence
from pathlib import Path

from meshnet.model.errors import InputError, MeshnetError
from meshnet.wire import runtime

_MOST_FILES = 65536
# Room to the module whose run(config) serves it.
ROOMS = {
    "lease": "meshnet.lease.main",
    "bbs": "meshnet.bbs.main",
    "policy": "meshnet.policy.main",
    "policy-agent": "meshnet.policy.agent_main",
    "copilot": "meshnet.copilot.main",
    "capi": "meshnet.capi.main",
    "logcache": "meshnet.logcache.main",
    "pilot": "meshnet.pilot.main",
    "dns": "meshnet.dns.main",
    "cell": "meshnet.cell.main",
    "observe": "meshnet.observe.main",
    "ingress": "meshnet.ingress.main",
    "router-logs": "meshnet.ingress.router_logs",
    "lb": "meshnet.ingress.lb_main",
    "supervisor": "netns_lab.supervisor",
    "etcd": "netns_lab.etcd",
}
USAGE = f"usage: meshnet run ROOM --config FILE   (rooms: {', '.join(ROOMS)})"


def main(args: Sequence[str]) -> int:
    """Run one daemon until SIGTERM; the exit status."""
    if len(args) != 3 or args[1] != "--config" or args[0] not in ROOMS:
        raise InputError(USAGE)
    room, path = args[0], Path(args[2])
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except OSError as exc:
        raise InputError(f"cannot read {path}: {exc.strerror}") from exc
    except ValueError as exc:
        raise InputError(f"{path} is not JSON: {exc}") from exc
    runtime.setup_logging(room)
    _allow_files()
    try:
        importlib.import_module(ROOMS[room]).run(config)
    except* MeshnetError as group:
        raise group.exceptions[0] from None
    return 0


def _allow_files() -> None:
    """Have as many files as this machine allows: shells and systemd begin with 1,024."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = _MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, _MOST_FILES)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
