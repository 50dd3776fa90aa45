"""Reading a BPF ring buffer of records of one size, by mmap and without a system call.

Layout: kernel/bpf/ringbuf.c. A page with the consumer's position, which we write; a page with the
producers' position; the data, mapped twice in a row so that no record is ever in two pieces. Each
record has 8 bytes before it: its length, with a bit that says that it is not written yet.
"""

from __future__ import annotations

import errno
import mmap
import os
import struct
from pathlib import Path

from meshnet.kernel.bpf import syscall
from meshnet.model.errors import KernelError

_HEADER, _BUSY = 8, 1 << 31
_POSITION = struct.Struct("<Q")
_MAP_INFO = struct.Struct("<IIIIII")  # type, id, key_size, value_size, max_entries, map_flags


class Ring:
    """The one reader of a ring buffer. Owner: `close()`."""

    def __init__(self, fd: int, record_bytes: int) -> None:
        """Map the ring buffer `fd`, whose records are all of one size, a multiple of 8.

        Raises:
            KernelError: it cannot be mapped.
        """
        self._size = _MAP_INFO.unpack(syscall.info(fd, _MAP_INFO.size))[4]
        self._record, self._stride = record_bytes, _HEADER + record_bytes
        page = mmap.PAGESIZE
        try:
            self._consumer = mmap.mmap(fd, page, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)
            self._rest = mmap.mmap(
                fd, page + 2 * self._size, mmap.MAP_SHARED, mmap.PROT_READ, offset=page
            )
        except OSError as exc:
            text = f"cannot map the ring buffer: {exc.strerror}"
            raise KernelError(text, exc.errno or errno.EIO) from exc

    @classmethod
    def open(cls, path: Path, record_bytes: int) -> Ring:
        """The ring buffer pinned at `path`.

        Raises:
            KernelError: ENOENT where nothing is pinned there.
        """
        fd = syscall.obj_get(path)
        if fd is None:
            text = f"no BPF ring buffer is pinned at {path}: start the cell agent first"
            raise KernelError(text, errno.ENOENT)
        try:
            return cls(fd, record_bytes)
        finally:
            os.close(fd)

    @property
    def stride(self) -> int:
        """Bytes from one record of a chunk to the next."""
        return self._stride

    def read(self) -> list[bytes]:
        """The records written since the last call, oldest first."""
        chunk = self.chunk()
        return [
            chunk[start + _HEADER : start + self._stride]
            for start in range(0, len(chunk), self._stride)
        ]

    def chunk(self) -> bytes:
        """The same in one piece, each record behind the 8 bytes that the kernel puts before it."""
        begin = _POSITION.unpack_from(self._consumer)[0]
        end = _POSITION.unpack_from(self._rest)[0]
        if begin == end:
            return b""
        offset = mmap.PAGESIZE + begin % self._size
        raw = self._rest[offset : offset + end - begin]
        # Of one size, so the length words stand at a fixed distance.
        lengths = memoryview(raw).cast("I")[:: self._stride // 4].tolist()
        count = len(lengths)
        if max(lengths) & _BUSY:
            count = next(i for i, n in enumerate(lengths) if n & _BUSY)
            raw = raw[: count * self._stride]
        _POSITION.pack_into(self._consumer, 0, begin + count * self._stride)
        return raw

    def close(self) -> None:
        """Unmap; what is written meanwhile waits for the next reader."""
        self._consumer.close()
        self._rest.close()
