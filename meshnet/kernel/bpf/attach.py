"""Attach programs by links pinned in a directory of the bpffs, one pin per hook.

The pin keeps a link alive without its maker; removing the pin detaches. A link whose cgroup or
interface is gone stays pinned but dead, so what counts is what the kernel says of it.
"""

from __future__ import annotations

import functools
import os
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path

from meshnet.kernel import probe_bpf
from meshnet.kernel.bpf import filters, syscall
from meshnet.kernel.bpf.source import HOOKS, Hook
from meshnet.model.errors import KernelError

NO_TCX = "MESHNET_NO_TCX"
_HOOKS = {hook.name: hook for hook in HOOKS}
_CGROUP_LINK, _TCX_LINK = 3, 11  # enum bpf_link_type
_LINK_INFO = struct.Struct("<IIIIQII")  # type, id, prog_id, pad, then the kind's own union
_PROG_INFO = struct.Struct("<II")  # type, id


def attach_cgroup(
    hooks: Sequence[Hook], programs: Mapping[str, int], cgroup: Path, link_dir: Path
) -> None:
    """Attach to a cgroup2 directory. Sockets keep the cgroup they were made in: attach first."""
    try:
        fd = os.open(cgroup, os.O_RDONLY | os.O_DIRECTORY)
        inode = os.fstat(fd).st_ino
    except OSError as exc:
        raise KernelError(
            f"cannot open the cgroup {cgroup}: {exc.strerror}", exc.errno or 0
        ) from exc
    try:
        for hook in hooks:
            _attach(hook, programs[hook.name], fd, inode, link_dir)
    finally:
        os.close(fd)


def attach_interface(
    hooks: Sequence[Hook], programs: Mapping[str, int], ifindex: int, link_dir: Path
) -> None:
    """Attach to an interface of the caller's network namespace: by tcx link, else by filter."""
    for hook in hooks:
        if tcx_works():
            _attach(hook, programs[hook.name], ifindex, ifindex, link_dir)
        else:
            filters.attach(hook, programs[hook.name], ifindex, link_dir)


@functools.cache
def tcx_works() -> bool:
    """Whether this kernel attaches tc programs by link (6.6 and later); $MESHNET_NO_TCX says no."""
    return not os.environ.get(NO_TCX) and probe_bpf.tcx()


def attached(link_dir: Path) -> set[str]:
    """Names of the hooks pinned here whose link still has its cgroup or interface."""
    try:
        names = os.listdir(link_dir)
    except FileNotFoundError:
        return set()
    alive = set()
    for name in names:
        if filters.is_filter(name):
            if filters.alive(link_dir / name, _HOOKS[filters.hook_name(name)]):
                alive.add(filters.hook_name(name))
            continue
        fd = syscall.obj_get(link_dir / name)
        if fd is not None:
            if _target(fd)[1]:
                alive.add(name)
            os.close(fd)
    return alive


def detach(link_dir: Path) -> None:
    """Remove the pins here, which detaches, and the directory; nothing there is no error."""
    try:
        for name in os.listdir(link_dir):
            if filters.is_filter(name):
                filters.detach(link_dir / name, _HOOKS[filters.hook_name(name)])
            else:
                (link_dir / name).unlink()
        link_dir.rmdir()
    except FileNotFoundError:
        return


def _attach(hook: Hook, program: int, target: int, target_id: int, link_dir: Path) -> None:
    """Leave exactly this program on this target, pinned; do nothing where it already is."""
    link_dir.mkdir(parents=True, exist_ok=True)
    pin = link_dir / hook.name
    link = syscall.obj_get(pin)
    if link is not None:
        try:
            current, pinned_target = _target(link)
            if pinned_target == target_id:
                if current != _PROG_INFO.unpack(syscall.info(program, _PROG_INFO.size))[1]:
                    syscall.link_update(link, program)
                return
        finally:
            os.close(link)
        pin.unlink()
    link = syscall.link_create(program, target, hook.attach_type)
    try:
        syscall.obj_pin(link, pin)
    finally:
        os.close(link)


def _target(link: int) -> tuple[int, int]:
    """(program id, cgroup id or ifindex; 0 = gone) of a link."""
    kind, _, program, _, cgroup, _, _ = _LINK_INFO.unpack(syscall.info(link, _LINK_INFO.size))
    if kind == _TCX_LINK:
        return program, cgroup & 0xFFFFFFFF
    return program, cgroup if kind == _CGROUP_LINK else 0
