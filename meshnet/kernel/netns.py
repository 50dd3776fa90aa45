"""Network namespaces by name, kept as iproute2 keeps them: files in /run/netns, bind-mounted.

Work inside a namespace runs in a thread made for that one call. A namespace belongs to a thread,
not to the process, so no other thread sees the change, and the thread's end is the way back: there
is no setns that could be forgotten. (A forked child costs 9-15 ms per call, this costs 0.2 ms.)
Programs that shall live in a namespace are started by meshnet.kernel.launch instead.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import socket
import struct
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

from meshnet.kernel import netns_dir, syscalls
from meshnet.model.errors import Conflict, InputError, KernelError, NotFound

NETNS_DIR = netns_dir.DIRECTORY
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}")
_SIOCGIFFLAGS, _SIOCSIFFLAGS, _IFF_UP = 0x8913, 0x8914, 0x1
_SO_NETNS_COOKIE = 71

T = TypeVar("T")


def path(name: str) -> Path:
    """The file that stands for namespace `name` (which need not exist).

    Raises:
        InputError: the name could not be a file name in /run/netns.
    """
    if not _NAME.fullmatch(name):
        raise InputError(f"{name!r} is no name for a network namespace")
    return NETNS_DIR / name


def file(where: str | Path) -> Path:
    """The namespace file meant by a name in /run/netns or, as it is, by a path."""
    return where if isinstance(where, Path) else path(where)


def exists(name: str) -> bool:
    """Whether a live namespace is mounted under this name (a stale empty file is none)."""
    return os.path.ismount(path(name))


def names() -> list[str]:
    """All live namespaces in /run/netns, whoever made them, sorted."""
    try:
        entries = sorted(os.listdir(NETNS_DIR))
    except FileNotFoundError:
        return []
    return [name for name in entries if os.path.ismount(NETNS_DIR / name)]


def create(name: str) -> Path:
    """Make a network namespace with its loopback up; returns its file.

    Raises:
        Conflict: the name is taken.
        KernelError: the kernel refused; nothing is left behind.
    """
    target = path(name)
    with netns_dir.locked():
        netns_dir.ensure()
        _create(name, target)
    return target


def _create(name: str, target: Path) -> None:
    try:
        os.close(os.open(target, os.O_RDONLY | os.O_CREAT | os.O_EXCL, 0o444))
    except FileExistsError as exc:
        raise Conflict(f"network namespace {name} exists already") from exc

    def make() -> None:
        syscalls.unshare(syscalls.CLONE_NEWNET)
        _loopback_up()
        syscalls.mount("/proc/thread-self/ns/net", str(target), "none", syscalls.MS_BIND)

    try:
        _in_thread(make)
    except BaseException:
        _delete(name, target)
        raise


def delete(name: str) -> None:
    """Remove a namespace's name; the kernel frees it with its links once nothing runs in it.

    Raises:
        NotFound: there is no such name.
    """
    target = path(name)
    with netns_dir.locked():
        _delete(name, target)
        netns_dir.drop_if_unused()


def _delete(name: str, target: Path) -> None:
    try:
        syscalls.umount(str(target), syscalls.MNT_DETACH)
    except KernelError as exc:
        if exc.errno not in (errno.EINVAL, errno.ENOENT):
            raise
    try:
        target.unlink()
    except FileNotFoundError as exc:
        raise NotFound(f"no network namespace {name}") from exc


def run(name: str | Path | None, work: Callable[[], T]) -> T:
    """Run `work` inside namespace `name` (None: the caller's own) in a thread of its own.

    `work` may open sockets and hand them out: they stay in the namespace.

    Args:
        name: a name in /run/netns, or a path such as /proc/PID/ns/net.

    Raises:
        NotFound: there is no such namespace.
        Whatever `work` raises.
    """
    if name is None:
        return _in_thread(work)
    where = file(name)
    try:
        fd = os.open(where, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError as exc:
        raise NotFound(f"no network namespace {name}") from exc

    def enter() -> T:
        try:
            syscalls.setns(fd, syscalls.CLONE_NEWNET)
        except KernelError as exc:
            raise NotFound(f"{where} is not a network namespace") from exc
        return work()

    try:
        return _in_thread(enter)
    finally:
        os.close(fd)


def sysctl(name: str | Path | None, values: Mapping[str, str | int]) -> dict[str, str]:
    """Set kernel parameters inside a namespace; returns the previous values.

    Args:
        values: keys as "net.ipv4.ip_forward", or with slashes where an interface's name has dots.

    Raises:
        KernelError: a parameter does not exist or the value was refused.
    """
    return run(name, lambda: {key: set_sysctl(key, value) for key, value in values.items()})


def set_sysctl(key: str, value: str | int) -> str:
    """Set one parameter in the calling thread's namespaces; returns its previous value."""
    file = sysctl_path(key)
    try:
        with open(file, "r+") as handle:
            before = handle.read().strip()
            if before != str(value):
                handle.seek(0)
                handle.write(f"{value}\n")
    except OSError as exc:
        raise KernelError(f"cannot set {key} to {value}: {exc.strerror}", exc.errno or 0) from exc
    return before


def sysctl_path(key: str) -> str:
    """The file below /proc/sys of a parameter named with dots or with slashes."""
    return "/proc/sys/" + (key if "/" in key else key.replace(".", "/"))


def cookie(name: str | Path | None) -> int:
    """The number by which BPF programs know the namespace (bpf_get_netns_cookie)."""

    def ask() -> int:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            return int(struct.unpack("Q", s.getsockopt(socket.SOL_SOCKET, _SO_NETNS_COOKIE, 8))[0])

    return run(name, ask)


def _loopback_up() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        answer = fcntl.ioctl(s, _SIOCGIFFLAGS, struct.pack("16sH14x", b"lo", 0))
        flags = struct.unpack_from("H", answer, 16)[0]
        fcntl.ioctl(s, _SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", flags | _IFF_UP))


def _in_thread(work: Callable[[], T]) -> T:
    results: list[T] = []
    errors: list[BaseException] = []

    def body() -> None:
        try:
            results.append(work())
        except BaseException as exc:
            errors.append(exc)

    thread = threading.Thread(target=body, name="netns")
    thread.start()
    try:
        thread.join()
    except BaseException:  # a signal: what the thread makes is undone only when it is made
        thread.join()
        raise
    if errors:
        raise errors[0]
    return results[0]
