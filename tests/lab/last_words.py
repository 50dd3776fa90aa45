"""What a lab's proxies and the machine were doing when a test gave up."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from netns_lab import status
from netns_lab.paths import Paths

_SECONDS = 5.0  # longer than anybody waits who asks a proxy in earnest


def of_proxies(paths: Paths) -> Iterator[str]:
    """A line a sidecar (how its admin answers, and in what time), one a thread of those that do
    not, and the machine's load and pressure.
    """
    for row in status.instances(paths):
        home = paths.run / "cells" / row["cell"] / "instances" / row["guid"]
        name = f"{row['cell']} {row['guid'][:8]}/{row['index']} sidecar {row['sidecar_pid']}"
        said = _asked(home / "envoy" / "admin.sock")
        yield f"{name}: {said}"
        if " 200 " not in said:
            yield from (f"{name} {line}" for line in _threads(row))
    for path in ("/proc/loadavg", "/proc/pressure/cpu", "/proc/pressure/memory", "/proc/meminfo"):
        yield f"{path}: {' | '.join(_read(Path(path)).splitlines()[:5])}"


def _asked(path: Path) -> str:
    """How far a GET /ready comes."""
    step, began = "connect", time.monotonic()
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(_SECONDS)
        try:
            s.connect(str(path))
            step = "answer"
            s.sendall(b"GET /ready HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            said = s.recv(100).partition(b"\r\n")[0].decode("latin-1")
        except OSError as exc:
            said = f"no {step}: {type(exc).__name__} {exc}"
    return f"{said} ({time.monotonic() - began:.2f} s)"


def _threads(row: dict[str, Any]) -> Iterator[str]:
    """Name, state, where it sleeps in the kernel, and its CPU time."""
    for task in sorted(Path(f"/proc/{row['sidecar_pid'] or 'none'}/task").glob("*")):
        name, _, rest = _read(task / "stat").partition("(")[2].rpartition(")")
        fields = rest.split()
        if fields:
            where = [_read(task / file).split("\n")[0] for file in ("wchan", "syscall", "stack")]
            yield f"thread {name}: {fields[0]}, cpu {fields[11]}+{fields[12]}, {' | '.join(where)}"


def _read(path: Path) -> str:
    try:
        return path.read_text("utf-8", "replace")
    except OSError as exc:
        return f"({exc.strerror})"
