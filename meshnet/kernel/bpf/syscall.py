"""bpf(2) by ctypes: the dozen commands meshnet needs, without BCC or libbpf in the process.

Every function raises KernelError, with the kernel's errno, where the kernel refuses. Layouts are
those of `union bpf_attr` in linux/bpf.h.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from meshnet.model.errors import KernelError

_SYSCALL = 321  # x86_64, asm/unistd_64.h
(
    _MAP_CREATE,
    _MAP_LOOKUP,
    _MAP_UPDATE,
    _MAP_DELETE,
    _MAP_NEXT_KEY,
    _PROG_LOAD,
    _OBJ_PIN,
    _OBJ_GET,
    _PROG_ATTACH,
) = range(9)
_PROG_TEST_RUN, _INFO_BY_FD, _LINK_CREATE, _LINK_UPDATE = 10, 15, 28, 29
_MAP_LOOKUP_BATCH = 24
_ATTR_SIZE = 144
_LOG_SIZE = 1 << 20
_CONTEXT_ROOM = 512
_NAME_MAX = 15


@cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _try(command: int, attributes: bytes) -> tuple[int, int, bytes]:
    """(result, errno, attributes as the kernel left them)."""
    buffer = ctypes.create_string_buffer(attributes.ljust(_ATTR_SIZE, b"\0"), _ATTR_SIZE)
    result: int = _libc().syscall(_SYSCALL, command, buffer, _ATTR_SIZE)
    return result, ctypes.get_errno() if result < 0 else 0, buffer.raw


def _call(command: int, attributes: bytes, what: str) -> int:
    result, code, _ = _try(command, attributes)
    if result < 0:
        raise KernelError(f"{what}: {os.strerror(code)}", code)
    return result


def _address(buffer: ctypes.Array[ctypes.c_char]) -> int:
    return ctypes.addressof(buffer)


@cache
def possible_cpus() -> int:
    """How many values a per-CPU map holds per key."""
    text = Path("/sys/devices/system/cpu/possible").read_text(encoding="ascii").strip()
    return int(text.rpartition("-")[2].rpartition(",")[2]) + 1


# --- maps ---


def map_create(
    name: str, kind: int, key_size: int, value_size: int, max_entries: int, flags: int
) -> int:
    """File descriptor of a new map."""
    attributes = struct.pack("<IIIIIIi16s", kind, key_size, value_size, max_entries, flags, 0, 0,
                             name[:_NAME_MAX].encode())  # fmt: skip
    return _call(_MAP_CREATE, attributes, f"cannot make BPF map {name}")


def map_lookup(fd: int, key: bytes, value_size: int) -> bytes | None:
    """The value at `key`, or None."""
    k, v = ctypes.create_string_buffer(key, len(key)), ctypes.create_string_buffer(value_size)
    result, code, _ = _try(_MAP_LOOKUP, struct.pack("<IIQQQ", fd, 0, _address(k), _address(v), 0))
    if result == 0:
        return v.raw
    if code == errno.ENOENT:
        return None
    raise KernelError(f"cannot read a BPF map: {os.strerror(code)}", code)


def map_update(fd: int, key: bytes, value: bytes) -> None:
    """Set the value at `key`."""
    k = ctypes.create_string_buffer(key, len(key))
    v = ctypes.create_string_buffer(value, len(value))
    attributes = struct.pack("<IIQQQ", fd, 0, _address(k), _address(v), 0)
    _call(_MAP_UPDATE, attributes, "cannot write a BPF map")


def map_delete(fd: int, key: bytes) -> bool:
    """Remove `key`; whether it was there."""
    k = ctypes.create_string_buffer(key, len(key))
    result, code, _ = _try(_MAP_DELETE, struct.pack("<IIQ", fd, 0, _address(k)))
    if result < 0 and code != errno.ENOENT:
        raise KernelError(f"cannot delete from a BPF map: {os.strerror(code)}", code)
    return result == 0


def map_next_key(fd: int, key: bytes | None, key_size: int) -> bytes | None:
    """The key after `key` (the first one for None), or None at the end."""
    k = None if key is None else ctypes.create_string_buffer(key, key_size)
    following = ctypes.create_string_buffer(key_size)
    attributes = struct.pack("<IIQQ", fd, 0, 0 if k is None else _address(k), _address(following))
    result, code, _ = _try(_MAP_NEXT_KEY, attributes)
    if result == 0:
        return following.raw
    if code == errno.ENOENT:
        return None
    raise KernelError(f"cannot walk a BPF map: {os.strerror(code)}", code)


def map_keys(fd: int, key_size: int, value_size: int, at_once: int = 4096) -> Iterator[bytes]:
    """The keys of a hash map, up to `at_once` of them one behind the other."""
    keys = ctypes.create_string_buffer(at_once * key_size)
    values = ctypes.create_string_buffer(at_once * value_size)
    place = ctypes.create_string_buffer(max(4, key_size))
    start, code = 0, 0
    while code != errno.ENOENT:
        addresses = (start, _address(place), _address(keys), _address(values))
        attributes = struct.pack("<QQQQIIQQ", *addresses, at_once, fd, 0, 0)
        result, code, after = _try(_MAP_LOOKUP_BATCH, attributes)
        if result < 0 and code != errno.ENOENT:
            raise KernelError(f"cannot read a BPF map: {os.strerror(code)}", code)
        (count,) = struct.unpack_from("<I", after, 32)
        yield keys.raw[: count * key_size]
        start = _address(place)


# --- programs ---


def _load(
    name: str, kind: int, code: bytes, attach_type: int, log_size: int
) -> tuple[int, int, str]:
    instructions = ctypes.create_string_buffer(code, len(code))
    licence = ctypes.create_string_buffer(b"GPL")
    log = ctypes.create_string_buffer(max(1, log_size))
    attributes = struct.pack(
        "<IIQQIIQII16sII",
        *(kind, len(code) // 8, _address(instructions), _address(licence)),
        *(1 if log_size else 0, log_size, _address(log) if log_size else 0),
        *(0, 0, name[:_NAME_MAX].encode(), 0, attach_type),
    )
    result, error, _ = _try(_PROG_LOAD, attributes)
    return result, error, log.value.decode(errors="replace")


def prog_load(name: str, kind: int, code: bytes, attach_type: int) -> int:
    """File descriptor of the loaded program.

    Raises:
        KernelError: refused; the text ends with the tail of the verifier's log.
    """
    result, error, _ = _load(name, kind, code, attach_type, 0)
    if result >= 0:
        return result
    # Once more for the log: asking for it at once would cost every good load a megabyte.
    result, error, log = _load(name, kind, code, attach_type, _LOG_SIZE)
    if result >= 0:
        return result
    tail = " | ".join(log.strip().splitlines()[-12:])
    raise KernelError(f"the kernel refused BPF program {name}: {os.strerror(error)}: {tail}", error)


@dataclass(frozen=True)
class TestRun:
    """What a program did with a packet given by BPF_PROG_TEST_RUN."""

    __test__ = False

    verdict: int
    packet: bytes
    context: bytes


def prog_test_run(fd: int, packet: bytes, context: bytes = b"") -> TestRun:
    """Run a program once over `packet` (an Ethernet frame) and, for tc, a `struct __sk_buff`."""
    room = len(packet) + 256
    data, out = ctypes.create_string_buffer(packet, len(packet)), ctypes.create_string_buffer(room)
    ctx_in = ctypes.create_string_buffer(context, max(1, len(context)))
    # Room for all of the kernel's struct: it answers ENOSPC where its own does not fit.
    ctx_out = ctypes.create_string_buffer(_CONTEXT_ROOM)
    attributes = struct.pack(
        "<IIIIQQIIIIQQ",
        *(fd, 0, len(packet), room, _address(data), _address(out), 1, 0),
        *(len(context), _CONTEXT_ROOM if context else 0),
        *((_address(ctx_in), _address(ctx_out)) if context else (0, 0)),
    )
    result, code, after = _try(_PROG_TEST_RUN, attributes)
    if result < 0:
        raise KernelError(f"cannot test-run a BPF program: {os.strerror(code)}", code)
    _, verdict, _, size = struct.unpack_from("<IIII", after)
    return TestRun(verdict, out.raw[:size], ctx_out.raw[: len(context)])


# --- pins, links and information ---


def obj_pin(fd: int, path: Path) -> None:
    """Pin a map, program or link in a bpffs."""
    name = ctypes.create_string_buffer(os.fsencode(path))
    _call(_OBJ_PIN, struct.pack("<QII", _address(name), fd, 0), f"cannot pin {path}")


def obj_get(path: Path) -> int | None:
    """File descriptor of what is pinned at `path`, or None where nothing is."""
    name = ctypes.create_string_buffer(os.fsencode(path))
    result, code, _ = _try(_OBJ_GET, struct.pack("<QII", _address(name), 0, 0))
    if result >= 0:
        return result
    if code == errno.ENOENT:
        return None
    raise KernelError(f"cannot open the pin {path}: {os.strerror(code)}", code)


def prog_attach(program: int, target: int, attach_type: int) -> None:
    """Attach to a map (sk_msg): for as long as the map lives; an earlier one is replaced."""
    attributes = struct.pack("<IIII", target, program, attach_type, 0)
    _call(_PROG_ATTACH, attributes, "cannot attach a BPF program")


def link_create(program: int, target: int, attach_type: int) -> int:
    """File descriptor of a new link to a cgroup's descriptor or (tcx) to an interface's index."""
    attributes = struct.pack("<IIII", program, target, attach_type, 0)
    return _call(_LINK_CREATE, attributes, "cannot attach a BPF program")


def link_update(link: int, program: int) -> None:
    """Put another program behind a link, with no moment between."""
    attributes = struct.pack("<III", link, program, 0)
    _call(_LINK_UPDATE, attributes, "cannot replace an attached BPF program")


def info(fd: int, size: int) -> bytes:
    """The first `size` bytes of the object's `struct bpf_{prog,map,link}_info`."""
    buffer = ctypes.create_string_buffer(size)
    attributes = struct.pack("<IIQ", fd, size, _address(buffer))
    _call(_INFO_BY_FD, attributes, "cannot ask about a BPF object")
    return buffer.raw
