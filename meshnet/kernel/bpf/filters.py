"""tc programs on kernels without tcx links (before 6.6): clsact filters, direct action.

A filter lives as long as its interface, whoever made it. One handle at one priority, so that
attaching again replaces the program without a gap. The pin here is the program's, named
`<hook>@<ifindex>`: it says what should be attached where; the kernel is asked whether it is.
"""

from __future__ import annotations

import errno
import os
import struct
from pathlib import Path
from typing import TYPE_CHECKING, Any

from meshnet.kernel.bpf import syscall
from meshnet.kernel.bpf.source import TCX_INGRESS, Hook
from meshnet.kernel.links import with_socket
from meshnet.model.errors import KernelError

if TYPE_CHECKING:
    from pyroute2 import IPRoute

# linux/pkt_sched.h: TC_H_CLSACT with TC_H_MIN_INGRESS or TC_H_MIN_EGRESS
_INGRESS, _EGRESS = 0xFFFFFFF2, 0xFFFFFFF3
_HANDLE, _PRIORITY = 1, 1
_PROG_INFO = struct.Struct("<II")  # type, id
_ID = struct.Struct("=I")
_TCA_BPF_ID, _NLA_HEADER = 11, 4  # linux/pkt_cls.h
_MARK = "@"
_GONE = (errno.ENODEV, errno.ENOENT, errno.EINVAL)


def is_filter(pin: str) -> bool:
    """Whether a pin's name is one of ours."""
    return _MARK in pin


def hook_name(pin: str) -> str:
    """The hook a pin stands for."""
    return pin.partition(_MARK)[0]


def attach(hook: Hook, program: int, ifindex: int, link_dir: Path) -> None:
    """Leave exactly this program on this hook of an interface of the caller's namespace.

    Raises:
        KernelError: the kernel refused.
    """
    link_dir.mkdir(parents=True, exist_ok=True)
    what = f"attach {hook.name} to interface {ifindex}"
    try:
        with_socket(None, what, lambda ip: ip.tc("add", "clsact", ifindex))
    except KernelError as exc:
        if exc.errno != errno.EEXIST:
            raise
    where = {"parent": _parent(hook), "prio": _PRIORITY, "direct_action": True}

    def replace(ip: IPRoute) -> None:
        ip.tc("replace-filter", "bpf", ifindex, _HANDLE, fd=program, name=hook.name, **where)

    with_socket(None, what, replace)
    pin = link_dir / f"{hook.name}{_MARK}{ifindex}"
    pin.unlink(missing_ok=True)
    syscall.obj_pin(program, pin)


def alive(pin: Path, hook: Hook) -> bool:
    """Whether the pinned program is what the kernel has on its hook."""
    fd = syscall.obj_get(pin)
    if fd is None:
        return False
    try:
        wanted = _PROG_INFO.unpack(syscall.info(fd, _PROG_INFO.size))[1]
    finally:
        os.close(fd)
    return wanted in _programs(_ifindex(pin), _parent(hook))


def detach(pin: Path, hook: Hook) -> None:
    """Remove the filter, where its interface still has it, and the pin."""

    def delete(ip: IPRoute) -> None:
        ip.tc("del-filter", "bpf", _ifindex(pin), _HANDLE, parent=_parent(hook), prio=_PRIORITY)

    try:
        with_socket(None, f"detach {pin.name}", delete)
    except KernelError as exc:
        if exc.errno not in _GONE:
            raise
    pin.unlink(missing_ok=True)


def _programs(ifindex: int, parent: int) -> set[int]:
    def dump(ip: IPRoute) -> list[Any]:
        return list(ip.get_filters(ifindex, parent=parent))

    try:
        filters = with_socket(None, f"list the filters of interface {ifindex}", dump)
    except KernelError:
        return set()
    return {number for message in filters for number in _program_ids(message)}


def _program_ids(message: Any) -> list[int]:
    """TCA_BPF_ID of a filter; pyroute2 has no name for it and leaves it as it came."""
    options = message.get_attr("TCA_OPTIONS")
    attributes = options["attrs"] if options is not None else ()
    return [
        _ID.unpack_from(value.data, value.offset + _NLA_HEADER)[0]
        for name, value in attributes
        if name == "UNKNOWN" and value["header"]["type"] == _TCA_BPF_ID
    ]


def _ifindex(pin: Path) -> int:
    return int(pin.name.partition(_MARK)[2])


def _parent(hook: Hook) -> int:
    return _INGRESS if hook.attach_type == TCX_INGRESS else _EGRESS
