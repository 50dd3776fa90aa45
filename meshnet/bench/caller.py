"""Requests from inside an app's container, without starting a process for each.

The script runs beside the app for as long as the benchmark does. A line in: a URL and a status; a
line out: when (CLOCK_MONOTONIC, ns, which all namespaces share) a request first had that status.
"""

from __future__ import annotations

import subprocess
import time
from types import TracebackType

from meshnet.kernel import launch
from meshnet.model.errors import PeerError

_SCRIPT = """
import sys, time, urllib.error, urllib.request
opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
for line in sys.stdin:
    url, wanted, seconds = line.split()
    end = time.monotonic() + float(seconds)
    while True:
        try:
            status = opener.open(url, timeout=2).status
        except urllib.error.HTTPError as exc:
            status = exc.code
        except OSError:
            status = 0
        if status == int(wanted) or time.monotonic() > end:
            print(time.monotonic_ns() if status == int(wanted) else 0, flush=True)
            break
"""


class Caller:
    """The script in an app's container. Owner: `close()`."""

    def __init__(self, container_pid: int) -> None:
        line = launch.argv(["python3", "-c", _SCRIPT], container_pid=container_pid)
        self._child = subprocess.Popen(
            line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def ask(self, url: str, status: int, seconds: float) -> None:
        """Begin to ask until the status comes."""
        assert self._child.stdin is not None
        self._child.stdin.write(f"{url} {status} {seconds}\n")
        self._child.stdin.flush()

    def answer(self, since: float) -> float:
        """Seconds from `since` (time.monotonic) to the answer. Raises PeerError: none came."""
        assert self._child.stdout is not None
        at_ns = int(self._child.stdout.readline() or 0)
        if not at_ns:
            raise PeerError("the caller did not get what it waited for")
        return max(0.0, at_ns / 1e9 - since)

    def close(self) -> None:
        """End the script."""
        self._child.kill()
        self._child.wait()

    def __enter__(self) -> Caller:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        self.close()


def now() -> float:
    """CLOCK_MONOTONIC, as the script reads it."""
    return time.monotonic()
