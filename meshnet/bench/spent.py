"""What a change cost: CPU by component, bytes by arrow, and the Envoys' memory."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from netns_lab import status
from netns_lab.paths import Paths

# Component to the rooms that it counts: CPU of the control plane, and the proxies apart.
COMPONENTS = ("capi", "bbs", "copilot", "pilot", "policy", "ingress Envoys", "sidecar Envoys")
CONTROL_PLANE = COMPONENTS[:5]
_ROOMS = {
    "capi": "capi", "bbs": "bbs", "copilot": "copilot", "pilot": "pilot", "policy": "policy",
    "ingress": "ingress Envoys",
}  # fmt: skip
_CPUCLOCK_SCHED = 2  # clock_getcpuclockid(3): of another process, by the scheduler
ARROWS = ("copilot to pilot", "pilot to Envoys")


@dataclass(frozen=True)
class Spent:
    """Until a moment, or between two: CPU milliseconds by component, bytes by arrow."""

    cpu_ms: dict[str, float]
    bytes: dict[str, float]

    def since(self, before: Spent) -> Spent:
        """What was spent between."""
        return Spent(_less(self.cpu_ms, before.cpu_ms), _less(self.bytes, before.bytes))

    def less_idle(self, idle: Spent, share: float) -> Spent:
        """Without what would have been spent anyhow; `share`: of the time that `idle` is of."""
        cpu = {k: v - idle.cpu_ms.get(k, 0.0) * share for k, v in self.cpu_ms.items()}
        return Spent(cpu, self.bytes)


def typical(windows: Sequence[Spent]) -> Spent:
    """The median window, each component for itself: what comes in bursts is in few windows."""
    names = windows[0].cpu_ms
    return Spent({name: median(one.cpu_ms[name] for one in windows) for name in names}, {})


def _less(after: Mapping[str, float], before: Mapping[str, float]) -> dict[str, float]:
    return {key: value - before.get(key, 0.0) for key, value in after.items()}


class Meter:
    """Reads what a lab's components have spent; finds their processes once."""

    def __init__(self, paths: Paths) -> None:
        self._paths = paths
        self._pids: dict[str, list[int]] = {name: [] for name in COMPONENTS}
        self.pilots: list[Path] = []
        supervisor = status.ask(paths.supervisor_socket) or {"daemons": []}
        for row in supervisor["daemons"]:
            node, _, room = row["name"].partition(".")
            if component := _ROOMS.get(room):
                self._pids[component].append(int(row["pid"]))
            if room == "pilot":
                self.pilots.append(paths.socket(node, "pilot"))
        for row in status.instances(paths):
            self._pids["sidecar Envoys"] += _with_children(int(row["sidecar_pid"]))

    def read(self) -> Spent:
        """As of now."""
        cpu = {name: sum(map(_cpu_ms, pids)) for name, pids in self._pids.items()}
        counted = dict.fromkeys(ARROWS, 0.0)
        for socket in self.pilots:
            found: dict[str, Any] = status.ask(socket) or {}
            counted[ARROWS[0]] += found.get("received_bytes", 0)
            counted[ARROWS[1]] += sum(found.get("pushed_bytes", {}).values())
        return Spent(cpu, counted)

    def memory_mib(self) -> dict[str, float]:
        """Private memory of one Envoy of each kind, the mean."""
        found = {}
        for name in ("ingress Envoys", "sidecar Envoys"):
            sizes = [size for pid in self._pids[name] if (size := _private_mib(pid)) > 1]
            found[name] = sum(sizes) / max(1, len(sizes))
        return found


def _with_children(pid: int) -> list[int]:
    try:
        text = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii")
    except OSError:
        return [pid]
    return [pid, *map(int, text.split())]


def _cpu_ms(pid: int) -> float:
    """CPU time of a process with all threads that it has and had, by its own clock: what proc(5)
    says is ticks of 10 ms, or forgets threads that ended.
    """
    try:
        return 1000 * time.clock_gettime((~pid << 3) | _CPUCLOCK_SCHED)
    except OSError:
        return 0.0


def _private_mib(pid: int) -> float:
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii")
    except OSError:
        return 0.0
    rows = (line.split() for line in text.splitlines() if line.startswith("Private_"))
    return sum(int(row[1]) for row in rows) / 1024
