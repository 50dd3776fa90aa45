"""etcd as a lab's store: three members in the control node, each a daemon of its own."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from typing import Any

from meshnet.model.errors import PlatformError
from meshnet.wire import runtime

MEMBERS = (1, 2, 3)
_FIRST_PORT = 2379  # member N: clients at 2379 + 2 (N - 1), members at the next port
_HOST = "127.0.0.1"  # of the control node, whose daemons are the only clients
_HISTORY = 10_000  # revisions that a watch may begin behind
_MAX_REQUEST_BYTES = 32 * 1024 * 1024


@dataclass(frozen=True)
class Config:
    """One member: its number, and where it keeps its data."""

    member: int
    data_dir: str


def name(member: int) -> str:
    """A member's name in its cluster."""
    return f"etcd-{member}"


def url(lab: str, room: str) -> str:
    """A daemon's store."""
    addresses = ",".join(f"{_HOST}:{_port(member)}" for member in MEMBERS)
    return f"etcd://{addresses}/meshnet/{lab}/{room}"


def need() -> str:
    """Where the etcd binary is. Raises PlatformError."""
    if (found := shutil.which("etcd")) is None:
        raise PlatformError(
            "a lab with `store: etcd` needs etcd: netns_lab/setup.sh --tests installs it"
        )
    return found


def argv(config: Config) -> list[str]:
    """The command line of a member."""
    client, peer = (f"http://{_HOST}:{_port(config.member) + n}" for n in (0, 1))
    cluster = ",".join(f"{name(m)}=http://{_HOST}:{_port(m) + 1}" for m in MEMBERS)
    options = {
        "name": name(config.member),
        "data-dir": config.data_dir,
        "listen-client-urls": client,
        "advertise-client-urls": client,
        "listen-peer-urls": peer,
        "initial-advertise-peer-urls": peer,
        "initial-cluster": cluster,
        "initial-cluster-state": "new",
        "auto-compaction-mode": "revision",
        "auto-compaction-retention": str(_HISTORY),
        "max-request-bytes": str(_MAX_REQUEST_BYTES),
        "logger": "zap",
        "log-level": "warn",
    }
    return [need(), *(f"--{key}={value}" for key, value in options.items())]


def run(config: dict[str, Any]) -> None:
    """Entry point of the daemon: becomes etcd, which says by itself when it is ready."""
    line = argv(runtime.parse(Config, config))
    os.execve(line[0], line, runtime.environment_to_hand_over())


def _port(member: int) -> int:
    return _FIRST_PORT + 2 * (member - 1)
