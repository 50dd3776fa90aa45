"""News of links going up and down, from rtnetlink's link group (rtnetlink(7))."""

from __future__ import annotations

import errno
import socket
import struct
from dataclasses import dataclass

_RTMGRP_LINK = 1
_RTM_NEWLINK = 16
_IFLA_IFNAME = 3
_IFF_UP = 1
_HEADER = struct.Struct("=IHHII")  # length, type, flags, sequence, port
_LINK = struct.Struct("=BxHiII")  # family, type, index, flags, change
_ATTRIBUTE = struct.Struct("=HH")  # length, type
_BUFFER = 256 * 1024


@dataclass(frozen=True)
class LinkState:
    """What a link was said to be."""

    name: str
    up: bool


class LinkWatch:
    """A socket that hears of links in the namespace it was made in. Owner: `close()`."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
        self._socket.setblocking(False)
        self._socket.bind((0, _RTMGRP_LINK))

    def fileno(self) -> int:
        """Readable when there is news (for `loop.add_reader`)."""
        return self._socket.fileno()

    def read(self) -> list[LinkState] | None:
        """The news so far, oldest first; None where some were lost: look at all links then."""
        news: list[LinkState] = []
        while True:
            try:
                news += parse(self._socket.recv(_BUFFER))
            except BlockingIOError:
                return news
            except OSError as exc:
                if exc.errno == errno.ENOBUFS:
                    return None
                raise

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()


def parse(data: bytes) -> list[LinkState]:
    """The RTM_NEWLINK messages of one datagram; others are skipped."""
    found = []
    while len(data) >= _HEADER.size:
        length, kind, *_ = _HEADER.unpack_from(data)
        if not _HEADER.size <= length <= len(data):
            break
        if kind == _RTM_NEWLINK:
            found.append(_link(data[_HEADER.size : length]))
        data = data[_aligned(length) :]
    return found


def _link(body: bytes) -> LinkState:
    flags = _LINK.unpack_from(body)[3]
    offset, name = _LINK.size, ""
    while offset + _ATTRIBUTE.size <= len(body):
        length, kind = _ATTRIBUTE.unpack_from(body, offset)
        if length < _ATTRIBUTE.size:
            break
        if kind == _IFLA_IFNAME:
            text = body[offset + _ATTRIBUTE.size : offset + length]
            name = text.rstrip(b"\0").decode(errors="replace")
        offset += _aligned(length)
    return LinkState(name, bool(flags & _IFF_UP))


def _aligned(length: int) -> int:
    return (length + 3) & ~3
