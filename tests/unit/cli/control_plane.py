"""BBS, Copilot, policy server, API and DNS as processes on loopback, and a cell that says yes."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

from meshnet.capi.uaa.keys import PUBLIC, KeyRing
from meshnet.model.errors import MeshnetError
from meshnet.wire import bbs_api as api
from meshnet.wire.bbs_client import BbsClient, Connected
from meshnet.wire.gen import bbs_pb2 as pb

HOST = "127.0.0.1"
ROOM = 20  # instances that the cell takes
ROOMS = ("bbs", "copilot", "policy", "capi", "dns")


def free_port() -> int:
    """Below those of outgoing connections, which would take it before a daemon listens."""
    while True:
        port = random.randrange(15_000, 32_000)
        with socket.socket() as s, contextlib.suppress(OSError):
            s.bind((HOST, port))
            return port


class ControlPlane:
    def __init__(self, directory: Path) -> None:
        self.directory = directory
        KeyRing.open(directory / "keys")
        names = ("bbs", "cc", "vip", "mcp", "external", "internal", "capi", "dns")
        self.ports = {name: free_port() for name in names}
        self.api = self._url("capi")
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.environment = {"CF_API": self.api, "CF_USER": "admin", "CF_PASSWORD": "pw"}

    def _url(self, name: str) -> str:
        return f"http://{HOST}:{self.ports[name]}"

    def _config(self, room: str) -> dict[str, Any]:
        ports, bbs = self.ports, self._url("bbs")
        own: dict[str, dict[str, Any]] = {
            "bbs": {"listen_port": ports["bbs"]},
            "copilot": {
                "cc_port": ports["cc"],
                "vip_port": ports["vip"],
                "mcp_port": ports["mcp"],
                "bbs_url": bbs,
                "policy_url": self._url("internal"),
            },
            "policy": {
                "external_port": ports["external"],
                "internal_port": ports["internal"],
                "capi_url": self.api,
                "token_keys": str(self.directory / "keys" / PUBLIC),
                "uaa_secret": "of cells",
            },
            "capi": {
                "listen_port": ports["capi"],
                "droplet_dir": str(self.directory / "droplets"),
                "copilot_addr": f"{HOST}:{ports['cc']}",
                "bbs_url": bbs,
                "policy_url": self._url("external"),
                "policy_internal_url": self._url("internal"),
                "log_cache_url": f"http://{HOST}:9",
                "log_cache_addr": f"{HOST}:9",
                "token_key_dir": str(self.directory / "keys"),
                "users": {"admin": "pw"},
                "internal_user": "cells",
                "internal_password": "of cells",
                "domains": [
                    {"name": "istio.mesh.lab", "internal": False, "istio": True},
                    {"name": "istio.apps.internal", "internal": True, "istio": True},
                    {"name": "apps.internal", "internal": True, "istio": False},
                ],
            },
            "dns": {
                "port": ports["dns"],
                "zone": {"*.istio.mesh.lab": ["10.0.16.10"]},
                "vip_domains": ["istio.apps.internal"],
                "internal_domains": ["apps.internal"],
                "vip_resolver_addr": f"{HOST}:{ports['vip']}",
                "bbs_url": bbs,
            },
        }
        store = {} if room == "dns" else {"store": str(self.directory / f"{room}.db")}
        return {"listen_host": HOST, **store, **own[room]}

    def start(self, *rooms: str, **changes: Any) -> None:
        for room in rooms:
            config = self.directory / f"{room}.json"
            config.write_text(json.dumps(self._config(room) | changes), encoding="utf-8")
            line = [sys.executable, "-m", "meshnet.cli.main", "run", room, "--config", str(config)]
            with (self.directory / f"{room}.log").open("ab") as log:
                self.processes[room] = subprocess.Popen(line, stderr=log)
        waited = {"bbs": ["bbs"], "copilot": ["cc", "vip"], "policy": ["external", "internal"]}
        deadline = time.monotonic() + 30
        for room in rooms:
            for name in waited.get(room, [room]):
                self._listening(room, name, deadline)

    def _listening(self, room: str, name: str, deadline: float) -> None:
        while True:
            with contextlib.suppress(OSError):
                socket.create_connection((HOST, self.ports[name]), 1).close()
                return
            ended = self.processes[room].poll() is not None
            if ended or time.monotonic() > deadline:
                raise AssertionError((self.directory / f"{room}.log").read_text())
            time.sleep(0.02)

    def end(self, room: str, number: int = signal.SIGKILL) -> int:
        process = self.processes.pop(room)
        process.send_signal(number)
        return process.wait(15)

    def close(self) -> None:
        for room in list(self.processes):
            self.end(room)


class Cell:
    """Reports every instance it is given as running, at 10.255.1.<2 + index>.

    Attributes:
        crash_reason: where set, instances crash instead, with it.
        waits: instances are left alone: they neither run nor crash.
    """

    def __init__(self, url: str) -> None:
        self._url, self._loop = url, asyncio.new_event_loop()
        self.crash_reason, self.waits = "", False
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        with contextlib.suppress(asyncio.CancelledError):
            self._loop.run_until_complete(self._serve())
        self._loop.close()

    async def _serve(self) -> None:
        self._task = asyncio.current_task()
        async with BbsClient(self._url) as bbs:
            while True:
                with contextlib.suppress(MeshnetError):
                    await bbs.presence("cell-1", "http://10.0.16.21", 900, ROOM)
                    async for event in bbs.events("cell-1"):
                        await self._take(bbs, event)
                await asyncio.sleep(0.05)

    async def _take(self, bbs: BbsClient, event: Any) -> None:
        if isinstance(event, Connected):
            lrps = await bbs.actual_lrps(cell_id="cell-1")
        elif event.name == api.CHANGED:
            lrps = [api.changed_lrp(event.message)]
        else:
            lrps = [event.message.actual_lrp] if event.name == api.CREATED else []
        for lrp in lrps:
            if lrp.state == api.CLAIMED and not self.waits:
                index = lrp.actual_lrp_key.index
                port = pb.PortMapping(container_port=8080, host_port=61000 + index)
                net = pb.ActualLRPNetInfo(
                    address="10.0.16.21", instance_address=f"10.255.1.{2 + index}", ports=[port]
                )
                with contextlib.suppress(MeshnetError):
                    key, instance = lrp.actual_lrp_key, lrp.actual_lrp_instance_key
                    if self.crash_reason:
                        await bbs.crash_actual(key, instance, self.crash_reason)
                        continue
                    await bbs.start_actual(key, instance, net)

    def close(self) -> None:
        self._loop.call_soon_threadsafe(lambda: self._task and self._task.cancel())
        self._thread.join()
