"""Capturing at several points at once, in order of time."""

from __future__ import annotations

import contextlib
import select
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from meshnet.inspect.points import Point
from meshnet.kernel.packets import Filter, Frame, Tap
from meshnet.model.errors import InputError, NotFound, PlatformError

SNAPLEN = 262_144
_LOOK_SECONDS = 0.2  # so often `stop` is asked
_HOLD_NS = 5_000_000  # a frame of another point may be older by that much


@dataclass(frozen=True)
class Captured:
    """A frame, and the point (by its number) where it was seen."""

    number: int
    point: Point
    frame: Frame


def compile_filter(expression: str, snaplen: int = SNAPLEN) -> Filter:
    """Classic BPF of an expression in tcpdump's language (pcap-filter(7)).

    Raises:
        InputError: it does not parse; tcpdump says why.
        PlatformError: tcpdump is not installed.
    """
    if not expression.strip():
        return ()
    line = ["tcpdump", "-y", "EN10MB", "-s", str(snaplen), "-ddd", "--", expression]
    try:
        done = subprocess.run(line, capture_output=True, text=True, check=False)
    except OSError as exc:
        raise PlatformError(f"cannot run tcpdump: {exc.strerror}: make set-up") from exc
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["it does not parse"])[-1]
        raise InputError(f"filter {expression!r}: {last.removeprefix('tcpdump: ')}")
    rows = done.stdout.split("\n")[1:]
    found = [tuple(map(int, row.split())) for row in rows if row.strip()]
    return [(code, jt, jf, k) for code, jt, jf, k in found]


class Capture:
    """Taps at points, from its making on. Owner: `close()`."""

    def __init__(
        self,
        points: Sequence[Point],
        expression: str = "",
        snaplen: int = SNAPLEN,
        *,
        skip_gone: bool = False,
    ):
        """Begin at once.

        Args:
            skip_gone: leave out points whose interface or namespace is gone.

        Raises:
            InputError: the filter does not parse.
            NotFound: a point's interface or namespace is gone.
        """
        program = compile_filter(expression, snaplen)
        self.points: list[Point] = []
        self._taps: list[Tap] = []
        self._held: list[Captured] = []
        try:
            for point in points:
                with contextlib.suppress(*([NotFound] if skip_gone else [])):
                    self._taps.append(Tap(point.netns, point.ifname, program, snaplen))
                    self.points.append(point)
        except BaseException:
            self.close()
            raise
        self.seen = [0] * len(self.points)

    def read(self, timeout: float) -> list[Captured]:
        """Frames that have come, oldest first, after waiting so many seconds at most."""
        wait = min(timeout, _HOLD_NS / 1e9) if self._held else timeout
        ready, _, _ = select.select(self._taps, [], [], max(0.0, wait))
        for tap in ready:
            self._take(self._taps.index(tap), tap)
        ripe = time.time_ns() - _HOLD_NS
        found = [one for one in self._held if one.frame.time_ns <= ripe]
        self._held = [one for one in self._held if one.frame.time_ns > ripe]
        return sorted(found, key=lambda one: one.frame.time_ns)

    def _take(self, number: int, tap: Tap) -> None:
        frames = tap.read()
        self.seen[number] += len(frames)
        self._held += [Captured(number, self.points[number], frame) for frame in frames]

    def rest(self) -> list[Captured]:
        """Everything that has come up to now."""
        for number, tap in enumerate(self._taps):
            self._take(number, tap)
        found, self._held = sorted(self._held, key=lambda one: one.frame.time_ns), []
        return found

    def follow(
        self, seconds: float | None = None, stop: Callable[[], bool] = lambda: False
    ) -> Iterator[Captured]:
        """Frames as they come, for so many seconds (None: for ever) or until `stop` says so."""
        until = None if seconds is None else time.monotonic() + seconds
        while not stop() and (until is None or time.monotonic() < until):
            left = _LOOK_SECONDS if until is None else min(_LOOK_SECONDS, until - time.monotonic())
            yield from self.read(left)
        yield from self.rest()

    def dropped(self) -> list[int]:
        """Frames the kernel had no room for, by point."""
        return [tap.dropped() for tap in self._taps]

    def close(self) -> None:
        """End."""
        for tap in self._taps:
            tap.close()
        self._taps = []

    def __enter__(self) -> Capture:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
