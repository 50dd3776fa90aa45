"""Log files as conmon and the cell write them, read piece by piece. Pure."""

from __future__ import annotations

import datetime
import functools
from dataclasses import dataclass

MOST_BYTES = 60 * 1024  # of one line, as Loggregator; a longer one comes in pieces


@dataclass(frozen=True)
class Line:
    """One line of a log.

    Attributes:
        ns: when it was written, nanoseconds since the epoch.
    """

    ns: int
    error: bool
    text: bytes


def lines(data: bytes, *, flush: bool = False) -> tuple[list[Line], int]:
    """The whole lines at the start of `data`, and how many bytes of it they are.

    What was written in several pieces (tag P) is joined; where its end has not come yet, nothing
    from its beginning on is taken.

    Args:
        flush: take pieces for whole lines: their end may never come, or there is no more room.
    """
    found: list[Line] = []
    # Where to go on, and the lines up to there, while pieces of neither stream are open.
    settled, whole = 0, 0
    open_pieces: dict[bytes, list[Line]] = {}
    sizes: dict[bytes, int] = {}  # an app may write a line byte by byte
    position = 0
    while (end := data.find(b"\n", position)) >= 0:
        piece = _piece(data[position:end])
        position = end + 1
        if piece is not None:
            stream, last, line = piece
            pieces = open_pieces.setdefault(stream, [])
            pieces.append(line)
            sizes[stream] = sizes.get(stream, 0) + len(line.text)
            if last or sizes[stream] >= MOST_BYTES:
                found.append(_joined(open_pieces.pop(stream)))
                del sizes[stream]
        if not open_pieces:
            settled, whole = position, len(found)
    if not flush:
        return found[:whole], settled
    return found + [_joined(pieces) for pieces in open_pieces.values()], position


def _joined(pieces: list[Line]) -> Line:
    return Line(pieces[0].ns, pieces[0].error, b"".join(one.text for one in pieces))


def _piece(raw: bytes) -> tuple[bytes, bool, Line] | None:
    """(stream, whether it ends its line, line); None for what is no line of a log."""
    fields = raw.split(b" ", 3)
    if len(fields) != 4 or fields[1] not in (b"stdout", b"stderr"):
        return None
    try:
        ns = nanoseconds(fields[0].decode("ascii"))
    except ValueError:
        return None
    return fields[1], fields[2] != b"P", Line(ns, fields[1] == b"stderr", fields[3])


def nanoseconds(stamp: str) -> int:
    """2026-11-25T23:10:00.000000001+00:00 as nanoseconds since the epoch. Raises ValueError."""
    second, dot, rest = stamp[:19], stamp[19:20], stamp[20:]
    digits = len(rest) - len(rest.lstrip("0123456789"))
    if dot != "." or not 1 <= digits <= 9:
        raise ValueError(f"{stamp!r} is no time of a log line")
    return _second(second, rest[digits:]) * 1_000_000_000 + int(rest[:digits].ljust(9, "0"))


@functools.lru_cache(maxsize=64)
def _second(text: str, zone: str) -> int:
    return int(datetime.datetime.fromisoformat(text + zone).timestamp())
