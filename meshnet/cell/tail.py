"""Reading on in a log file that grows, is rotated, and may be gone: from where one was before."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path

from meshnet.cell.log_lines import Line, lines

ROUND_BYTES = 128 * 1024  # read of one file at a time: a loud app waits its turn


@dataclass(frozen=True)
class Position:
    """How far a file was read.

    Attributes:
        inode: of the file, 0 = none yet.
        ns: time of the last line, which the next is later than.
    """

    inode: int = 0
    offset: int = 0
    ns: int = 0


class Tail:
    """One log file. Owner: `close()`."""

    def __init__(self, path: Path, position: Position = Position()) -> None:
        """Go on where `position` says; from the beginning where the file is another one now."""
        self.path, self.position = path, position
        self._fd = -1

    def read(self, *, flush: bool = False) -> tuple[list[Line], Position]:
        """The next lines, each later than the one before, and the position after them.

        Nothing moves until `advance`. When the file at the path is another one (conmon rotates by
        rename), the rest of the old one comes first.

        Args:
            flush: take what is there of a line whose end has not come.
        """
        if not self._open():
            return [], self.position
        size = os.fstat(self._fd).st_size
        if self.position.offset >= size and not self._next_file():
            return [], self.position
        data = os.pread(self._fd, ROUND_BYTES, self.position.offset)
        found, taken = lines(data, flush=flush or len(data) == ROUND_BYTES)
        if not taken and self._replaced():
            found, taken = lines(data, flush=True)
            taken = taken or len(data)  # a torn line at the end of a file that grows no more
        ordered, last = [], self.position.ns
        for line in found:
            last = max(line.ns, last + 1)
            ordered.append(Line(last, line.error, line.text))
        return ordered, Position(self.position.inode, self.position.offset + taken, last)

    def advance(self, position: Position) -> None:
        """What was read up to there is dealt with."""
        self.position = position

    def close(self) -> None:
        """Let go of the file."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _open(self) -> bool:
        if self._fd >= 0:
            return True
        with contextlib.suppress(FileNotFoundError):
            self._fd = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
            found = os.fstat(self._fd)
            # A number may have gone to another file meanwhile: a shorter one, if at all.
            if found.st_ino != self.position.inode or found.st_size < self.position.offset:
                self.position = Position(found.st_ino, 0, self.position.ns)
        return self._fd >= 0

    def _replaced(self) -> bool:
        try:
            return os.stat(self.path).st_ino != self.position.inode
        except FileNotFoundError:
            return False

    def _next_file(self) -> bool:
        """Whether there is a newer file at the path; it is open then."""
        if not self._replaced():
            return False
        self.close()
        return self._open()
