"""/run/netns as a mount of its own, so that the names in it can be removed again.

iproute2 binds /run/netns onto itself at its first `ip netns add`. Namespaces mounted there before
are then hidden twice, below and above, and unlinking their names fails with EBUSY for ever. So it
is made a shared mount before the first name: iproute2 then takes it as it is. Ours is a tmpfs whose
source tells whose it is; it goes with the last name in it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from meshnet.kernel import syscalls
from meshnet.model.errors import KernelError

DIRECTORY = Path("/run/netns")
_SOURCE = "meshnet"


@contextlib.contextmanager
def locked() -> Iterator[None]:
    """Keep other meshnet processes from making or removing the mount meanwhile."""
    fd = os.open(DIRECTORY.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def ensure() -> None:
    """Make the directory, and make it a mount unless it is one. Call it `locked`."""
    DIRECTORY.mkdir(mode=0o755, exist_ok=True)
    # Names that somebody else put into the plain directory would disappear under a mount.
    if os.path.ismount(DIRECTORY) or os.listdir(DIRECTORY):
        return
    syscalls.mount(_SOURCE, str(DIRECTORY), "tmpfs", 0, "mode=755,size=1m")
    # Shared: what is unmounted here goes from the copies in other mount namespaces too.
    syscalls.mount("none", str(DIRECTORY), "none", syscalls.MS_SHARED)


def drop_if_unused() -> None:
    """Unmount the directory if the mount is ours and no name is left. Call it `locked`."""
    if _is_ours() and not os.listdir(DIRECTORY):
        # Not lazily: EBUSY, should a name or a user have come meanwhile, is the right answer.
        with contextlib.suppress(KernelError):
            syscalls.umount(str(DIRECTORY))


def _is_ours() -> bool:
    start = f"{_SOURCE} {DIRECTORY} tmpfs "
    return any(
        line.startswith(start) for line in Path("/proc/self/mounts").read_text().splitlines()
    )
