"""`lab up` and `lab down`: the whole of a lab, made from its file, unmade from its ledgers."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import secrets
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from meshnet.capi.uaa.keys import KeyRing
from meshnet.kernel import cgroup, ledger, mounts, probe, procs
from meshnet.kernel.bpf.datapath import ensure_compiled
from meshnet.kernel.ledger import Ledger
from meshnet.model.errors import MeshnetError, PlatformError
from meshnet.model.patience import patient
from netns_lab import build, etcd, networks, pki, status, supervisor
from netns_lab.daemons import Secrets, daemons
from netns_lab.paths import ENVOY_DIR, Paths
from netns_lab.topology import ETCD, Topology

Progress = Callable[[str], None]
READY_SECONDS = 60.0
_POLL_SECONDS = 0.05


def need_root() -> None:
    """Raise PlatformError unless root."""
    if os.geteuid() != 0:
        raise PlatformError("needs root (network namespaces, BPF): run it through sudo")


def envoy_binary() -> str:
    """Where set-up put Envoy. Raises PlatformError."""
    found = sorted(ENVOY_DIR.glob("envoy-*/envoy"))
    if not found:
        raise PlatformError(f"no Envoy in {ENVOY_DIR}: run `make set-up`")
    return str(found[-1])


def fingerprint(topology: Topology) -> str:
    """Equal for equal lab files."""
    text = json.dumps(dataclasses.asdict(topology), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def up(topology: Topology, progress: Progress) -> float:
    """Bring a lab up; returns when the mesh answers, with the seconds that took (0: it was up).

    A lab of this name that is up and well, from an equal file, is left alone; one that is not is
    taken down by its ledgers and started again, with its stores kept.

    Raises:
        MeshnetError: it did not come up; nothing is left of it but what was stored before.
    """
    need_root()
    began = time.monotonic()
    with networks.locked():
        return time.monotonic() - began if _up(topology, progress) else 0.0


def _up(topology: Topology, progress: Progress) -> bool:
    """Whether there was anything to do."""
    paths = Paths(topology.name)
    if paths.lab_json.exists():
        same = _lab_json(paths).get("fingerprint") == fingerprint(topology)
        if same and status.well(paths):
            return False
        progress("a lab of this name is there but not well, or from another file: cleaning up")
    _undo([*_ledgers(paths), paths.ledger])
    progress("probing the kernel")
    probe.require(probe.run())
    envoy = envoy_binary()
    if topology.store == ETCD:
        etcd.need()
    progress("compiling BPF programs, where not done before")
    ensure_compiled()
    kept = paths.state.exists()
    try:
        _make(topology, paths, envoy, progress)
    except BaseException as exc:
        hint = _log_tail(paths)
        _undo([*([] if kept else [paths.state_ledger]), *_ledgers(paths), paths.ledger])
        if isinstance(exc, MeshnetError) and hint:
            raise type(exc)(f"{exc}; {hint}") from exc
        raise
    return True


def _make(topology: Topology, paths: Paths, envoy: str, progress: Progress) -> None:
    book = _directories(paths)
    old = _secrets(paths)  # after the ledger knows where they are
    leased = networks.lease(topology, book)
    progress(f"nodes on {leased.underlay}")
    build.build(leased, book)
    book.record("mount", path=str(paths.bpf))
    mounts.bpffs(paths.bpf)
    book.record("cgroup", path=paths.cgroup)
    cgroup.create(paths.cgroup)
    paths.resolv_conf().write_text(f"nameserver {leased.control_ip}\n", encoding="ascii")
    rows = []
    memory_mib = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") >> 20
    every = daemons(leased, paths, old, envoy, memory_mib=memory_mib)
    pki.prepare(leased, paths, every)
    for daemon in every:
        path = paths.run / "config" / f"{daemon.name}.json"
        path.write_text(json.dumps(daemon.config), encoding="utf-8")
        if "ledger" in daemon.config:  # to be found by `down`, however early it comes
            Path(daemon.config["ledger"]).touch(mode=0o600)
        rows.append({"name": daemon.name, "room": daemon.room, "netns": leased.netns(daemon.node)})
    _write_lab_json(paths, leased, fingerprint(topology))
    config = supervisor.write_config(paths, rows)
    progress(f"{len(rows)} daemons")
    procs.start(
        [sys.executable, "-m", "meshnet.cli.main", "run", "supervisor", "--config", str(config)],
        log=paths.log / "supervisor.log",
        env=dict(os.environ),
        cgroups=[cgroup.create(f"{paths.cgroup}/supervisor")],
    ).close()
    _wait(paths, progress)


def _directories(paths: Paths) -> Ledger:
    paths.run.mkdir(mode=0o700, parents=True, exist_ok=True)
    book = Ledger(paths.ledger)
    book.record("dir", path=str(paths.run))
    Ledger(paths.state_ledger).record("dir", path=str(paths.state))
    paths.state.mkdir(mode=0o700, parents=True, exist_ok=True)
    for name in ("config", "log", "sock", "cells", "routers", "bpf"):
        (paths.run / name).mkdir(mode=0o700, exist_ok=True)
    return book


def _secrets(paths: Paths) -> Secrets:
    """The lab's secrets: kept beside its stores, so that they outlive a crash."""
    path = paths.state / "secrets.json"
    paths.state.mkdir(mode=0o700, parents=True, exist_ok=True)
    KeyRing.open(paths.token_keys)  # before any daemon that checks tokens starts
    if path.exists():
        value = json.loads(path.read_text(encoding="utf-8"))
        return Secrets(internal_password=value["internal_password"])
    made = Secrets(internal_password=secrets.token_hex(16))
    path.touch(mode=0o600)
    path.write_text(json.dumps(dataclasses.asdict(made)), encoding="utf-8")
    return made


def _write_lab_json(paths: Paths, topology: Topology, mark: str) -> None:
    user, password = next(iter(topology.users.items()))
    value = {
        "name": topology.name,
        "fingerprint": mark,
        "cf_api": f"https://{topology.control_ip}",
        "ca": str(paths.ca / pki.TRUSTED),
        "cf_user": user,
        "cf_password": password,
        "ingress": topology.public_ip,
        "underlay": topology.underlay,
        "vxlan_port": topology.vxlan_port,
        "domains": [dataclasses.asdict(d) for d in topology.domains],
        "nodes": [
            {
                "name": n.name,
                "role": n.role,
                "address": topology.address(n),
                "netns": topology.netns(n.name),
            }
            for n in topology.nodes
        ],
    }
    paths.lab_json.touch(mode=0o600)
    paths.lab_json.write_text(json.dumps(value, indent=2), encoding="utf-8")


def _lab_json(paths: Paths) -> dict[str, Any]:
    try:
        value: dict[str, Any] = json.loads(paths.lab_json.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return value


def _wait(paths: Paths, progress: Progress) -> None:
    seconds, said = patient(READY_SECONDS), ""
    deadline = time.monotonic() + seconds
    while True:
        missing = status.missing(paths)
        if not missing:
            return
        if time.monotonic() > deadline:
            raise PlatformError(f"the mesh was not ready within {seconds:.0f} s: {missing}")
        if missing != said:
            progress(f"waiting for {missing}")
            said = missing
        time.sleep(_POLL_SECONDS)


def _log_tail(paths: Paths) -> str:
    """The last error in a daemon's log, for the message of a failed `up`."""
    for path in sorted(paths.log.glob("*.log")):
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
        for line in reversed(lines):
            if line.startswith("meshnet: ") or "Error" in line:
                return f"{path.stem}: {line}"
    return ""


def _ledgers(paths: Paths) -> list[Path]:
    return [p for p in sorted(paths.run.glob("ledger-*.jsonl")) if p != paths.state_ledger]


def down(paths: Paths) -> list[str]:
    """Take a lab down; what could not be undone, a line each."""
    need_root()
    with networks.locked():
        return _undo([paths.state_ledger, *_ledgers(paths), paths.ledger])


def _undo(ledgers: list[Path]) -> list[str]:
    """Undo ledgers; the last one is the lab's own, which removes its run directory at the end."""
    present = [path for path in ledgers if path.exists()]
    return ledger.undo(present) if present else []
