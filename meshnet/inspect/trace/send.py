"""Sending the one request of a trace, from a node or beside an app."""

from __future__ import annotations

import json
import secrets
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from meshnet.inspect.trace.model import Request
from meshnet.kernel import launch
from meshnet.model.errors import InputError, PlatformError

HEADER = "x-meshnet-trace"
_END = "\x1emeshnet\x1e"


@dataclass(frozen=True)
class Source:
    """Where a request is sent from: a node's namespace, or an app's container by its pid."""

    name: str
    address: str
    netns: Path
    resolv_conf: Path | None = None
    container_pid: int = 0

    def argv(self, command: list[str]) -> list[str]:
        """The command line that runs `command` there."""
        if self.container_pid:
            return launch.argv(command, container_pid=self.container_pid)
        return launch.argv(command, netns=self.netns, resolv_conf=self.resolv_conf)


def check_url(url: str) -> tuple[str, int]:
    """(host, port) of an http URL. Raises InputError."""
    try:
        parts = urlsplit(url if "//" in url else f"http://{url}")
        host, port = parts.hostname, parts.port or 80
    except ValueError as exc:
        raise InputError(f"{url!r} is no URL: {exc}") from exc
    if parts.scheme != "http" or not host or any(c.isspace() for c in url):
        raise InputError(
            f"{url!r}: trace wants an http URL, e.g. http://backend.istio.apps.internal:8080/"
        )
    return host, port


def send(source: Source, url: str, method: str, timeout: float) -> Request:
    """Send it and wait for the answer.

    Raises:
        PlatformError: curl could not be run there.
    """
    host, port = check_url(url)
    marker = secrets.token_hex(8)
    command = [
        *("curl", "-sS", "-X", method, "-H", f"{HEADER}: {marker}", "--max-time", str(timeout)),
        *("-w", _END + "%{json}", "--", url),
    ]
    began = time.time_ns()
    done = subprocess.run(source.argv(command), capture_output=True, check=False)
    ended = time.time_ns()
    body, _, report = done.stdout.decode("utf-8", "replace").partition(_END)
    try:
        said = json.loads(report)
    except ValueError as exc:
        raise PlatformError(f"cannot run curl in {source.name}: {_last(done.stderr)}") from exc
    return Request(
        source=source.name,
        container=source.address,
        url=url,
        host=host,
        port=port,
        marker=marker,
        began_ns=began,
        ended_ns=ended,
        status=int(said["http_code"]),
        error=said.get("errormsg") or "",
        local=(said["local_ip"], int(said["local_port"])),
        remote=(said["remote_ip"], int(said["remote_port"])),
        seconds=float(said["time_total"]),
        body=body,
    )


def _last(stderr: bytes) -> str:
    lines = stderr.decode("utf-8", "replace").strip().splitlines()
    return lines[-1] if lines else "it said nothing"
