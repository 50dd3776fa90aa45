"""Which routers the load balancer takes for alive."""

from __future__ import annotations

import asyncio
import socket
import time
from typing import Any, cast

import pytest

from meshnet.ingress import lb_main
from meshnet.ingress.lb_main import Balancer, Config
from meshnet.kernel.bpf.datapath import LbDatapath

ROUTERS = ["10.0.16.11", "10.0.16.12"]
CONFIG = Config("10.0.16.10", "10.0.16.5", "eth0", ROUTERS, "", "")


class Table:
    """In place of the program's: remembers what it was told."""

    def __init__(self) -> None:
        self.told: list[list[str]] = []
        self.news = asyncio.Event()

    def set_routers(self, routers: list[tuple[str, str]]) -> None:
        self.told.append([address for address, _ in routers])
        self.news.set()


async def never(address: str, source: str) -> bool:
    return False


def run(monkeypatch: pytest.MonkeyPatch, answers: list[Any]) -> list[list[str]]:
    """Check until the last answer: each True, False, or seconds for which this process stops."""

    async def scenario() -> list[list[str]]:
        table, over = Table(), asyncio.Event()
        rounds = iter(answers)
        now: dict[str, Any] = {}

        async def alive(address: str, source: str) -> bool:
            if address == ROUTERS[0]:
                now["answer"] = next(rounds, None)
                if now["answer"] is None:
                    over.set()
                elif not isinstance(now["answer"], bool):
                    time.sleep(now["answer"])
            return now["answer"] in (True, None)

        monkeypatch.setattr(lb_main, "alive", alive)
        monkeypatch.setattr(lb_main, "silent", never)
        monkeypatch.setattr(lb_main, "mac_of", lambda address, arp: "ee:ee:ee:ee:ee:ee")
        monkeypatch.setattr(lb_main, "CHECK_SECONDS", 0.01)
        task = asyncio.ensure_future(Balancer(CONFIG, cast(LbDatapath, table)).check())
        await asyncio.wait_for(over.wait(), 10)
        task.cancel()
        await asyncio.wait((task,))
        return table.told

    return asyncio.run(scenario())


def test_routers_that_do_not_answer_are_left_out_until_they_do(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert run(monkeypatch, [True, False, True]) == [ROUTERS, [], ROUTERS]


def test_a_balancer_that_was_stopped_itself_asks_again(monkeypatch: pytest.MonkeyPatch) -> None:
    stopped = lb_main.CONNECT_SECONDS + 0.2
    assert run(monkeypatch, [True, stopped, True]) == [ROUTERS]


def test_one_that_is_always_late_finds_dead_routers_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    late = lb_main.CONNECT_SECONDS + 0.2
    assert run(monkeypatch, [True, late, late])[:2] == [ROUTERS, []]


def test_a_router_that_takes_requests_and_says_nothing_is_silent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(lb_main, "ANSWER_SECONDS", 0.2)

    async def scenario() -> None:
        with socket.create_server(("127.0.0.1", 0)) as stopped:
            monkeypatch.setattr(lb_main, "METRICS_PORT", stopped.getsockname()[1])
            assert await lb_main.silent("127.0.0.1", "127.0.0.1")
        assert not await lb_main.silent("127.0.0.1", "127.0.0.1"), "it refuses"

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 404 Not Found\r\n\r\n")
            writer.close()

        async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            monkeypatch.setattr(lb_main, "METRICS_PORT", port)
            assert not await lb_main.silent("127.0.0.1", "127.0.0.1")

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("mute", "left"), [(ROUTERS[:1], ROUTERS[1:]), (ROUTERS, ROUTERS)], ids=["one", "all"]
)
def test_a_silent_router_is_left_out_where_another_answers(
    monkeypatch: pytest.MonkeyPatch, mute: list[str], left: list[str]
) -> None:
    async def silent(address: str, source: str) -> bool:
        return address in mute

    async def scenario() -> list[list[bool]]:
        balancer = Balancer(CONFIG, cast(LbDatapath, Table()))
        monkeypatch.setattr(lb_main, "silent", silent)
        return [await balancer._well([True, True]) for _ in range(lb_main.SILENT_TIMES)]

    *before, last = asyncio.run(scenario())
    assert all(all(states) for states in before), "once is not enough"
    assert [a for a, well in zip(ROUTERS, last, strict=True) if well] == left
