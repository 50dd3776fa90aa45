"""`meshnet run observe`: a cell's flow events, from the kernel's ring buffer to all who watch.

While nobody watches the programs write none. The one reader of the ring is here, so that any number
may watch; one that reads too slowly loses events, which are counted, and holds up nobody.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from meshnet.kernel.bpf import abi
from meshnet.kernel.bpf.maps import Map, read_counter, wait_for_pin
from meshnet.kernel.bpf.ring import Ring
from meshnet.wire import flow_stream, runtime

POLL_SECONDS = 0.05
# The programs stop by themselves so long after an observer that was killed.
_SWITCH_SECONDS = 3.0
_MOST_UNSENT_BYTES = 16 * 1024 * 1024
_PIN_WAIT_SECONDS = 60.0


@dataclass(frozen=True)
class Config:
    """Where the cell pins its maps, and the unix socket to serve at."""

    pin_dir: str
    socket: str


class Watched:
    """One who watches: what to send, and what was lost."""

    def __init__(self, writer: asyncio.StreamWriter, lost_before: int, stride: int) -> None:
        self.writer, self._stride = writer, stride
        self._lost_before, self._dropped, self._said = lost_before, 0, 0

    def offer(self, chunk: bytes, lost_in_kernel: int) -> None:
        """Send, or count as lost what this one is too slow for."""
        transport = self.writer.transport
        if transport.get_write_buffer_size() > _MOST_UNSENT_BYTES:
            self._dropped += len(chunk) // self._stride
            return
        lost = lost_in_kernel - self._lost_before + self._dropped
        if chunk or lost != self._said:
            self._said = lost
            self.writer.write(flow_stream.message(lost, chunk, self._stride))


class Observer:
    """The ring buffer, its switch, and everyone who watches."""

    def __init__(self, pin_dir: Path) -> None:
        maps = pin_dir / "maps"
        self._ring = Ring.open(maps / "flow_events", ctypes.sizeof(abi.FlowEvent))
        self._switch = Map.open(maps / "flow_switch", ctypes.c_uint32, ctypes.c_uint64)
        self._counters = Map.open(maps / "counters", ctypes.c_uint32, ctypes.c_uint64)
        self._all: set[Watched] = set()
        self._someone = asyncio.Event()

    async def watch(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one who watches, until they hang up."""
        if not self._all:
            self._ring.chunk()  # leftovers
            self._renew()
        one = Watched(writer, self._lost(), self._ring.stride)
        # From here on nothing is missed.
        writer.write(flow_stream.message(0, b"", self._ring.stride))
        self._all.add(one)
        self._someone.set()
        try:
            await reader.read(1)
        finally:
            self._all.discard(one)
            writer.close()

    async def pump(self) -> None:
        """Carry events for ever."""
        while True:
            if not self._all:
                self._set_switch(0)
                self._someone.clear()
                await self._someone.wait()
            self._renew()
            chunk, lost = self._ring.chunk(), self._lost()
            for one in list(self._all):
                one.offer(chunk, lost)
            await asyncio.sleep(POLL_SECONDS)

    def _renew(self) -> None:
        self._set_switch(time.monotonic_ns() + int(_SWITCH_SECONDS * 1e9))

    def _set_switch(self, until: int) -> None:
        self._switch.set(ctypes.c_uint32(0), ctypes.c_uint64(until))

    def _lost(self) -> int:
        return read_counter(self._counters.fd, abi.Counter.EVENTS_LOST)

    def close(self) -> None:
        """Stop the events."""
        self._set_switch(0)
        self._ring.close()
        self._switch.close()
        self._counters.close()


async def serve(config: Config) -> None:
    """Serve until cancelled."""
    pinned = Path(config.pin_dir) / "maps" / "flow_switch"
    await asyncio.to_thread(wait_for_pin, pinned, _PIN_WAIT_SECONDS)
    observer = Observer(Path(config.pin_dir))
    with contextlib.suppress(FileNotFoundError):
        os.unlink(config.socket)
    server = await asyncio.start_unix_server(observer.watch, config.socket)
    try:
        runtime.notify_ready()
        await observer.pump()
    finally:
        server.close()
        observer.close()


def run(config: dict[str, Any]) -> None:
    """Entry point of the daemon."""
    parsed = runtime.parse(Config, config)
    runtime.run_async(lambda: serve(parsed))
