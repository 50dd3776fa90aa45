"""BBS as a process of its own on loopback, and what its callers do."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

from meshnet.model.errors import PeerError
from meshnet.wire import bbs_api as api
from meshnet.wire.bbs_client import BbsClient, BbsEvent, Connected
from meshnet.wire.gen import bbs_pb2 as pb

_MAIN = "import json, sys; from meshnet.bbs.main import run; run(json.loads(sys.argv[1]))"


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


class Bbs:
    """Started, killed and started again on one port with one store."""

    def __init__(self, directory: Path, **config: Any) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.config = {
            "listen_host": "127.0.0.1",
            "listen_port": self.port,
            "store": str(directory / "bbs.db"),
            **config,
        }
        self.process: subprocess.Popen[bytes] | None = None

    def spawn(self, **config: Any) -> subprocess.Popen[bytes]:
        argument = json.dumps({**self.config, **config})
        return subprocess.Popen([sys.executable, "-c", _MAIN, argument], stderr=subprocess.PIPE)

    async def start(self) -> None:
        self.process = self.spawn()
        async with BbsClient(self.url) as client:
            deadline = time.monotonic() + 20
            while True:
                try:
                    return await client.ping()
                except PeerError:
                    if time.monotonic() > deadline or self.process.poll() is not None:
                        raise
                await asyncio.sleep(0.02)

    def end(self, number: int) -> int:
        assert self.process is not None
        if self.process.poll() is None:
            os.kill(self.process.pid, number)
        code = self.process.wait(10)
        if self.process.stderr:
            self.process.stderr.close()
        return code

    def kill(self) -> None:
        self.end(signal.SIGKILL)


@contextlib.asynccontextmanager
async def running(directory: Path, **config: Any) -> AsyncIterator[tuple[Bbs, BbsClient]]:
    bbs = Bbs(directory, **config)
    await bbs.start()
    try:
        async with BbsClient(bbs.url) as client:
            yield bbs, client
    finally:
        bbs.kill()


def desired(guid: str, instances: int = 1, app: str = "") -> Any:
    return pb.DesiredLRP(
        process_guid=guid,
        domain="cf-apps",
        instances=instances,
        log_guid=app or guid,
        action=pb.Action(run_action=pb.RunAction(path="/bin/sh")),
    )


def net_info(lrp: Any) -> Any:
    return pb.ActualLRPNetInfo(
        address="10.0.16.21",
        instance_address=f"10.255.1.{lrp.actual_lrp_key.index + 2}",
        ports=[pb.PortMapping(container_port=8080, host_port=61000)],
    )


async def start(client: BbsClient, lrp: Any) -> None:
    await client.start_actual(lrp.actual_lrp_key, lrp.actual_lrp_instance_key, net_info(lrp))


async def crash(client: BbsClient, lrp: Any) -> None:
    await client.crash_actual(lrp.actual_lrp_key, lrp.actual_lrp_instance_key, "exit status 1")


async def until(what: Callable[[], Any], seconds: float = 10.0) -> Any:
    """The first truthy answer of an asynchronous question."""
    deadline = time.monotonic() + seconds
    while not (found := await what()):
        assert time.monotonic() < deadline, "it did not come about"
        await asyncio.sleep(0.02)
    return found


class Listener:
    """Follows events as the cell agent does: connects again for ever."""

    def __init__(self, url: str, cell_id: str = "") -> None:
        self.url, self.cell_id = url, cell_id
        self.events: list[BbsEvent] = []
        self.connections = 0
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Listener:
        self._task = asyncio.create_task(self._follow())

        async def connected() -> bool:
            return self.connections > 0

        await until(connected)
        return self

    async def __aexit__(self, *exc: object) -> None:
        assert self._task is not None
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task

    async def _follow(self) -> None:
        async with BbsClient(self.url) as client:
            while True:
                with contextlib.suppress(PeerError):
                    async for event in client.events(self.cell_id):
                        if isinstance(event, Connected):
                            self.connections += 1
                        else:
                            self.events.append(event)
                await asyncio.sleep(0.05)

    def names(self) -> list[str]:
        return [event.name for event in self.events]

    def states(self) -> list[str]:
        """The states that changed events left behind."""
        return [api.changed_lrp(e.message).state for e in self.events if e.name == api.CHANGED]
