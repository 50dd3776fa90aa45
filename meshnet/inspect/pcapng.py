"""Writing pcapng (draft-ietf-opsawg-pcapng): a section, an interface a point, a packet a block."""

from __future__ import annotations

import os
import struct
from collections.abc import Sequence
from typing import BinaryIO

from meshnet.kernel.packets import Frame

_SECTION, _INTERFACE, _PACKET = 0x0A0D0D0A, 1, 6
_MAGIC, _ETHERNET = 0x1A2B3C4D, 1
# Options of sections 4.1, 4.2 and 4.3.
_END, _COMMENT = 0, 1
_SHB_USERAPPL, _IF_NAME, _IF_FILTER, _IF_TSRESOL, _EPB_FLAGS = 4, 2, 11, 9, 2
_NANOSECONDS = b"\x09"
_INBOUND, _OUTBOUND = 1, 2


def section(application: str) -> bytes:
    """A section header block, of unknown length."""
    body = struct.pack("<IHHq", _MAGIC, 1, 0, -1)
    return _block(_SECTION, body + _options((_SHB_USERAPPL, application.encode())))


def interface(name: str, filter_text: str, snaplen: int) -> bytes:
    """An interface description block; times are in nanoseconds."""
    options = [(_IF_NAME, name.encode()), (_IF_TSRESOL, _NANOSECONDS)]
    if filter_text:
        options.append((_IF_FILTER, b"\0" + filter_text.encode()))
    return _block(_INTERFACE, struct.pack("<HHI", _ETHERNET, 0, snaplen) + _options(*options))


def packet(number: int, frame: Frame, comment: str = "") -> bytes:
    """An enhanced packet block, of interface `number` in the order they were described."""
    high, low = frame.time_ns >> 32, frame.time_ns & 0xFFFFFFFF
    head = struct.pack("<IIIII", number, high, low, len(frame.data), frame.length)
    flags = struct.pack("<I", _OUTBOUND if frame.outgoing else _INBOUND)
    options = [(_EPB_FLAGS, flags)]
    if comment:
        options.insert(0, (_COMMENT, comment.encode()))
    return _block(_PACKET, head + _padded(frame.data) + _options(*options))


class Writer:
    """A pcapng file. Every block is written whole, so that the file can be read at any moment."""

    def __init__(self, file: BinaryIO, names: Sequence[str], filter_text: str, snaplen: int):
        """Begin. Raises OSError, as `write` does."""
        self._file = file
        self._put(section("meshnet capture"))
        for name in names:
            self._put(interface(name, filter_text, snaplen))

    def write(self, number: int, frame: Frame, comment: str = "") -> None:
        """Add a packet; on an OSError the file ends with the one before."""
        self._put(packet(number, frame, comment))

    def _put(self, block: bytes) -> None:
        try:
            start = self._file.tell() if self._file.seekable() else -1
        except OSError:
            start = -1
        rest = memoryview(block)
        try:
            while rest:
                rest = rest[os.write(self._file.fileno(), rest) :]
        except OSError:
            if start >= 0:
                os.ftruncate(self._file.fileno(), start)
            raise


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)


def _options(*options: tuple[int, bytes]) -> bytes:
    found = b"".join(
        struct.pack("<HH", code, len(value)) + _padded(value) for code, value in options
    )
    return found + struct.pack("<HH", _END, 0)


def _block(kind: int, body: bytes) -> bytes:
    size = 12 + len(body)
    return struct.pack("<II", kind, size) + body + struct.pack("<I", size)
