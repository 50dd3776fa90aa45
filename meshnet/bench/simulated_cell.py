"""A cell without containers: speaks BBS's protocol honestly, and answers for each of its instances.

`python -m meshnet.bench.simulated_cell JSON` with {"bbs_url", "cell_id", "address", "room", "tls"}.
What BBS places here is started at once; an instance is a port that answers requests with "GUID
INDEX", and goes on to do so for a moment after it was taken away, as a drained container does.
"present" is printed when BBS may place.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import resource
import sys
from typing import Any

from meshnet.model.errors import Conflict, NotFound, PeerError
from meshnet.wire import bbs_api as api
from meshnet.wire.bbs_client import BbsClient, Connected
from meshnet.wire.gen import bbs_pb2 as pb
from meshnet.wire.tls import Tls

_FIRST_PORT = 20_000
_DRAIN_SECONDS = 10.0
_PRESENCE_SECONDS, _PRESENCE_TTL_SECONDS = 3.0, 15
_STARTS_AT_ONCE = 8


class _Answering(asyncio.Protocol):
    """Answers every request on a connection with the same body. Requests have no bodies."""

    def __init__(self, body: bytes) -> None:
        head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n"
        self._answer, self._rest = head.encode() + body, b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Answer each head that is complete."""
        *heads, self._rest = (self._rest + data).split(b"\r\n\r\n")
        assert isinstance(self._transport, asyncio.WriteTransport)
        self._transport.write(self._answer * len(heads))


class Cell:
    """The instances by guid, and the ports that answer for them."""

    def __init__(self, bbs: BbsClient, cell_id: str, address: str, room: int) -> None:
        self._bbs, self._id, self._address, self._room = bbs, cell_id, address, room
        self._servers: dict[str, asyncio.Server] = {}
        self._next_port = _FIRST_PORT
        self._starting = asyncio.Semaphore(_STARTS_AT_ONCE)

    async def be_present(self) -> None:
        """Keep the cell's presence."""
        while True:
            with contextlib.suppress(PeerError):
                await self._present()
            await asyncio.sleep(_PRESENCE_SECONDS)

    async def _present(self) -> None:
        await self._bbs.presence(self._id, self._address, _PRESENCE_TTL_SECONDS, self._room)

    async def follow(self, tasks: asyncio.TaskGroup) -> None:
        """Follow this cell's events, for ever."""
        while True:
            with contextlib.suppress(PeerError):
                async for event in self._bbs.events(self._id):
                    if isinstance(event, Connected):
                        await self._present()
                        print("present", flush=True)
                        wanted = await self._bbs.actual_lrps(cell_id=self._id)
                    elif event.name == api.CREATED:
                        wanted = [event.message.actual_lrp]
                    elif event.name == api.CHANGED:
                        wanted = [api.changed_lrp(event.message)]
                    else:
                        wanted = []
                        if event.name == api.REMOVED:
                            tasks.create_task(self._stop(event.message.actual_lrp))
                    for lrp in wanted:
                        tasks.create_task(self._start(lrp))
            await asyncio.sleep(0.2)

    async def _start(self, lrp: Any) -> None:
        guid = lrp.actual_lrp_instance_key.instance_guid
        if lrp.state != api.CLAIMED or guid in self._servers:
            return
        async with self._starting:
            body = f"{lrp.actual_lrp_key.process_guid} {lrp.actual_lrp_key.index}".encode()
            loop, port = asyncio.get_running_loop(), self._next_port
            self._next_port += 1
            self._servers[guid] = await loop.create_server(
                lambda: _Answering(body), self._address, port
            )
            ports = [pb.PortMapping(container_port=8080, host_port=port)]
            net = pb.ActualLRPNetInfo(
                address=self._address, instance_address=self._address, ports=ports
            )
            with contextlib.suppress(Conflict, NotFound, PeerError):
                key, instance = lrp.actual_lrp_key, lrp.actual_lrp_instance_key
                await self._bbs.start_actual(key, instance, net)

    async def _stop(self, lrp: Any) -> None:
        server = self._servers.pop(lrp.actual_lrp_instance_key.instance_guid, None)
        if server is not None:
            await asyncio.sleep(_DRAIN_SECONDS)
            server.close()


async def serve(config: dict[str, Any]) -> None:
    """Be a cell until cancelled."""
    bbs_client = BbsClient(config.pop("bbs_url"), Tls(**config.pop("tls")))
    async with bbs_client as bbs, asyncio.TaskGroup() as tasks:
        cell = Cell(bbs, **config)
        tasks.create_task(cell.be_present())
        tasks.create_task(cell.follow(tasks))


def main() -> None:
    """Entry point."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # a port for each instance
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(serve(json.loads(sys.argv[1])))


if __name__ == "__main__":
    main()
