"""Which BPF program types and links this kernel takes, tried with two-instruction programs."""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Callable, Iterator

_BPF_SYSCALL = 321  # x86_64, asm/unistd_64.h
_PROG_LOAD = 5
_LINK_CREATE = 28
_LOOPBACK = 1  # ifindex of lo in every network namespace

# linux/bpf.h: enum bpf_prog_type and enum bpf_attach_type.
_SCHED_CLS, _SOCK_OPS, _SOCK_ADDR, _SOCKOPT = 3, 13, 18, 25
_TCX_INGRESS = 46
_TYPES = {
    "tc (sched_cls)": (_SCHED_CLS, 0),
    "connect4": (_SOCK_ADDR, 10),
    "connect6": (_SOCK_ADDR, 11),
    "sendmsg4": (_SOCK_ADDR, 14),
    "bind4": (_SOCK_ADDR, 8),
    "getpeername4": (_SOCK_ADDR, 29),
    "sock_ops": (_SOCK_OPS, 3),
    "getsockopt": (_SOCKOPT, 21),
}

# r0 = 1; exit
_RETURN_1 = struct.pack("<BBhiBBhi", 0xB7, 0, 0, 1, 0x95, 0, 0, 0)


def _bpf(command: int, attributes: bytes) -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    buffer = ctypes.create_string_buffer(attributes.ljust(128, b"\0"))
    result: int = libc.syscall(_BPF_SYSCALL, command, buffer, len(buffer.raw) - 1)
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


def load(program_type: int, attach_type: int) -> int:
    """Load `return 1` as this program type.

    Returns:
        The program's file descriptor.

    Raises:
        OSError: the kernel does not know the type, or this process may not load it.
    """
    code = ctypes.create_string_buffer(_RETURN_1)
    licence = ctypes.create_string_buffer(b"GPL")
    # union bpf_attr for BPF_PROG_LOAD: log fields, kern_version, flags, name, ifindex are zero.
    attributes = struct.pack(
        "<IIQQIIQII16sII",
        *(program_type, 2, ctypes.addressof(code), ctypes.addressof(licence)),
        *(0, 0, 0, 0, 0, b"probe", 0, attach_type),
    )
    return _bpf(_PROG_LOAD, attributes)


def programs() -> Iterator[tuple[str, Callable[[], str]]]:
    """(name, probe) of every program type meshnet uses; a probe raises OSError where it fails."""
    for name, (program_type, attach_type) in _TYPES.items():

        def find(program_type: int = program_type, attach_type: int = attach_type) -> str:
            os.close(load(program_type, attach_type))
            return "loads"

        yield name, find


def tcx() -> bool:
    """Whether tc programs can be attached by bpf_link (tcx), tried on this namespace's lo."""
    try:
        program = load(_SCHED_CLS, 0)
    except OSError:
        return False
    try:
        os.close(_bpf(_LINK_CREATE, struct.pack("<IIII", program, _LOOPBACK, _TCX_INGRESS, 0)))
    except OSError:
        return False
    finally:
        os.close(program)
    return True
