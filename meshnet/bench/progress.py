"""What a benchmark says while it runs, on stderr, with the time that is left."""

from __future__ import annotations

import sys
import time

_MINUTES_FROM = 90  # seconds above which the time left is told in minutes


class Progress:
    """One line that changes on a terminal, a line each elsewhere. `total`: steps there will be."""

    def __init__(self, total: int) -> None:
        self._total, self._done, self._timed = total, 0, 0
        self._began = time.monotonic()

    def step(self, what: str) -> None:
        """Another step begins."""
        spent = time.monotonic() - self._began
        text = f"{self._done + 1}/{self._total}  {what}{self._left(spent)}"
        self._done += 1
        self._timed += 1
        if sys.stderr.isatty():
            print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)
        else:
            print(text, file=sys.stderr, flush=True)

    def skip(self) -> None:
        """Another step is left out, and took no time."""
        self._done += 1

    def _left(self, spent: float) -> str:
        if not self._timed:
            return ""
        left = spent / self._timed * (self._total - self._done)
        return f"  ({left / 60:.0f} min left)" if left > _MINUTES_FROM else f"  ({left:.0f} s left)"


def say(text: str) -> None:
    """A line of its own, over the one that changes."""
    start = "\r\033[K" if sys.stderr.isatty() else ""
    print(f"{start}{text}", file=sys.stderr, flush=True)


def clear() -> None:
    """End the line that changes."""
    if sys.stderr.isatty():
        print("\r\033[K", end="", file=sys.stderr, flush=True)
