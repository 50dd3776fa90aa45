"""The system calls Python 3.11 has no name for: setns, unshare, mount, umount2.

Each raises KernelError with the errno and a text that says what was tried on what.
"""

from __future__ import annotations

import ctypes
import functools
import os

from meshnet.model.errors import KernelError

CLONE_NEWNS = 0x00020000
CLONE_NEWNET = 0x40000000
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC = 0x1, 0x2, 0x4, 0x8
MS_REMOUNT, MS_BIND, MS_REC = 0x20, 0x1000, 0x4000
MS_PRIVATE, MS_SLAVE, MS_SHARED = 0x40000, 0x80000, 0x100000
MNT_DETACH = 0x2


@functools.cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _check(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise KernelError(f"cannot {what}: {os.strerror(number)}", number)


def setns(fd: int, flags: int = 0) -> None:
    """Move the calling thread into the namespace behind `fd`."""
    _check(_libc().setns(fd, flags), "enter the namespace")


def unshare(flags: int) -> None:
    """Give the calling thread fresh namespaces of the kinds in `flags`."""
    _check(_libc().unshare(flags), "make a new namespace")


def mount(source: str, target: str, fstype: str, flags: int = 0, data: str = "") -> None:
    """mount(2)."""
    result = _libc().mount(
        source.encode(), target.encode(), fstype.encode(), ctypes.c_ulong(flags), data.encode()
    )
    _check(result, f"mount {source or fstype} on {target}")


def umount(target: str, flags: int = 0) -> None:
    """umount2(2)."""
    _check(_libc().umount2(target.encode(), flags), f"unmount {target}")
