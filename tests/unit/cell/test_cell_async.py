"""Threads that are waited for, and host ports that are written before anybody is told."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from meshnet.cell.config import Config
from meshnet.cell.host_ports import HostPorts
from meshnet.cell.threads import in_thread
from meshnet.kernel.iptables import HostPort, Iptables
from meshnet.model.errors import KernelError


def test_a_cancelled_thread_is_waited_for() -> None:
    running, may_end, ended = threading.Event(), threading.Event(), threading.Event()

    def work() -> None:
        running.set()
        assert may_end.wait(5)
        ended.set()

    async def main() -> None:
        task = asyncio.create_task(in_thread(work))
        await asyncio.to_thread(running.wait, 5)
        task.cancel()
        await asyncio.sleep(0.02)
        assert not task.done()
        may_end.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert ended.is_set()

    asyncio.run(main())


def test_a_threads_result_and_failure_arrive() -> None:
    async def main() -> None:
        assert await in_thread(divmod, 7, 2) == (3, 1)
        with pytest.raises(ZeroDivisionError):
            await in_thread(divmod, 1, 0)

    asyncio.run(main())


@dataclass
class Table:
    """In place of netfilter: remembers each commit, refuses while told so."""

    commits: list[list[HostPort]] = field(default_factory=list)
    refuses: bool = False

    def set_host_ports(self, ip: str, ports: list[HostPort], *, overlay_network: str) -> None:
        assert (ip, overlay_network) == ("10.0.16.21", "10.255.0.0/16")
        if self.refuses:
            raise KernelError("netfilter refused")
        self.commits.append(ports)


@dataclass
class Addresses:
    """The part of the configuration that is read here."""

    underlay_ip: str = "10.0.16.21"
    overlay_network: str = "10.255.0.0/16"


def made(table: Table, wanted: list[HostPort]) -> HostPorts:
    config, iptables = cast(Config, Addresses()), cast(Iptables, table)
    return HostPorts(config, iptables, lambda: list(wanted))


def test_many_waiters_share_one_commit_that_has_them_all() -> None:
    table, wanted = Table(), [HostPort(61000, "10.255.1.2")]

    async def main() -> None:
        ports = made(table, wanted)
        waiting = [asyncio.create_task(ports.written()) for _ in range(3)]
        await asyncio.sleep(0)
        wanted.append(HostPort(61001, "10.255.1.3"))
        follow = asyncio.create_task(ports.follow())
        await asyncio.gather(*waiting)
        follow.cancel()

    asyncio.run(main())
    assert table.commits == [wanted]


def test_who_waits_is_not_told_until_the_kernel_took_it() -> None:
    table = Table(refuses=True)

    async def main() -> None:
        ports = made(table, [])
        waiter = asyncio.create_task(ports.written())
        await asyncio.sleep(0)
        with pytest.raises(KernelError):
            await ports.follow()
        assert not waiter.done()
        table.refuses = False
        follow = asyncio.create_task(ports.follow())  # by itself: nothing has changed since
        await asyncio.wait_for(waiter, 5)
        follow.cancel()

    asyncio.run(main())
    assert table.commits == [[]]


def test_a_waiter_that_gave_up_disturbs_nobody() -> None:
    table = Table()

    async def main() -> None:
        ports = made(table, [])
        gone: asyncio.Task[Any] = asyncio.create_task(ports.written())
        stays = asyncio.create_task(ports.written())
        await asyncio.sleep(0)
        gone.cancel()
        follow = asyncio.create_task(ports.follow())
        await asyncio.wait_for(stays, 5)
        follow.cancel()

    asyncio.run(main())
    assert table.commits == [[]]
