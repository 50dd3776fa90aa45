"""Mounts: bind, file systems, unmount, and what is mounted below a directory."""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping
from pathlib import Path

from meshnet.kernel import syscalls
from meshnet.model.errors import KernelError, NotFound


def bind(source: Path, target: Path, *, read_only: bool = False) -> None:
    """Show `source` (a file or a directory) at `target`, which must exist."""
    syscalls.mount(str(source), str(target), "none", syscalls.MS_BIND)
    if read_only:
        flags = syscalls.MS_BIND | syscalls.MS_REMOUNT | syscalls.MS_RDONLY
        syscalls.mount("none", str(target), "none", flags)


def show_only_here(shown: Mapping[Path, Path]) -> None:
    """Show directories at others, `shown` says where, to this process and its children alone.

    The process has a mount namespace of its own from then on, which ends with it.
    """
    syscalls.unshare(syscalls.CLONE_NEWNS)
    syscalls.mount("none", "/", "none", syscalls.MS_REC | syscalls.MS_SLAVE)
    for source, target in shown.items():
        bind(source, target)


def bpffs(target: Path) -> None:
    """Mount a BPF file system of its own on `target` (made if missing), readable by root only."""
    target.mkdir(parents=True, exist_ok=True)
    flags = syscalls.MS_NOSUID | syscalls.MS_NODEV | syscalls.MS_NOEXEC
    syscalls.mount("bpf", str(target), "bpf", flags, "mode=0700")


def tmpfs(target: Path, *, size_bytes: int, mode: int = 0o755) -> None:
    """Mount an empty tmpfs of bounded size on `target` (made if missing)."""
    target.mkdir(parents=True, exist_ok=True)
    flags = syscalls.MS_NOSUID | syscalls.MS_NODEV
    syscalls.mount("tmpfs", str(target), "tmpfs", flags, f"size={size_bytes},mode={mode:o}")


def unmount(target: Path) -> None:
    """Detach what is mounted on `target`; what still uses it keeps it until it ends.

    Raises:
        NotFound: nothing is mounted there.
    """
    try:
        syscalls.umount(str(target), syscalls.MNT_DETACH)
    except KernelError as exc:
        if exc.errno in (errno.EINVAL, errno.ENOENT):
            raise NotFound(f"nothing is mounted on {target}") from exc
        raise


def mounted(target: Path) -> bool:
    """Whether something is mounted exactly on `target`."""
    return os.path.realpath(target) in (str(p) for p in _targets())


def below(directory: Path) -> list[Path]:
    """Mount points at or below `directory`, deepest first (the order to unmount them in)."""
    root = Path(os.path.realpath(directory))
    found = [p for p in _targets() if p == root or root in p.parents]
    return sorted(found, key=lambda p: len(p.parts), reverse=True)


def _targets() -> list[Path]:
    lines = Path("/proc/self/mounts").read_text().splitlines()
    return [Path(_unescape(line.split(" ")[1])) for line in lines]


def _unescape(field: str) -> str:
    # The kernel writes blanks and backslashes in paths as three octal digits (getmntent(3)).
    for code, char in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        field = field.replace(code, char)
    return field
