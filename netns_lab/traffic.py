"""Real requests from a node of the lab: curl, in the node's namespace, with the lab's DNS."""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from meshnet.kernel import launch, netns
from meshnet.model.errors import PeerError
from meshnet.model.patience import patient

# Behind each body curl writes this mark, the status (000: no answer) and the seconds it took.
_MARK = "\x1e"
_WRITE_OUT = f"{_MARK}%{{http_code}} %{{time_total}}\n"


@dataclass(frozen=True)
class Reply:
    """One answer: HTTP status (0: none came), seconds, body."""

    status: int
    seconds: float
    body: str

    def json(self) -> dict[str, Any]:
        """The body as a JSON object; an empty one where it is none."""
        try:
            value = json.loads(self.body)
        except ValueError:
            return {}
        return value if isinstance(value, dict) else {}


def _parse(output: str) -> list[Reply]:
    replies, rest = [], output
    while _MARK in rest:
        body, _, rest = rest.partition(_MARK)
        line, _, rest = rest.partition("\n")
        status, seconds = line.split()
        replies.append(Reply(int(status), float(seconds.replace(",", ".")), body))
    return replies


class Node:
    """A node to send requests from."""

    def __init__(self, netns_name: str, resolv_conf: Path | None) -> None:
        self._where = netns.path(netns_name)
        self._resolv_conf = resolv_conf

    def argv(self, command: Sequence[str]) -> list[str]:
        """The command line that runs `command` in this node."""
        return launch.argv(command, netns=self._where, resolv_conf=self._resolv_conf)

    def get(
        self, url: str, *, times: int = 1, timeout: float = 20.0, fresh: bool = True
    ) -> list[Reply]:
        """GET `url` `times` times, one after the other.

        Args:
            timeout: seconds that each request may take.
            fresh: a new connection for each; else one is kept.

        Raises:
            PeerError: the node is gone.
        """
        command = ["curl", "-sS", "--max-time", str(patient(timeout)), "--write-out", _WRITE_OUT]
        if fresh:
            command += ["-H", "Connection: close"]
        done = subprocess.run(
            self.argv([*command, *[url] * times]), capture_output=True, text=True, check=False
        )
        if done.returncode == launch.NOT_ENTERED:
            raise PeerError(
                f"no request can be sent from {self._where.name}: {done.stderr.strip()}"
            )
        return _parse(done.stdout)


class Load:
    """Requests that go on in the background until `stop`, which returns every reply."""

    def __init__(self, node: Node, url: str, batch: int = 20) -> None:
        self._node, self._url, self._batch = node, url, batch
        self._replies: list[Reply] = []
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._over.is_set():
            try:
                self._replies += self._node.get(self._url, times=self._batch)
            except PeerError:
                return  # the next one to ask for it hears why

    def so_far(self) -> list[Reply]:
        """The replies that have come."""
        return list(self._replies)

    def stop(self) -> list[Reply]:
        """Finish the batch under way; all replies."""
        self._over.set()
        self._thread.join()
        return self._replies

    def __enter__(self) -> Load:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
