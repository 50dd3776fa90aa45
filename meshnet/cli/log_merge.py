"""Several log files as one: lines in the order of their times, each with who says it.

Instances' files are in the form that conmon writes; daemons' lines begin with their time.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from meshnet.cell import log_lines
from meshnet.proxy import access_log

_BLOCK = 64 * 1024
_POLL_SECONDS = 0.1
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?|\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d+")


@dataclass(frozen=True)
class Source:
    """One file.

    Attributes:
        tag: who speaks in it; "" = lines stand alone.
        instance: whether it is an instance's, in conmon's form.
    """

    tag: str
    path: Path
    instance: bool = False


@dataclass(frozen=True, order=True)
class Line:
    """A line as it is shown; they sort by time (seconds and so on as text, UTC)."""

    when: str
    text: str


def merged(sources: Sequence[Source], count: int, *, follow: bool = False) -> Iterator[str]:
    """The last `count` lines of each source, then, where asked, what comes; until interrupted."""
    tails = [_Tail(source) for source in sources]
    first = [line for tail in tails for line in tail.last(count)]
    yield from (line.text for line in sorted(first, key=lambda line: line.when))
    while follow:
        news = [line for tail in tails for line in tail.more()]
        yield from (line.text for line in sorted(news, key=lambda line: line.when))
        if not news:
            time.sleep(_POLL_SECONDS)


class _Tail:
    """One source, read from where one was before; a file that is replaced or emptied is new."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._at = (0, 0)  # inode, offset
        self._when = ""

    def last(self, count: int) -> list[Line]:
        """The last lines; `more` goes on after them."""
        try:
            with self._source.path.open("rb") as file:
                found = os.fstat(file.fileno())
                data, begin = b"", found.st_size
                while begin and data.count(b"\n") <= count:
                    begin = max(0, begin - _BLOCK)
                    file.seek(begin)
                    data = file.read(found.st_size - begin)
        except FileNotFoundError:
            return []
        if begin:
            data = data.partition(b"\n")[2]
        taken = data.rfind(b"\n") + 1
        self._at = (found.st_ino, found.st_size - (len(data) - taken))
        return self._lines(data[:taken])[-count:] if count else []

    def more(self) -> list[Line]:
        """What was written since."""
        try:
            with self._source.path.open("rb") as file:
                found = os.fstat(file.fileno())
                inode, offset = self._at
                if found.st_ino != inode or found.st_size < offset:
                    offset = 0
                file.seek(offset)
                data = file.read(found.st_size - offset)
        except FileNotFoundError:
            return []
        taken = data.rfind(b"\n") + 1
        self._at = (found.st_ino, offset + taken)
        return self._lines(data[:taken])

    def _lines(self, data: bytes) -> list[Line]:
        if self._source.instance:
            found, _ = log_lines.lines(data, flush=True)
            return [self._instances(line) for line in found]
        return [self._daemons(line) for line in data.decode("utf-8", "replace").splitlines()]

    def _instances(self, line: log_lines.Line) -> Line:
        when = datetime.fromtimestamp(line.ns // 1_000_000_000, UTC).strftime("%Y-%m-%dT%H:%M:%S")
        full = f"{when}.{line.ns % 1_000_000_000:09d}"
        text = line.text.decode("utf-8", "replace").rstrip()
        stream = "ERR" if line.error else "OUT"
        return Line(full, f"{full[:-6]}Z [{self._source.tag}] {stream} {text}")

    def _daemons(self, line: str) -> Line:
        # What has no time goes on with what the line before says.
        if match := _TIME.search(line):
            self._when = match[0].replace(" ", "T")
        tag = f"[{self._source.tag}] " if self._source.tag else ""
        return Line(self._when, tag + access_log.readable(line))
