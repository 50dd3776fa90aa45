"""What an instance uses: CPU and memory from its app's cgroup, disk from its files. Blocking."""

from __future__ import annotations

import os
import time
from pathlib import Path

from meshnet.cell.envelopes import Usage
from meshnet.cell.process import Process
from meshnet.kernel import cgroup_usage
from meshnet.model.errors import NotFound

_BLOCK = 512  # bytes of a unit of st_blocks
# Counting files costs time: at most a fiftieth of it.
_DISK_SHARE = 50


class Meter:
    """Of one instance: its cgroup, its home directory, its limits."""

    def __init__(self, group: str, home: Path, process: Process) -> None:
        self._group, self._home, self._process = group, home, process
        self._cpu: tuple[float, float] | None = None  # when, and seconds used
        self._disk, self._disk_due = 0, 0.0

    def read(self) -> Usage:
        """Usage of now; CPU is the mean since the last reading. Raises NotFound: it is gone."""
        now, used = time.monotonic(), cgroup_usage.cpu_seconds(self._group)
        before, self._cpu = self._cpu, (now, used)
        cpu = (used - before[1]) / (now - before[0]) if before and now > before[0] else 0.0
        if now >= self._disk_due:
            self._disk = disk_bytes(self._home)
            self._disk_due = now + _DISK_SHARE * (time.monotonic() - now)
        return Usage(
            cpu=max(0.0, cpu),
            memory=cgroup_usage.memory_bytes(self._group),
            disk=self._disk,
            memory_quota=self._process.memory_bytes,
            disk_quota=self._process.disk_bytes,
        )


def disk_bytes(directory: Path) -> int:
    """What the files below a directory take on disk; one with several names counts once."""
    total, seen = 0, set[tuple[int, int]]()
    pending = [str(directory)]
    try:
        total += os.stat(directory).st_blocks * _BLOCK
    except FileNotFoundError as exc:
        raise NotFound(f"no directory {directory}") from exc
    while pending:
        try:
            with os.scandir(pending.pop()) as entries:
                for entry in entries:
                    found = entry.stat(follow_symlinks=False)
                    if found.st_nlink > 1 and not entry.is_dir(follow_symlinks=False):
                        if (found.st_dev, found.st_ino) in seen:
                            continue
                        seen.add((found.st_dev, found.st_ino))
                    total += found.st_blocks * _BLOCK
                    if entry.is_dir(follow_symlinks=False):
                        pending.append(entry.path)
        except OSError:
            continue  # it went while it was looked at
    return total
