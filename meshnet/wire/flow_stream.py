"""The arrow from a cell's observer to whoever watches: a unix socket that sends flow events.

A message is a header, {u64 lost, u32 count, u32 stride} in the host's byte order, and `count`
records of `stride` bytes: 8 that mean nothing, and a `struct flow_event` of bpf/include/abi.h. So
they come out of the ring buffer, and are handed on untouched. `lost` is how many events this
watcher has missed since it connected. Nothing is sent the other way.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from meshnet.model.errors import PeerError

_HEADER = struct.Struct("=QII")
_BEFORE = 8  # of each record
_MOST_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True)
class Batch:
    """Events of one message, oldest first, and how many are lost so far."""

    lost: int
    records: tuple[bytes, ...]


def message(lost: int, chunk: bytes, stride: int) -> bytes:
    """A message's bytes; `chunk` is whole records of `stride` bytes."""
    return _HEADER.pack(lost, len(chunk) // stride, stride) + chunk


class Watcher:
    """One connection to an observer. Owner: `close()`."""

    def __init__(self, path: Path) -> None:
        """Connect. Raises PeerError where nobody listens."""
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._buffer = bytearray()
        try:
            self.socket.connect(str(path))
            hello = self.socket.recv(_HEADER.size, socket.MSG_WAITALL)
        except OSError as exc:
            self.socket.close()
            raise PeerError(f"no observer answers at {path}: {exc.strerror}") from exc
        if len(hello) < _HEADER.size:
            self.socket.close()
            raise PeerError(f"the observer at {path} hung up")

    def fileno(self) -> int:
        """For select."""
        return self.socket.fileno()

    def receive(self) -> list[Batch]:
        """Whole messages of what has come, after waiting for some. Raises PeerError at the end."""
        try:
            data = self.socket.recv(1 << 20)
        except OSError as exc:
            raise PeerError(f"the observer is gone: {exc.strerror}") from exc
        if not data:
            raise PeerError("the observer hung up")
        self._buffer += data
        return list(self._messages())

    def _messages(self) -> Iterator[Batch]:
        while len(self._buffer) >= _HEADER.size:
            lost, count, size = _HEADER.unpack_from(self._buffer)
            if count * size > _MOST_BYTES:
                raise PeerError("the observer sends no flow events")
            end = _HEADER.size + count * size
            if len(self._buffer) < end:
                return
            body = bytes(self._buffer[_HEADER.size : end])
            del self._buffer[:end]
            starts = range(0, len(body), size or 1)
            yield Batch(lost, tuple(body[i + _BEFORE : i + size] for i in starts))

    def close(self) -> None:
        """Hang up."""
        self.socket.close()
