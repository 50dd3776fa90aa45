"""`meshnet run lb`: L4 balancing of one public address over the routers, by eBPF.

The kernel balances; this process attaches the program and says which routers are alive.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from meshnet.kernel.bpf.datapath import LbDatapath
from meshnet.model.patience import patient
from meshnet.proxy.bootstrap import METRICS_PORT
from meshnet.wire import runtime

log = logging.getLogger("meshnet")

PORT = 80
CHECK_SECONDS, CONNECT_SECONDS = 0.5, 0.4
_LATE_SECONDS = 0.1
# A router whose Envoy is stopped or stuck: its kernel takes connections for it all the same.
ANSWER_SECONDS, SILENT_TIMES = 1.0, 3
_ASK = b"GET / HTTP/1.1\r\nHost: lb\r\nConnection: close\r\n\r\n"


@dataclass(frozen=True)
class Config:
    """The public address, the lb's own, the interface both are on, the routers' own addresses."""

    public_ip: str
    own_ip: str
    ifname: str
    routers: list[str]
    pin_dir: str
    status_socket: str


async def alive(address: str, source: str) -> bool:
    """Whether a router takes connections at its own address.

    Asked from the lb's own address: the public one is the router's too, so that a packet from it
    would be dropped there as its own.
    """
    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            _, writer = await asyncio.open_connection(address, PORT, local_addr=(source, 0))
        writer.close()
        return True
    except (OSError, TimeoutError):
        return False


async def silent(address: str, source: str) -> bool:
    """Whether a router's Envoy takes a request, at its metrics' port, and does not answer.

    There, and not where users ask, so that no user's log and no statistics have it.
    """
    try:
        async with asyncio.timeout(patient(ANSWER_SECONDS)):
            connecting = asyncio.open_connection(address, METRICS_PORT, local_addr=(source, 0))
            reader, writer = await connecting
            try:
                writer.write(_ASK)
                await reader.read(1)
            finally:
                writer.close()
    except TimeoutError:
        return True
    except OSError:
        pass  # there is nobody, which `alive` sees
    return False


def mac_of(address: str, proc_net_arp: str) -> str | None:
    """The MAC address of a neighbour in a /proc/net/arp text; None where it is not known."""
    for line in proc_net_arp.splitlines()[1:]:
        fields = line.split()
        if fields[0] == address and fields[3] != "00:00:00:00:00:00":
            return fields[3]
    return None


class Balancer:
    """Keeps the program's table equal to the routers that are alive."""

    def __init__(self, config: Config, datapath: LbDatapath) -> None:
        self._config, self._datapath = config, datapath
        self._routers: list[tuple[str, str]] | None = None
        self._silent: Counter[str] = Counter()  # times in a row
        self._ready = False

    async def check(self) -> None:
        """Look at every router again and again."""
        while True:
            states = await self._well(await self._states())
            arp = Path("/proc/net/arp").read_text(encoding="ascii")
            live = [a for a, up in zip(self._config.routers, states, strict=True) if up]
            routers = [(a, mac) for a in live if (mac := mac_of(a, arp))]
            if routers != self._routers:
                log.info("routers: %s", ", ".join(a for a, _ in routers) or "none")
                self._datapath.set_routers(routers)
                self._routers = routers
            if routers and not self._ready:
                self._ready = True
                runtime.notify_ready()
            await asyncio.sleep(CHECK_SECONDS)

    async def _states(self) -> list[bool]:
        """Which routers are alive, in their order."""
        for _ in range(2):
            began = time.monotonic()
            states = await asyncio.gather(
                *(alive(a, self._config.own_ip) for a in self._config.routers)
            )
            # Where this process did not run meanwhile (stopped, starved), its own deadline was over
            # whatever the routers did: all of them would count as dead at once.
            if all(states) or time.monotonic() - began < CONNECT_SECONDS + _LATE_SECONDS:
                break
        return states

    async def _well(self, states: list[bool]) -> list[bool]:
        """Of those alive the ones that answer; where none does (great load), all of them."""
        routers, source = self._config.routers, self._config.own_ip
        asked = [a for a, up in zip(routers, states, strict=True) if up]
        answers = await asyncio.gather(*(silent(a, source) for a in asked))
        for address, says_nothing in zip(asked, answers, strict=True):
            self._silent[address] = self._silent[address] + 1 if says_nothing else 0
        well = [
            up and self._silent[a] < SILENT_TIMES for a, up in zip(routers, states, strict=True)
        ]
        return well if any(well) else states

    def status(self) -> dict[str, Any]:
        """For `lab status`."""
        counters = {k: v for k, v in self._datapath.counters().items() if v}
        return {"routers": [a for a, _ in self._routers or ()], "counters": counters}


async def serve(config: Config) -> None:
    """Serve until cancelled; the program stays attached."""
    datapath = LbDatapath.open(Path(config.pin_dir), config.public_ip)
    datapath.attach(socket.if_nametoindex(config.ifname))
    balancer = Balancer(config, datapath)

    async def status(request: Request) -> JSONResponse:
        return JSONResponse(balancer.status())

    app = Starlette(routes=[Route("/status", status)])
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(runtime.serve_asgi(app, uds=config.status_socket))
        tasks.create_task(balancer.check())


def run(config: dict[str, Any]) -> None:
    """Entry point of the daemon."""
    parsed = runtime.parse(Config, config)
    runtime.run_async(lambda: serve(parsed))
