"""How an instance ends: withdrawn from the mesh, asked to stop, killed, taken away."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import shutil
import signal
import time
from collections.abc import Callable, Iterable, Iterator

from meshnet.cell import containers, network, record
from meshnet.cell.config import Config
from meshnet.cell.record import Names, Record
from meshnet.cell.threads import in_thread
from meshnet.kernel.bpf.datapath import CellDatapath
from meshnet.kernel.oci import Container
from meshnet.model.errors import MeshnetError

log = logging.getLogger("meshnet")

STOP_SECONDS = 10.0  # as Garden: SIGTERM, then SIGKILL
# From «BBS took it off its list» to the last proxy that has heard of it.
WITHDRAWN_SECONDS = 0.5
# Requests that were under way when it was withdrawn: as long as those may take to be answered.
ANSWER_SECONDS = 10.0
_POLL_SECONDS = 0.05
_RETRY_SECONDS, _MOST_RETRY_SECONDS = 0.2, 10.0


def ending(source: str, container: Container) -> tuple[str, str]:
    """How a container ended, in Diego's words: for its log, and as a crash reason. Blocking."""
    status = container.exit_status()
    number = "unknown" if status is None else str(status)
    memory = " (out of memory)" if status != 0 and container.out_of_memory() else ""
    return f"Exit status {number}{memory}", f"{source}: Exited with status {number}{memory}"


async def stop_app(
    config: Config, rec: Record, app: Container | None, say: Callable[[str], None]
) -> None:
    """Let requests under way be answered, then SIGTERM and patience, then SIGKILL.

    The proxies have been told, or hear it now, that the instance is gone; nothing happens where
    the app has ended already.

    Args:
        say: writes a line on how it ended to the app's log.
    """
    if app is None or not app.running():
        return
    ended = asyncio.Event()
    with watching((app,), ended):
        await _wait(ended, WITHDRAWN_SECONDS)
        deadline = time.monotonic() + ANSWER_SECONDS
        while time.monotonic() < deadline and not ended.is_set():
            if not await in_thread(containers.inbound_connections, config, rec):
                break
            await _wait(ended, _POLL_SECONDS)
        app.signal(signal.SIGTERM)
        killed = not await _wait(ended, STOP_SECONDS)
        if killed:
            app.signal(signal.SIGKILL)
            await _wait(ended, STOP_SECONDS)
    if not app.running():
        text, _ = await in_thread(ending, "", app)
        say(f"{text} (exceeded 10s graceful shutdown interval)" if killed else text)


async def remove(config: Config, rec: Record, datapath: CellDatapath) -> None:
    """Take everything away, and again until it is gone: till then its address stays taken."""
    pause, last = _RETRY_SECONDS, ""
    while True:
        try:
            return await in_thread(_remove_now, config, rec, datapath)
        except (MeshnetError, OSError) as exc:
            if str(exc) != last:
                log.warning("instance %s cannot be removed yet: %s", rec.guid, exc)
            last = str(exc)
        await asyncio.sleep(pause)
        pause = min(pause * 2, _MOST_RETRY_SECONDS)


def _remove_now(config: Config, rec: Record, datapath: CellDatapath) -> None:
    containers.remove(config, rec)
    network.remove(config, rec, datapath)
    shutil.rmtree(Names(config, rec).dir, ignore_errors=True)
    record.forget(config, rec.guid)


async def _wait(event: asyncio.Event, seconds: float) -> bool:
    """Wait for an event; whether it came."""
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(event.wait(), seconds)
    return event.is_set()


@contextlib.contextmanager
def watching(containers: Iterable[Container | None], ended: asyncio.Event) -> Iterator[None]:
    """Set `ended` when one of the containers ends."""
    loop = asyncio.get_running_loop()
    fds = [one.fileno() for one in containers if one is not None]

    def end(fd: int) -> None:
        loop.remove_reader(fd)  # it stays readable for ever
        ended.set()

    for fd in fds:
        loop.add_reader(fd, end, fd)
    try:
        yield
    finally:
        for fd in fds:
            loop.remove_reader(fd)
