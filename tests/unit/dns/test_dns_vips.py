"""VIPs from Copilot: what it said last is good while it is silent, dead or not."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import dns.message
import dns.rcode
import grpc

from meshnet.dns.main import Config, Resolver
from meshnet.wire.gen import copilot_pb2 as pb
from meshnet.wire.gen import copilot_pb2_grpc

HOST, VIP = "backend.apps.internal", "127.128.0.7"


class Copilot(copilot_pb2_grpc.VIPResolverCopilotServicer):
    """Answers, until it is stopped: then it takes questions and says nothing."""

    def __init__(self) -> None:
        self.goes_on = asyncio.Event()
        self.goes_on.set()
        self.vip = VIP

    async def GetVIPByName(self, request: Any, context: Any) -> Any:
        await self.goes_on.wait()
        return pb.GetVIPByNameResponse(ip=self.vip)


@asynccontextmanager
async def world() -> AsyncIterator[tuple[Copilot, Resolver]]:
    copilot, server = Copilot(), grpc.aio.server()
    copilot_pb2_grpc.add_VIPResolverCopilotServicer_to_server(copilot, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    config = Config(
        listen_host="127.0.0.1",
        bbs_url="http://127.0.0.1:9",
        vip_resolver_addr=f"127.0.0.1:{port}",
        vip_domains=["apps.internal"],
    )
    try:
        yield copilot, Resolver(config)
    finally:
        await server.stop(0)


async def ask(resolver: Resolver, name: str = HOST) -> tuple[str, list[str], float]:
    """(rcode, addresses, seconds it took)"""
    query, began = dns.message.make_query(name, "A").to_wire(), time.monotonic()
    reply = await resolver.resolve(query, tcp=False, asker="10.255.1.9")
    took = time.monotonic() - began
    assert reply is not None
    message = dns.message.from_wire(reply)
    rows = [str(row) for answer in message.answer for row in answer]
    return dns.rcode.to_text(message.rcode()), rows, took


def test_a_copilot_that_is_stopped_holds_up_no_name_that_is_known() -> None:
    async def scenario() -> None:
        async with world() as (copilot, resolver):
            assert (await ask(resolver))[:2] == ("NOERROR", [VIP])
            copilot.goes_on.clear()
            text, rows, took = await ask(resolver)
            assert (text, rows) == ("NOERROR", [VIP])
            assert took < 2, "an app's resolver waits 5 s"
            copilot.vip = "127.128.0.8"
            copilot.goes_on.set()
            assert (await ask(resolver))[1] == ["127.128.0.8"]

    asyncio.run(scenario())


def test_for_a_name_that_is_not_known_it_says_so_before_the_app_gives_up() -> None:
    async def scenario() -> None:
        async with world() as (copilot, resolver):
            copilot.goes_on.clear()
            text, rows, took = await ask(resolver)
            assert (text, rows) == ("SERVFAIL", [])
            assert took < 5

    asyncio.run(scenario())
