"""Typed views of BPF maps: keys and values are the ctypes structures of abi.py."""

from __future__ import annotations

import ctypes
import errno
import os
import struct
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Generic, TypeVar

from meshnet.kernel.bpf import syscall
from meshnet.kernel.bpf.abi import Counter
from meshnet.model.errors import KernelError
from meshnet.model.patience import patient

Data = Any  # a ctypes value; ctypes' own stubs have no public common base
K = TypeVar("K")
V = TypeVar("V")
_POLL_S = 0.05


def _size(c_type: Data) -> int:
    return ctypes.sizeof(c_type)


class Map(Generic[K, V]):
    """An open map. Owns its file descriptor; the map itself lives on in its pin."""

    def __init__(self, fd: int, key: type[K], value: type[V]) -> None:
        self.fd = fd
        self._key: Data = key
        self._value: Data = value
        self._key_size: int = _size(key)
        self._value_size: int = _size(value)

    @classmethod
    def open(cls, path: Path, key: type[K], value: type[V]) -> Map[K, V]:
        """The map pinned at `path`.

        Raises:
            KernelError: ENOENT where nothing is pinned there.
        """
        fd = syscall.obj_get(path)
        if fd is None:
            raise KernelError(f"no BPF map is pinned at {path}: start the cell agent first", 2)
        return cls(fd, key, value)

    def close(self) -> None:
        """Close the descriptor; closing twice is no error."""
        fd, self.fd = self.fd, -1
        if fd >= 0:
            os.close(fd)

    def get(self, key: K) -> V | None:
        """The value at `key`, or None."""
        raw = syscall.map_lookup(self.fd, bytes(key), self._value_size)  # type: ignore[call-overload]
        return None if raw is None else self._value.from_buffer_copy(raw)

    def set(self, key: K, value: V) -> None:
        """Write the value at `key`."""
        syscall.map_update(self.fd, bytes(key), bytes(value))  # type: ignore[call-overload]

    def delete(self, key: K) -> bool:
        """Remove `key`; whether it was there."""
        return syscall.map_delete(self.fd, bytes(key))  # type: ignore[call-overload]

    def keys(self) -> Iterator[K]:
        """All keys. Programs may change the map meanwhile: one may be missed or come twice."""
        raw = syscall.map_next_key(self.fd, None, self._key_size)
        while raw is not None:
            # Asked for before the caller can delete this key: the walk would start over.
            following = syscall.map_next_key(self.fd, raw, self._key_size)
            yield self._key.from_buffer_copy(raw)
            raw = following

    def packed_keys(self) -> Iterator[bytes]:
        """All keys of a hash map, many at a time, each a key behind the other.

        A walk by `keys` of a table with 65,536 flows takes ten times as long.
        """
        return syscall.map_keys(self.fd, self._key_size, self._value_size)

    def items(self) -> Iterator[tuple[K, V]]:
        """All entries, with the caveat of `keys`."""
        for key in self.keys():
            value = self.get(key)
            if value is not None:
                yield key, value


def wait_for_pin(path: Path, wait_s: float) -> None:
    """Return when something is pinned at `path`, as the cell agent does when it starts.

    Raises:
        KernelError: ENOENT where it is not there in time.
    """
    deadline = time.monotonic() + patient(wait_s)
    while not path.exists():
        if time.monotonic() >= deadline:
            text = f"no BPF map is pinned at {path}: start the cell agent first"
            raise KernelError(text, errno.ENOENT)
        time.sleep(_POLL_S)  # bpffs has no inotify events; this is the interval of a poll


def read_counter(fd: int, counter: Counter) -> int:
    """One counter, summed over the CPUs."""
    cpus = syscall.possible_cpus()
    raw = syscall.map_lookup(fd, struct.pack("<I", counter), 8 * cpus)
    return sum(struct.unpack(f"<{cpus}Q", raw or bytes(8 * cpus)))


def read_counters(fd: int) -> dict[str, int]:
    """Every counter by its name in lower case, summed over the CPUs."""
    return {
        counter.name.lower(): read_counter(fd, counter)
        for counter in Counter
        if counter is not Counter.COUNTERS
    }
