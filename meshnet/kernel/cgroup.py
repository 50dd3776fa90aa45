"""Control groups. A path such as "/meshnet/lab/cell-1" names the same group in every hierarchy.

BPF hooks and cgroup.kill live in the v2 tree. Resource limits live there too on a pure v2 machine;
on a hybrid one they are in the v1 hierarchies, where runc makes directories of the same path.
On pure v2 a group whose children have limits cannot hold processes itself: put them in leaves.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import select
import time
from pathlib import Path

from meshnet.model.errors import InputError, KernelError, NotFound, PlatformError

_WANTED = ("cpu", "memory", "pids")


@functools.cache
def v2_root() -> Path:
    """Where the v2 hierarchy is mounted.

    Raises:
        PlatformError: it is not.
    """
    found = _mounts("cgroup2")
    if not found:
        raise PlatformError("no cgroup v2 mount: mount -t cgroup2 none /sys/fs/cgroup/unified")
    return found[0]


@functools.cache
def v1_roots() -> tuple[Path, ...]:
    """The mount points of the v1 hierarchies; empty on a pure v2 machine."""
    return tuple(_mounts("cgroup"))


def directory(path: str) -> Path:
    """The v2 directory of `path` (which need not exist); the one BPF hooks are attached to.

    Raises:
        InputError: the path is not absolute, is the root, or climbs.
    """
    parts = path.split("/")
    if not path.startswith("/") or path == "/" or ".." in parts or "." in parts:
        raise InputError(f"{path!r} is no cgroup path: it must look like /meshnet/lab")
    return v2_root() / path.strip("/")


def exists(path: str) -> bool:
    """Whether the group exists in the v2 hierarchy."""
    return directory(path).is_dir()


def create(path: str) -> Path:
    """Make the group and its missing parents in the v2 hierarchy; returns its directory.

    The cpu, memory and pids controllers are enabled on the way where v2 has them, so that limits
    can be set in the group. Already there is fine.
    """
    target = directory(path)
    current = v2_root()
    try:
        for part in target.relative_to(current).parts:
            _enable_controllers(current)
            current /= part
            current.mkdir(exist_ok=True)
    except OSError as exc:
        raise KernelError(f"cannot make cgroup {path}: {exc.strerror}", exc.errno or 0) from exc
    return target


def pids(path: str, *, recursive: bool = True) -> list[int]:
    """The processes in the group (and below), as this process's PID namespace numbers them."""
    found: list[int] = []
    for current in _tree(directory(path)) if recursive else [directory(path)]:
        # A group may vanish between the listing and the read.
        with contextlib.suppress(FileNotFoundError, OSError):
            found += [int(line) for line in (current / "cgroup.procs").read_text().split()]
    return found


def kill(path: str) -> None:
    """SIGKILL every process in the group and below, in one step that no fork escapes.

    Raises:
        NotFound: there is no such group.
    """
    try:
        (directory(path) / "cgroup.kill").write_text("1")
    except FileNotFoundError as exc:
        raise NotFound(f"no cgroup {path}") from exc
    except OSError as exc:
        raise KernelError(f"cannot kill cgroup {path}: {exc.strerror}", exc.errno or 0) from exc


def populated(path: str) -> bool:
    """Whether a live process is in the group or below; a missing group has none."""
    try:
        return "populated 1" in (directory(path) / "cgroup.events").read_text()
    except (FileNotFoundError, OSError):
        return False


def wait_empty(path: str, timeout: float) -> bool:
    """Wait up to `timeout` seconds until no live process is in the group; whether that came."""
    deadline = time.monotonic() + timeout
    try:
        events = open(directory(path) / "cgroup.events")  # noqa: SIM115
    except FileNotFoundError:
        return True
    with events:
        poller = select.poll()
        poller.register(events, select.POLLPRI)
        while True:
            # The read must come before each poll: it re-arms the notification (kernfs).
            events.seek(0)
            try:
                if "populated 0" in events.read():
                    return True
            except OSError:
                return True
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            # 50 ms at most: a removed group never signals.
            poller.poll(min(left, 0.05) * 1000)


def remove(path: str, timeout: float = 2.0) -> None:
    """Remove the group and everything below it, in the v2 and in every v1 hierarchy.

    It must have been emptied or killed; waits up to `timeout` seconds for the dying.

    Raises:
        NotFound: no hierarchy has it.
        KernelError: EBUSY, something still lives in it.
    """
    target = directory(path)
    wait_empty(path, timeout)
    relative = target.relative_to(v2_root())
    deadline = time.monotonic() + timeout
    removed = [_remove_tree(root / relative, deadline) for root in (v2_root(), *v1_roots())]
    if not any(removed):
        raise NotFound(f"no cgroup {path}")


def _remove_tree(top: Path, deadline: float) -> bool:
    if not top.is_dir():
        return False
    for current in reversed(_tree(top)):
        while True:
            try:
                current.rmdir()
                break
            except FileNotFoundError:
                break
            except OSError as exc:
                # A v1 hierarchy lets go of a dying process a moment after v2 said it is gone.
                if exc.errno != errno.EBUSY or time.monotonic() > deadline:
                    raise KernelError(
                        f"cannot remove cgroup {current}: {exc.strerror}", exc.errno or 0
                    ) from exc
                select.select([], [], [], 0.005)
    return True


def _tree(top: Path) -> list[Path]:
    """`top` and the groups below it, parents first."""
    return [Path(where) for where, _, _ in os.walk(top)]


def _enable_controllers(group: Path) -> None:
    have = (group / "cgroup.controllers").read_text().split()
    on = (group / "cgroup.subtree_control").read_text().split()
    for name in _WANTED:
        if name in have and name not in on:
            # EBUSY: the group holds processes. Its children then live without this limit, and runc
            # says so when a container asks for it.
            with contextlib.suppress(OSError):
                (group / "cgroup.subtree_control").write_text(f"+{name}")


def _mounts(fstype: str) -> list[Path]:
    lines = [line.split(" ") for line in Path("/proc/self/mounts").read_text().splitlines()]
    return list(dict.fromkeys(Path(f[1]) for f in lines if f[2] == fstype))
