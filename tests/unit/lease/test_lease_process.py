"""The lease controller as a real process: its API, its long poll, and kill -9."""

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
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from meshnet.model.errors import Conflict, InputError, PeerError
from meshnet.wire.lease_api import Lease
from meshnet.wire.lease_client import LeaseClient

_MAIN = "import json, sys; from meshnet.lease.main import run; run(json.loads(sys.argv[1]))"
ONE = Lease("10.0.16.21", "10.255.1.0/24", "ee:ee:0a:ff:01:00")


class Controller:
    def __init__(self, directory: Path, **config: Any) -> None:
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            self.port = s.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.config = {
            "listen_host": "127.0.0.1",
            "listen_port": self.port,
            "store": str(directory / "lease.db"),
            "overlay": "10.255.0.0/16",
            "static": {"10.0.16.21": "10.255.1.0/24", "10.0.16.22": "10.255.2.0/24"},
            **config,
        }

    async def start(self) -> None:
        self.process = subprocess.Popen([sys.executable, "-c", _MAIN, json.dumps(self.config)])
        client, deadline = LeaseClient(self.url), time.monotonic() + 20
        try:
            while True:
                try:
                    await client.leases()
                    return
                except PeerError:
                    assert time.monotonic() < deadline and self.process.poll() is None
                await asyncio.sleep(0.02)
        finally:
            await client.close()

    def end(self, number: int) -> int:
        if self.process.poll() is None:
            os.kill(self.process.pid, number)
        return self.process.wait(10)


@contextlib.asynccontextmanager
async def running(directory: Path, **config: Any) -> AsyncIterator[tuple[Controller, LeaseClient]]:
    controller = Controller(directory, **config)
    await controller.start()
    client = LeaseClient(controller.url)
    try:
        yield controller, client
    finally:
        await client.close()
        controller.end(signal.SIGKILL)


def test_a_lease_is_acquired_renewed_listed_and_released(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with running(tmp_path) as (_, client):
            assert await client.acquire("10.0.16.21") == ONE == await client.acquire("10.0.16.21")
            other = await client.acquire("10.0.16.40")
            assert other == Lease("10.0.16.40", "10.255.3.0/24", "ee:ee:0a:ff:03:00")
            assert other.vtep_ip == "10.255.3.0"
            await client.renew(ONE)
            with pytest.raises(Conflict):
                await client.renew(Lease("10.0.16.21", "10.255.3.0/24", "ee:ee:0a:ff:03:00"))
            assert await client.leases() == [ONE, other]
            await client.release("10.0.16.40")
            await client.release("10.0.16.40")
            with pytest.raises(Conflict):
                await client.renew(other)
            assert await client.leases() == [ONE]

    asyncio.run(scenario())


def test_a_watcher_hears_of_a_change_at_once(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with running(tmp_path) as (_, client):
            version, leases = await client.watch(0)
            assert leases == []
            watch = asyncio.create_task(client.watch(version))
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(asyncio.shield(watch), 0.2)
            await client.acquire("10.0.16.21")
            version, leases = await asyncio.wait_for(watch, 1)
            assert leases == [ONE]
            watch = asyncio.create_task(client.watch(version))
            await client.acquire("10.0.16.21")  # nothing new
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(watch, 0.2)

    asyncio.run(scenario())


def test_after_kill_9_leases_are_back_and_no_watcher_misses_a_change(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with running(tmp_path) as (controller, client):
            await client.acquire("10.0.16.21")
            version, _ = await client.watch(0)
            controller.end(signal.SIGKILL)
            await controller.start()
            assert await client.leases() == [ONE]
            # Another cell comes before this watcher asks again.
            other = await client.acquire("10.0.16.22")
            newer, leases = await asyncio.wait_for(client.watch(version), 2)
            assert leases == [ONE, other]
            assert newer > version

    asyncio.run(scenario())


def test_bad_requests_are_refused_with_a_reason(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with running(tmp_path) as (controller, client):
            with pytest.raises(InputError, match="no IPv4 address"):
                await client.acquire("cell-1")
            async with httpx.AsyncClient(base_url=controller.url) as http:
                for body in (b"", b"[]", b"{", b"{}", b'{"underlay_ip": 7}', b"[" * 100_000):
                    for path in ("acquire", "renew", "release"):
                        reply = await http.put(f"/leases/{path}", content=body)
                        assert (reply.status_code, list(reply.json())) == (400, ["error"])
                for since in ("x", "-1", "²", "9" * 30):
                    reply = await http.get("/leases/watch", params={"since": since})
                    assert reply.status_code == 400
            assert await client.leases() == []

    asyncio.run(scenario())


def test_sigterm_ends_it_with_0_although_a_watcher_waits(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with running(tmp_path) as (controller, client):
            version, _ = await client.watch(0)
            watch = asyncio.create_task(client.watch(version))
            await client.leases()
            began = time.monotonic()
            assert await asyncio.to_thread(controller.end, signal.SIGTERM) == 0
            assert time.monotonic() - began < 3
            # Its long poll is answered with what there is, or cut: never left hanging.
            with contextlib.suppress(PeerError):
                assert (await asyncio.wait_for(watch, 5))[0] == version

    asyncio.run(scenario())
