"""Who holds a lock: a process, told from every other one on every machine."""

from __future__ import annotations

import json
import os
from pathlib import Path


def me() -> str:
    """This process."""
    return json.dumps({**_here(), "pid": os.getpid(), "started": _started(os.getpid())})


def is_dead(holder: bytes | str) -> bool:
    """Whether the holder is certainly dead: of this boot and pid namespace, and not there.

    A holder elsewhere cannot be judged; its lease has to end.
    """
    try:
        row = json.loads(holder)
        pid, started = int(row["pid"]), row["started"]
        here = {name: row[name] for name in _here()}
    except (ValueError, TypeError, KeyError):
        return False
    return here == _here() and _started(pid) != started


def _here() -> dict[str, str]:
    boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    return {"boot": boot, "pids": os.readlink("/proc/self/ns/pid")}


def _started(pid: int) -> str:
    """When a process began, in ticks since boot; empty where there is none or it is a zombie."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="latin-1").rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] in "ZX" else fields[19]
