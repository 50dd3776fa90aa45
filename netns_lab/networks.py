"""Leases of underlay networks, so that labs on one host never collide."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from meshnet.kernel import cgroup
from meshnet.kernel.ledger import Ledger
from meshnet.model.errors import PlatformError
from netns_lab.paths import CGROUP, RUN, STATE
from netns_lab.topology import AUTO, Topology, check_networks, free_network

_LEASES = RUN / "networks"


@contextmanager
def locked() -> Iterator[None]:
    """Only one `up` or `down` of any lab at a time; what the last lab leaves empty is removed."""
    path = RUN / "lock"
    while True:
        RUN.mkdir(mode=0o700, parents=True, exist_ok=True)
        with contextlib.suppress(FileNotFoundError), path.open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            # Whoever held it may have removed it with the last lab.
            if os.fstat(lock.fileno()).st_ino != path.stat().st_ino:
                continue
            try:
                yield
            finally:
                _sweep(path)
            return


def _sweep(lock: Path) -> None:
    """Remove the directories and groups that all labs share, once no lab is left."""
    with contextlib.suppress(OSError):
        _LEASES.rmdir()
    if {entry.name for entry in RUN.iterdir()} == {lock.name}:
        lock.unlink()
        shared = [RUN, STATE, *(root / CGROUP.strip("/") for root in _hierarchies())]
        for directory in shared:
            with contextlib.suppress(OSError):
                directory.rmdir()


def _hierarchies() -> list[Path]:
    return [cgroup.v2_root(), *cgroup.v1_roots()]


def lease(topology: Topology, ledger: Ledger) -> Topology:
    """The lab with a network of its own, leased until the ledger is undone. Call it `locked`.

    Raises:
        Conflict: the network in the lab file is taken, or none is free.
    """
    _LEASES.mkdir(mode=0o700, exist_ok=True)
    taken = [*_leased(topology.name), *_routes()]
    if topology.underlay == AUTO:
        topology = topology.with_underlay(free_network(taken))
    check_networks(topology, taken)
    path = _LEASES / topology.name
    ledger.record("file", path=str(path))
    path.write_text(topology.underlay, encoding="ascii")
    return topology


def _leased(own: str) -> list[tuple[str, str]]:
    return [
        (path.read_text(encoding="ascii"), f"lab {path.name!r}")
        for path in _LEASES.iterdir()
        if path.name != own
    ]


def _routes() -> list[tuple[str, str]]:
    """Networks this host has routes to, but for the default route."""
    done = subprocess.run(
        ["ip", "-4", "-json", "route", "show", "table", "main"], capture_output=True, text=True
    )
    try:
        rows = json.loads(done.stdout or "[]")
    except ValueError as exc:
        raise PlatformError(f"cannot read this host's routes: {done.stderr.strip()}") from exc
    found = []
    for row in rows:
        if row["dst"] != "default":
            text = row["dst"] if "/" in row["dst"] else f"{row['dst']}/32"
            found.append((text, f"this host (dev {row.get('dev', '?')})"))
    return found
