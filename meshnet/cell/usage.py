"""What an instance uses: CPU and memory from its app's cgroup, disk from its files. Blocking."""

from __future__ import annotations

import contextlib
import errno
import os
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from meshnet.cell.envelopes import Usage
from meshnet.cell.process import Process
from meshnet.kernel import cgroup, cgroup_usage
from meshnet.model.errors import NotFound

_BLOCK = 512  # bytes of a unit of st_blocks
# Counting files costs time: at most a fiftieth of it, but where the disk runs low.
_DISK_SHARE = 50
_LEAST_FREE = 0.1
_ENDLESS = 1 << 50  # what a path that cannot be named counts: nobody needs one but to hide files


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
        if now >= self._disk_due or _runs_low(self._home):
            self._disk = disk_bytes(self._home, cgroup.pids(self._group))
            self._disk_due = now + _DISK_SHARE * (time.monotonic() - now)
        return Usage(
            cpu=max(0.0, cpu),
            memory=cgroup_usage.memory_bytes(self._group),
            disk=self._disk,
            memory_quota=self._process.memory_bytes,
            disk_quota=self._process.disk_bytes,
        )


def _runs_low(directory: Path) -> bool:
    try:
        found = os.statvfs(directory)
    except FileNotFoundError as exc:
        raise NotFound(f"no directory {directory}") from exc
    return found.f_bavail < _LEAST_FREE * found.f_blocks


def disk_bytes(directory: Path, pids: Iterable[int] = ()) -> int:
    """What the files below a directory take on disk; one with several names counts once.

    Args:
        pids: processes whose files without a name count too, those of the same disk.
    """
    total, seen = 0, set[tuple[int, int]]()
    pending = [os.path.realpath(directory)]
    try:
        top = os.stat(directory)
    except FileNotFoundError as exc:
        raise NotFound(f"no directory {directory}") from exc
    total += top.st_blocks * _BLOCK
    for found in _nameless(pids, top.st_dev):
        if (found.st_dev, found.st_ino) not in seen:
            seen.add((found.st_dev, found.st_ino))
            total += found.st_blocks * _BLOCK
    while pending:
        try:
            path = pending.pop()
            with _opened(path) as fd, os.scandir(fd) as entries:
                for entry in entries:
                    try:
                        found = entry.stat(follow_symlinks=False)
                    except FileNotFoundError:
                        continue  # it went meanwhile; what is beside it counts all the same
                    if found.st_nlink > 1 and not entry.is_dir(follow_symlinks=False):
                        if (found.st_dev, found.st_ino) in seen:
                            continue
                        seen.add((found.st_dev, found.st_ino))
                    total += found.st_blocks * _BLOCK
                    if entry.is_dir(follow_symlinks=False):
                        pending.append(os.path.join(path, entry.name))
        except OSError as exc:
            if exc.errno == errno.ENAMETOOLONG:
                return total + _ENDLESS
            continue  # it went while it was looked at
    return total


@contextlib.contextmanager
def _opened(path: str) -> Iterator[int]:
    """A directory that is where its path says. Raises OSError.

    The app may have put a link in the place of any part of it, to have us walk the whole machine.
    """
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        if os.readlink(f"/proc/self/fd/{fd}") != path:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
        yield fd
    finally:
        os.close(fd)


def _nameless(pids: Iterable[int], device: int) -> Iterator[os.stat_result]:
    """Files that were removed while these processes had them open or mapped."""
    for pid in pids:
        for kind in ("fd", "map_files"):
            with contextlib.suppress(OSError), os.scandir(f"/proc/{pid}/{kind}") as entries:
                for entry in entries:
                    with contextlib.suppress(OSError):
                        found = os.stat(entry.path)
                        if found.st_nlink == 0 and found.st_dev == device:
                            yield found
