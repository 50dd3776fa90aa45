"""Who asks on without reading its answers waits: nothing grows for it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from meshnet.wire import ads_server, mcp_server
from meshnet.wire.ads import DeltaStream
from meshnet.wire.mcp_source import Catalog, SourceStream

TURNS = 2000


class Asker:
    """Sends requests for ever, one a turn of the loop."""

    def __init__(self) -> None:
        self.sent = 0

    async def requests(self) -> AsyncIterator[Any]:
        while True:
            self.sent += 1
            yield self.sent
            await asyncio.sleep(0)


async def turns() -> None:
    for _ in range(TURNS):
        await asyncio.sleep(0)


def ads() -> tuple[Any, Callable[..., Awaitable[None]], Callable[[Any], list[Any]], int]:
    one = ads_server.Connection(DeltaStream())
    return one, one.read, lambda c: list(c.take()), ads_server.MOST_WAITING


def mcp() -> tuple[Any, Callable[..., Awaitable[None]], Callable[[Any], list[Any]], int]:
    one = mcp_server._Connection(SourceStream(Catalog()))
    return one, lambda r: mcp_server._read(r, one), mcp_server._taken, mcp_server.MOST_WAITING


@pytest.mark.parametrize("made", [ads, mcp])
def test_requests_that_nobody_takes_are_not_read_on(made: Callable[[], Any]) -> None:
    async def scenario() -> None:
        connection, read, take, most = made()
        asker = Asker()
        task = asyncio.ensure_future(read(asker.requests()))
        await turns()
        assert asker.sent == most
        assert take(connection) == list(range(1, most + 1)), "none is lost, nor out of order"
        await turns()
        assert asker.sent == 2 * most
        task.cancel()
        await asyncio.wait((task,))
        assert connection.ended and connection.wake.is_set()

    asyncio.run(scenario())
