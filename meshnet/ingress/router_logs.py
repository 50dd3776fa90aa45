"""`meshnet run router-logs`: tells apps in their logs what a router's proxy made of requests.

It reads behind the proxy's log, which nothing of it can slow: what it cannot keep up with, or what
was written while it was away, is left out, as it is at Cloud Foundry's routers.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from meshnet.ingress.router_lines import Backends, app_of, envelope
from meshnet.proxy import access_log
from meshnet.wire import runtime
from meshnet.wire.bbs_client import BbsClient, Connected
from meshnet.wire.log_cache_client import LogCacheClient
from meshnet.wire.tls import Tls

log = logging.getLogger("meshnet")

ROUND_SECONDS = 0.1
# Of a round: some 550 lines a second. Twice as many were measured to take 2.3 % of a core here, but
# log-cache must take them in as well, and a flood is no time to work for logs.
ROUND_BYTES = 32 * 1024
_TOLD_SECONDS = 60.0


@dataclass(frozen=True)
class Config:
    """Which router this is, and where everything is.

    Attributes:
        number: of the router, from 0: the instance index in apps' logs.
        log: what its proxy writes.
        tls: who we are to log-cache and BBS; None = plain.
    """

    number: int
    log: str
    bbs_url: str
    log_cache_addr: str
    tls: Tls | None = None


class Reader:
    """The end of a log that grows and is emptied now and then: what is new, if not too much."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset: int | None = None
        self.left_out = 0  # bytes

    def read(self) -> tuple[list[str], int]:
        """The next whole lines, and the offset after them; nothing moves until `advance`."""
        try:
            with self._path.open("rb") as file:
                size = os.fstat(file.fileno()).st_size
                if self._offset is None:
                    self._offset = size
                begin = 0 if size < self._offset else self._offset
                skip = max(0, size - begin - ROUND_BYTES)
                file.seek(begin + skip)
                data = file.read(ROUND_BYTES)
        except FileNotFoundError:
            self._offset = 0
            return [], 0
        start = data.find(b"\n") + 1 if skip else 0
        end = max(start, data.rfind(b"\n") + 1)
        self.left_out += skip + start
        lines = data[start:end].decode("utf-8", "replace").split("\n")[:-1]
        self._offset = begin + skip + start  # what was left out stays so
        return lines, begin + skip + end

    def advance(self, offset: int) -> None:
        """What was read up to there is dealt with."""
        self._offset = offset


class RouterLogs:
    """One router's lines to log-cache."""

    def __init__(self, config: Config, log_cache: LogCacheClient, bbs: BbsClient) -> None:
        self._config, self._log_cache, self._bbs = config, log_cache, bbs
        self._reader = Reader(Path(config.log))
        self._backends = Backends()
        self._last, self._told = 0, 0.0

    async def follow_bbs(self) -> None:
        """Learn whose ports are whose, for ever. Raises PeerError: call it again."""
        async for event in self._bbs.events():
            if isinstance(event, Connected):
                for lrp in await self._bbs.actual_lrps():
                    self._backends.add(lrp)
            else:
                self._backends.apply(event.name, event.message)

    async def send(self) -> None:
        """Send for ever. Raises PeerError where log-cache is away: call it again."""
        while True:
            lines, offset = self._reader.read()
            if found := self.envelopes(lines):
                await self._log_cache.send(found)
            self._reader.advance(offset)
            self._tell()
            await asyncio.sleep(ROUND_SECONDS)

    def envelopes(self, lines: Sequence[str]) -> list[Any]:
        """Envelopes of those lines that are apps', each later than the one before."""
        found = []
        for line in lines:
            fields = access_log.edge_fields(line)
            if not app_of(fields):
                continue
            self._last = max(time.time_ns(), self._last + 1)
            backend = self._backends.get(fields.get("to", ""))
            found.append(envelope(fields, backend, self._config.number, self._last))
        return found

    def _tell(self) -> None:
        now = time.monotonic()
        if self._reader.left_out and now - self._told > _TOLD_SECONDS:
            log.warning("%d bytes of requests are in no app's log", self._reader.left_out)
            self._reader.left_out, self._told = 0, now


async def serve(config: Config) -> None:
    """Serve until cancelled."""
    log_cache = LogCacheClient(config.log_cache_addr, config.tls)
    logs = RouterLogs(config, log_cache, BbsClient(config.bbs_url, config.tls))
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(runtime.keep_trying(logs.follow_bbs, "BBS's events"))
        tasks.create_task(runtime.keep_trying(logs.send, "apps' logs"))
        runtime.notify_ready()


def run(config: dict[str, Any]) -> None:
    """Entry point of the daemon."""
    parsed = runtime.parse(Config, config)
    runtime.run_async(lambda: serve(parsed))
