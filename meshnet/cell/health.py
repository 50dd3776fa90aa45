"""Health checks of an instance: of the app itself, at its own address, in its own namespace.

A connection from inside an instance's namespace to its own address passes no proxy, so what
answers is the app; one that listens on its loopback only is as unhealthy as nothing at all.
Texts are Diego's (cloudfoundry/healthcheck).
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket
import time

from meshnet.cell.journal import duration
from meshnet.cell.process import Check
from meshnet.cell.threads import in_thread
from meshnet.kernel import netns
from meshnet.model.errors import MeshnetError
from meshnet.model.patience import patient

_OK = 200
_WORDS = {
    errno.ECONNREFUSED: "connection refused",
    errno.ECONNRESET: "connection reset by peer",
    errno.EHOSTUNREACH: "no route to host",
}


class Unhealthy(MeshnetError):
    """A check failed; the text says how."""


async def probe(namespace: str, address: str, check: Check) -> None:
    """Make one check of the instance at `address` in the network namespace `namespace`.

    Raises:
        Unhealthy: it failed, or took longer than it may.
    """
    what = f"HTTP request to '{check.path}'" if check.path else "TCP connection"
    joint = "on" if check.path else "to"
    failed = f"Failed to make {what} {joint} port {check.port}"
    try:
        sock = await in_thread(netns.run, namespace, _socket)
    except (MeshnetError, OSError) as exc:
        raise Unhealthy(f"{failed}: {exc}") from exc
    with sock:
        began = time.monotonic()
        try:
            async with asyncio.timeout(patient(check.timeout)):
                await asyncio.get_running_loop().sock_connect(sock, (address, check.port))
                status = await _get(sock, check, address) if check.path else _OK
        except TimeoutError as exc:
            raise Unhealthy(f"{failed}: timed out after {check.timeout:.2f} seconds") from exc
        except (OSError, ValueError, EOFError) as exc:
            raise Unhealthy(f"{failed}: {_words(exc)}") from exc
        if status != _OK:
            took = duration(time.monotonic() - began)
            raise Unhealthy(f"{failed}: received status code {status} in {took}")


def _socket() -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    sock.setblocking(False)
    return sock


async def _get(sock: socket.socket, check: Check, address: str) -> int:
    """The status of a GET on a connected socket."""
    reader, writer = await asyncio.open_connection(sock=sock)
    try:
        writer.write(
            f"GET {check.path} HTTP/1.1\r\nHost: {address}:{check.port}\r\n"
            "User-Agent: diego-healthcheck\r\nConnection: close\r\n\r\n".encode()
        )
        line = await reader.readline()
        if not line:
            raise EOFError
        return int(line.split()[1])
    except IndexError as exc:
        raise ValueError("malformed HTTP response") from exc
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


def _words(exc: Exception) -> str:
    if isinstance(exc, OSError):
        return _WORDS.get(exc.errno or 0) or os.strerror(exc.errno or 0).lower()
    return "EOF" if isinstance(exc, EOFError) else "malformed HTTP response"
