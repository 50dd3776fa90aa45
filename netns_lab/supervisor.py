"""`meshnet run supervisor`: starts a lab's daemons, each in its node, and restarts dead ones."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import signal
import socket
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from meshnet.kernel import cgroup, netns, procs
from meshnet.model.errors import MeshnetError
from meshnet.wire import kept_sockets, runtime
from netns_lab.paths import Paths

log = logging.getLogger("meshnet")

FIRST_PAUSE, MOST_PAUSE = 0.1, 5.0  # seconds before a dead daemon is started again
STEADY_SECONDS = 10.0  # a daemon that ran so long starts over at the first pause
STOP_SECONDS = 5.0
_MOST_KEPT = 8  # sockets of a daemon
MAX_LOG_BYTES = 16 * 1024 * 1024
_LOG_CHECK_SECONDS = 10.0


@dataclass
class Watched:
    """One daemon and how it fares."""

    name: str
    room: str
    netns: str
    config: Path
    log: Path
    pid: int = 0
    ready: bool = False  # its process has said so
    process: procs.Process | None = None
    restarts: int = 0
    kept: list[int] = field(default_factory=list)  # sockets for its next process
    since: float = field(default_factory=time.time)

    def row(self) -> dict[str, Any]:
        """For `lab status`."""
        # Who was killed does not serve, though we may not have come to take note of it.
        runs = self.process is not None and self.process.running()
        found = {key: getattr(self, key) for key in ("name", "room", "pid", "restarts", "since")}
        return {**found, "ready": self.ready and runs, "log": str(self.log)}


class Supervisor:
    """All daemons of a lab."""

    def __init__(self, paths: Paths, daemons: list[Watched]) -> None:
        self._paths, self.daemons = paths, daemons
        self._group = cgroup.create(f"{paths.cgroup}/daemons")

    async def keep(self, daemon: Watched) -> None:
        """Run one daemon for ever."""
        pause = FIRST_PAUSE
        notify = _Notify(self._paths.run / "sock" / f"{daemon.name}.notify", daemon)
        try:
            while True:
                began = time.monotonic()
                try:
                    await self._run(daemon, notify)
                except (MeshnetError, OSError) as exc:  # no memory for one more process, perhaps
                    log.error("%s cannot be started: %s", daemon.name, exc)
                if time.monotonic() - began > STEADY_SECONDS:
                    pause = FIRST_PAUSE
                daemon.restarts += 1
                await asyncio.sleep(pause)
                pause = min(pause * 2, MOST_PAUSE)
        finally:
            notify.close()

    async def _run(self, daemon: Watched, notify: _Notify) -> None:
        line = [sys.executable, "-m", "meshnet.cli.main", "run", daemon.room]
        environment = {**os.environ, "NOTIFY_SOCKET": str(notify.path)}
        if daemon.kept:
            environment[kept_sockets.VARIABLE] = ",".join(map(str, daemon.kept))
        process = procs.start(
            [*line, "--config", str(daemon.config)],
            log=daemon.log,
            env=environment,
            pass_fds=daemon.kept,
            netns=netns.path(daemon.netns),
            cgroups=[self._group],
        )
        daemon.process, daemon.pid = process, process.pid
        daemon.ready, daemon.since = False, time.time()
        loop, ended = asyncio.get_running_loop(), asyncio.Event()
        loop.add_reader(process.fileno(), ended.set)
        try:
            await ended.wait()
            log.warning("%s (pid %d) ended: %s", daemon.name, process.pid, process.exit_status())
        except asyncio.CancelledError:
            process.signal(signal.SIGTERM)
            await asyncio.to_thread(process.stop, STOP_SECONDS)
            raise
        finally:
            loop.remove_reader(process.fileno())
            process.wait(0)
            daemon.ready, daemon.process = False, None
            process.close()

    async def cap_logs(self) -> None:
        """Empty a log that has grown too large; its writers append, so they go on at its start."""
        while True:
            for path in self._paths.log.glob("*.log"):
                # Instances' logs come and go meanwhile.
                with contextlib.suppress(FileNotFoundError):
                    if path.stat().st_size > MAX_LOG_BYTES:
                        os.truncate(path, 0)
            await asyncio.sleep(_LOG_CHECK_SECONDS)

    def application(self) -> Starlette:
        """The status socket's application."""

        async def status(request: Request) -> JSONResponse:
            return JSONResponse({"daemons": [d.row() for d in self.daemons]})

        return Starlette(routes=[Route("/status", status)])


class _Notify:
    """One daemon's sd_notify(3) socket."""

    def __init__(self, path: Path, daemon: Watched) -> None:
        self.path, self._daemon = path, daemon
        path.unlink(missing_ok=True)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self._socket.bind(str(path))
        asyncio.get_running_loop().add_reader(self._socket.fileno(), self._read)

    def _read(self) -> None:
        text, descriptors, _, _ = socket.recv_fds(self._socket, 4096, _MOST_KEPT)
        lines = text.split(b"\n")
        if b"READY=1" in lines:
            self._daemon.ready = True
        if b"FDSTORE=1" in lines:
            descriptors, self._daemon.kept = self._daemon.kept, descriptors
        for descriptor in descriptors:
            os.close(descriptor)

    def close(self) -> None:
        asyncio.get_running_loop().remove_reader(self._socket.fileno())
        self._socket.close()


async def serve(paths: Paths, daemons: list[Watched]) -> None:
    """Supervise until cancelled; then every daemon is ended."""
    supervisor = Supervisor(paths, daemons)
    async with asyncio.TaskGroup() as tasks:
        app = supervisor.application()
        tasks.create_task(runtime.serve_asgi(app, uds=str(paths.supervisor_socket)))
        tasks.create_task(supervisor.cap_logs())
        for daemon in daemons:
            tasks.create_task(supervisor.keep(daemon))


def run(config: dict[str, Any]) -> None:
    """Entry point; `config` is {"lab": ..., "daemons": [{name, room, netns}]}."""
    paths = Paths(config["lab"])
    daemons = [
        Watched(
            **row,
            config=paths.run / "config" / f"{row['name']}.json",
            log=paths.log / f"{row['name']}.log",
        )
        for row in config["daemons"]
    ]
    runtime.run_async(lambda: serve(paths, daemons))


def write_config(paths: Paths, rows: list[dict[str, str]]) -> Path:
    """The supervisor's own configuration file."""
    path = paths.run / "config" / "supervisor.json"
    path.write_text(json.dumps({"lab": paths.lab, "daemons": rows}), encoding="utf-8")
    return path
