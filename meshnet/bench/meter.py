"""What was spent: CPU time by cgroup and of the machine, memory of a process."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from meshnet.model.errors import PlatformError


class Jiffies(NamedTuple):
    """CPU time of the whole machine since boot, proc(5): spent, stolen by the host, all there was.

    Spent includes what interrupts took, which Linux charges to whoever was interrupted.
    """

    busy: int
    stolen: int
    total: int


@dataclass(frozen=True)
class Meter:
    """What CPU time was spent until a moment: microseconds by cgroup, jiffies of the machine."""

    us: dict[str, float]
    machine: Jiffies

    def since(self, before: Meter) -> Meter:
        """What was spent between."""
        us = {who: self.us[who] - before.us[who] for who in self.us}
        between = (a - b for a, b in zip(self.machine, before.machine, strict=True))
        return Meter(us, Jiffies(*between))

    @property
    def steal(self) -> float:
        """The share of the machine's time that its host took away."""
        return self.machine.stolen / max(1, self.machine.total)

    @property
    def other(self) -> float:
        """The share of the machine's time that none of the cgroups took."""
        ours = sum(self.us.values()) / 1e6 * os.sysconf("SC_CLK_TCK")
        return max(0.0, self.machine.busy - ours) / max(1, self.machine.total)


def meter(groups: Mapping[str, Path]) -> Meter:
    """As of now, of cgroup v2 directories. Raises PlatformError: one is gone."""
    return Meter({who: _cpu_us(group) for who, group in groups.items()}, jiffies())


def jiffies() -> Jiffies:
    """As of now."""
    fields = Path("/proc/stat").read_text(encoding="ascii").split("\n", 1)[0].split()[1:]
    user, nice, system, idle, waiting, irq, soft, stolen = map(int, fields[:8])
    busy = user + nice + system + irq + soft
    return Jiffies(busy, stolen, busy + idle + waiting + stolen)


def busy_share(seconds: float) -> float:
    """How much of the machine's CPU time is in use (0..1), watched for so long."""
    before = Meter({}, jiffies())
    time.sleep(seconds)  # what is measured is this very time
    return Meter({}, jiffies()).since(before).other


def _cpu_us(group: Path) -> float:
    try:
        lines = (group / "cpu.stat").read_text(encoding="ascii").splitlines()
    except OSError as exc:
        raise PlatformError(f"an instance ended meanwhile: {group} is gone") from exc
    return next(float(line.split()[1]) for line in lines if line.startswith("usage_usec "))


def private_kib(pid: int) -> int:
    """Private memory of a container's program, KiB (smaps_rollup); 0 for one that is gone.

    The container's first process may be an init: the program is the one with the most memory.
    """
    try:
        text = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii")
    except OSError:
        return 0
    return max(map(_private_kib, [pid, *map(int, text.split())]))


def _private_kib(pid: int) -> int:
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii")
    except OSError:
        return 0
    rows = (line.split() for line in text.splitlines() if line.startswith("Private_"))
    return sum(int(row[1]) for row in rows)
