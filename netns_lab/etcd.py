"""etcd as a lab's store: three members in the control node, each a daemon of its own."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from meshnet.model.errors import PlatformError
from meshnet.wire import runtime
from meshnet.wire.tls import Tls

ROOM = "etcd"
MEMBERS = (1, 2, 3)
HOST = "127.0.0.1"  # of the control node, whose daemons are the only clients
_FIRST_PORT = 2379
# As the other daemons have it; TLS 1.3 has its own.
_CIPHERS = ",".join(
    f"TLS_ECDHE_{key}_WITH_{cipher}"
    for key in ("ECDSA", "RSA")
    for cipher in ("AES_128_GCM_SHA256", "AES_256_GCM_SHA384")
)
_HISTORY = 1_000  # revisions that a watch may begin behind
_MAX_REQUEST_BYTES = 32 * 1024 * 1024


@dataclass(frozen=True)
class Config:
    """One member: its number, where it keeps its data, and who it is to clients and members."""

    member: int
    data_dir: str
    tls: Tls


def name(member: int) -> str:
    """A member's name in its cluster."""
    return f"etcd-{member}"


def client_port(member: int) -> int:
    """Where a member listens for clients; for the other members at the next port."""
    return _FIRST_PORT + 2 * (member - 1)


def url(lab: str, room: str, tls: Tls) -> str:
    """A daemon's store, and who the daemon is to etcd."""
    addresses = ",".join(f"{HOST}:{client_port(member)}" for member in MEMBERS)
    files = urlencode({"ca": tls.ca, "cert": tls.certificate, "key": tls.key}, safe="/")
    return f"etcd://{addresses}/meshnet/{lab}/{room}?{files}"


def need() -> str:
    """Where the etcd binary is. Raises PlatformError."""
    if (found := shutil.which("etcd")) is None:
        raise PlatformError(
            "a lab with `store: etcd` needs etcd: netns_lab/setup.sh --tests installs it"
        )
    return found


def argv(config: Config) -> list[str]:
    """The command line of a member."""
    client, peer = (f"https://{HOST}:{client_port(config.member) + n}" for n in (0, 1))
    cluster = ",".join(f"{name(m)}=https://{HOST}:{client_port(m) + 1}" for m in MEMBERS)
    files = {
        "cert-file": config.tls.certificate,
        "key-file": config.tls.key,
        "trusted-ca-file": config.tls.ca,
        "client-cert-auth": "true",
    }
    options = {
        "name": name(config.member),
        "data-dir": config.data_dir,
        "listen-client-urls": client,
        "advertise-client-urls": client,
        "listen-peer-urls": peer,
        "initial-advertise-peer-urls": peer,
        "initial-cluster": cluster,
        "initial-cluster-state": "new",
        **files,
        **{f"peer-{key}": value for key, value in files.items()},
        "cipher-suites": _CIPHERS,
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
