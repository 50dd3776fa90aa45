"""The ledger: what was made on this machine, written down before it is made.

One JSON line an entry, appended. `undo` removes exactly what ledgers name, last-first, and forgives
only that a thing is gone already. An entry whose thing was never made costs nothing.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from meshnet.kernel import cgroup, links, mounts, netns, procs
from meshnet.model.errors import InputError, KernelError, MeshnetError, NotFound

# Each kind and the names that every entry of it must have.
KINDS = {
    "netns": ("name",),
    "link": ("name", "ifindex"),
    "cgroup": ("path",),
    "mount": ("path",),
    "dir": ("path",),
    "file": ("path",),
    "sysctl": ("key", "previous"),
    "process": ("pid", "start_time"),
}


@dataclass(frozen=True)
class Entry:
    """One thing that may exist: its kind, what names it, and when it was written down (ns)."""

    kind: str
    ident: dict[str, Any]
    at: int


class Ledger:
    """The ledger of one owner, a file that outlives it. Safe for threads and several processes.

    Kinds and what names them:
        netns    name=
        link     name=, ifindex=   (in the root namespace; ifindex chosen by links.unused_ifindex)
        cgroup   path=             ("/meshnet/lab"; everything in it is killed first)
        mount    path=
        dir      path=             (with all its contents; what is mounted below stays whole)
        file     path=
        sysctl   key=, previous=   (root namespace; restored)
        process  pid=, start_time= (killed)
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def record(self, kind: str, **ident: Any) -> None:
        """Write an entry down; call it BEFORE making the thing.

        Raises:
            InputError: no such kind, or the ident lacks what names it.
        """
        missing = [name for name in KINDS.get(kind, ()) if name not in ident]
        if kind not in KINDS or missing:
            raise InputError(
                f"a ledger entry {kind!r} needs {', '.join(missing) or 'a known kind'}"
            )
        self._append({"at": time.time_ns(), "kind": kind, "ident": ident})

    def forget(self, kind: str, **ident: Any) -> None:
        """Strike an entry out; call it AFTER the thing is gone. An unknown one is fine."""
        self._append({"forget": _key(kind, ident)})

    def entries(self) -> list[Entry]:
        """What is recorded and not forgotten, oldest first. A torn last line is skipped."""
        try:
            lines = self.path.read_bytes().splitlines()
        except FileNotFoundError:
            return []
        found: dict[str, Entry] = {}
        for line in lines:
            try:
                value = json.loads(line)
            except ValueError:
                continue  # torn by a crash in mid-write: what it announced was not made yet
            if "forget" in value:
                found.pop(value["forget"], None)
            else:
                entry = Entry(value["kind"], value["ident"], value["at"])
                found.setdefault(_key(entry.kind, entry.ident), entry)
        return sorted(found.values(), key=lambda e: e.at)

    def _append(self, value: dict[str, Any]) -> None:
        # One write of one line with O_APPEND is not interleaved with another process's. The first
        # newline ends a line that a crash tore. No fsync: what is recorded dies with the power too.
        data = b"\n" + json.dumps(value, default=str).encode() + b"\n"
        fd = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.write(fd, data)
        finally:
            os.close(fd)


def undo(paths: Sequence[Path], patience: float = 3.0) -> list[str]:
    """Remove everything the ledgers name: first kill, then the rest last-first over all of them.

    They are read again after the killing: who was killed may have written to the last.

    What could not be removed stays in its ledger and is told in the result, one line each; a ledger
    with nothing left is deleted. `patience`: seconds for what was killed to be gone.
    """
    ledgers = [Ledger(path) for path in paths]
    _kill_all([entry for ledger in ledgers for entry in ledger.entries()], patience)
    work = [(entry, ledger) for ledger in ledgers for entry in ledger.entries()]
    work.sort(key=lambda pair: pair[0].at, reverse=True)
    errors = []
    for entry, ledger in work:
        try:
            with contextlib.suppress(NotFound, FileNotFoundError):
                _UNDO[entry.kind](entry.ident)
        except (MeshnetError, OSError) as exc:
            errors.append(f"{entry.kind} {_key('', entry.ident)}: {exc}")
        else:
            # Its own directory may be among what was undone, and the ledger with it.
            if ledger.path.exists():
                ledger.forget(entry.kind, **entry.ident)
    for ledger in ledgers:
        if not ledger.entries():
            ledger.path.unlink(missing_ok=True)
    return errors


def _kill_all(entries: Sequence[Entry], patience: float) -> None:
    groups = [e.ident["path"] for e in entries if e.kind == "cgroup"]
    people = [e.ident for e in entries if e.kind == "process"]
    for path in groups:
        with contextlib.suppress(NotFound):
            cgroup.kill(path)
    for ident in people:
        procs.kill(procs.Identity(ident["pid"], ident["start_time"]))
    deadline = time.monotonic() + patience
    for path in groups:
        cgroup.wait_empty(path, max(0.0, deadline - time.monotonic()))
    for ident in people:
        with contextlib.suppress(NotFound), procs.adopt(procs.Identity(**ident)) as process:
            process.wait(max(0.0, deadline - time.monotonic()))


def _undo_link(ident: dict[str, Any]) -> None:
    links.apply(None, [links.Delete(ident["name"], ident["ifindex"])])


def _undo_dir(ident: dict[str, Any]) -> None:
    path = Path(ident["path"])
    if inside := mounts.below(path):
        raise KernelError(f"{inside[0]} is still mounted there", errno.EBUSY)
    shutil.rmtree(path)


def _undo_sysctl(ident: dict[str, Any]) -> None:
    netns.set_sysctl(ident["key"], ident["previous"])


_UNDO: dict[str, Callable[[dict[str, Any]], object]] = {
    "netns": lambda ident: netns.delete(ident["name"]),
    "link": _undo_link,
    "cgroup": lambda ident: cgroup.remove(ident["path"]),
    "mount": lambda ident: mounts.unmount(Path(ident["path"])),
    "dir": _undo_dir,
    "file": lambda ident: Path(ident["path"]).unlink(),
    "sysctl": _undo_sysctl,
    "process": lambda ident: None,  # killed with all the others, first
}


def _key(kind: str, ident: dict[str, Any]) -> str:
    return f"{kind} {json.dumps(ident, sort_keys=True, default=str)}".strip()
