"""What the cell says in an instance's log: beside the app's own log, in the form conmon writes."""

from __future__ import annotations

import datetime
import logging
import os
import time
from pathlib import Path

log = logging.getLogger("meshnet")


class Journal:
    """Appends lines "<time> <stdout|stderr> F [SOURCE/INDEX] <text>" to a file.

    A disk that is full loses lines, never an instance.
    """

    def __init__(self, path: Path, index: int) -> None:
        self._path, self._index = path, index

    def out(self, source: str, text: str) -> None:
        """A line on standard output."""
        self._write("stdout", source, text)

    def err(self, source: str, text: str) -> None:
        """A line on standard error."""
        self._write("stderr", source, text)

    def _write(self, stream: str, source: str, text: str) -> None:
        lines = "".join(
            f"{stamp(time.time_ns())} {stream} F [{source}/{self._index}] {line}\n"
            for line in text.splitlines()
        )
        try:
            fd = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                os.write(fd, lines.encode("utf-8", "replace"))
            finally:
                os.close(fd)
        except OSError as exc:
            log.warning("%s cannot be written: %s", self._path, exc.strerror)


def stamp(ns: int) -> str:
    """Nanoseconds since the epoch as conmon writes them: 2026-11-25T23:10:00.000000001+00:00."""
    when = datetime.datetime.fromtimestamp(ns // 1_000_000_000, datetime.UTC)
    return f"{when:%Y-%m-%dT%H:%M:%S}.{ns % 1_000_000_000:09d}+00:00"


def duration(seconds: float) -> str:
    """Seconds as Go prints a duration rounded to milliseconds: 1m0.005s, 2.5s, 30ms."""
    ms = round(seconds * 1000)
    if ms < 1000:
        return f"{ms}ms" if ms else "0s"
    hours, ms = divmod(ms, 3_600_000)
    minutes, ms = divmod(ms, 60_000)
    text = f"{ms / 1000:.3f}".rstrip("0").rstrip(".") + "s"
    if hours:
        return f"{hours}h{minutes}m{text}"
    return f"{minutes}m{text}" if minutes else text
