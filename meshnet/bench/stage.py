"""Where a benchmark runs: alone, in a lab of its own that is taken down whatever happens."""

from __future__ import annotations

import shutil
import signal
import socket
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any, Protocol, TypeVar

from meshnet.bench.progress import say
from meshnet.model.errors import Conflict, PlatformError

PROGRAMS = ("wrk", "curl", "ss", "conntrack")
LOCK = "\0meshnet-bench"
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Openable(Protocol):
    """A lab and what is on it. Owner: `close()`, open or not."""

    def open(self, progress: Callable[[str], None]) -> None:
        """Bring it up."""

    def close(self) -> None:
        """Take it down."""


W = TypeVar("W", bound=Openable)


@contextmanager
def own_lab(make: Callable[[], W], programs: Iterable[str] | None = None) -> Iterator[W]:
    """A lab for the length of the block; a signal ends the block, and never the taking down.

    Args:
        make: of the world in it.
        programs: that the benchmark needs; default: PROGRAMS.

    Raises:
        Conflict: another benchmark runs.
        MeshnetError: it did not come up, or something of it is left.
        KeyboardInterrupt: a signal came.
    """
    for name in PROGRAMS if programs is None else programs:
        if shutil.which(name) is None:
            raise PlatformError(f"no {name}: run `make set-up`")
    with _alone(), Interruption() as interruption:
        world = make()
        try:
            world.open(say)
            yield world
        finally:
            interruption.closing = True
            world.close()


@contextmanager
def _alone() -> Iterator[None]:
    """Two would measure each other. An abstract socket: it cannot be left behind."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as lock:
        try:
            lock.bind(LOCK)
        except OSError as exc:
            raise Conflict(
                "another `meshnet bench` runs here, and two would measure each other: "
                "wait until it has ended"
            ) from exc
        yield


class Interruption:
    """Context in which the first SIGINT, SIGTERM or SIGHUP raises KeyboardInterrupt.

    An impatient second one is not heard: it would end the cleaning up half-way.

    Attributes:
        closing: set it where cleaning up begins without a signal, so that none ends it.
    """

    def __init__(self) -> None:
        self.closing = False
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Interruption:
        for number in _SIGNALS:
            # A shell starts what runs in its background with SIGINT ignored; that is no wish to
            # be spared, as nohup's SIGHUP is.
            if number != signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:
                self._before[number] = signal.signal(number, self._heard)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        where: TracebackType | None,
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _heard(self, number: int, frame: FrameType | None) -> None:
        if not self.closing:
            self.closing = True
            raise KeyboardInterrupt
