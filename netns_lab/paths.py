"""Where a lab keeps things on the host."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from meshnet.model.errors import InputError, NotFound

RUN = Path("/run/meshnet")
STATE = Path("/var/lib/meshnet")
CGROUP = "/meshnet"
ENVOY_DIR = Path("/usr/local/lib/meshnet")
DEFAULT_LAB = "mesh"
LAB_VARIABLE = "MESHNET_LAB"


@dataclass(frozen=True)
class Paths:
    """One lab's files."""

    lab: str

    @property
    def run(self) -> Path:
        """All but durable state."""
        return RUN / self.lab

    @property
    def state(self) -> Path:
        """Stores and droplets."""
        return STATE / self.lab

    @property
    def token_keys(self) -> Path:
        """UAA's signing keys."""
        return self.state / "token-keys"

    @property
    def bpf(self) -> Path:
        """The lab's own bpffs."""
        return self.run / "bpf"

    @property
    def log(self) -> Path:
        """Every log."""
        return self.run / "log"

    @property
    def ledger(self) -> Path:
        """What `up` made, but for durable state."""
        return self.run / "ledger.jsonl"

    @property
    def state_ledger(self) -> Path:
        """Durable state, which outlives a crash but not `down`."""
        return self.run / "ledger-state.jsonl"

    @property
    def lab_json(self) -> Path:
        """How to reach the lab, its secrets included (0600)."""
        return self.run / "lab.json"

    @property
    def supervisor_socket(self) -> Path:
        """The supervisor's status."""
        return self.run / "sock" / "supervisor.sock"

    @property
    def cgroup(self) -> str:
        """The lab's cgroup."""
        return f"{CGROUP}/{self.lab}"

    @property
    def ca(self) -> Path:
        """The lab's CA: `ca.pem`, whom to trust, and `authority.pem`, which signs."""
        return self.state / "ca"

    @property
    def identity_ca(self) -> Path:
        """The CA of instances' certificates, with its key."""
        return self.ca / "instance-identity.pem"

    def tls(self, daemon: str) -> Path:
        """A daemon's certificate, key and CAs."""
        return self.run / "tls" / daemon

    def cell_ledger(self, cell: str) -> Path:
        """What a cell's agent made."""
        return self.run / f"ledger-{cell}.jsonl"

    def socket(self, node: str, room: str) -> Path:
        """A daemon's status socket."""
        return self.run / "sock" / f"{node}.{room}.sock"

    def resolv_conf(self) -> Path:
        """What nodes see as /etc/resolv.conf."""
        return self.run / "resolv.conf"


def labs() -> list[str]:
    """Names of the labs that are up, or of which something is left."""
    try:
        return sorted(path.parent.name for path in RUN.glob("*/ledger.jsonl"))
    except PermissionError as exc:
        raise InputError("needs root to look at a lab: run it through sudo") from exc


def chosen(name: str | None = None) -> Paths:
    """The lab meant: the one named, $MESHNET_LAB's, the only one up, or the default.

    Raises:
        NotFound: it is not up.
        InputError: several are up and none is named.
    """
    up, wanted = labs(), _named(name)
    if wanted is None:
        if len(up) > 1 and DEFAULT_LAB not in up:
            raise InputError(f"several labs are up ({', '.join(up)}): name one with --lab")
        wanted = up[0] if len(up) == 1 else DEFAULT_LAB
    if wanted not in up:
        raise NotFound(f"lab {wanted!r} is not up: meshnet lab up")
    return Paths(wanted)


def to_remove(name: str | None = None) -> Paths:
    """The lab to take down: the one named, $MESHNET_LAB's, or the default; no other for being the
    only one up, since what goes with it does not come back.

    Raises:
        NotFound: it is not up.
        InputError: none is named, and others than the default are up.
    """
    up, named = labs(), _named(name)
    wanted = DEFAULT_LAB if named is None else named
    if wanted in up:
        return Paths(wanted)
    if named is None and up:
        are, which = ("are", "NAME") if up[1:] else ("is", up[0])
        raise InputError(
            f"lab {wanted!r} is not up, but {', '.join(up)} {are}: meshnet lab down --lab {which}"
        )
    raise NotFound(f"lab {wanted!r} is not up")


def _named(name: str | None) -> str | None:
    """The lab that the user has named: --lab "$UNSET" must not mean another one."""
    return name if name is not None else os.environ.get(LAB_VARIABLE) or None
