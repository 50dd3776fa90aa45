"""The cell's host ports: one commit of the nat table for all changes that come together."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from meshnet.cell.config import Config
from meshnet.cell.threads import in_thread
from meshnet.kernel.iptables import HostPort, Iptables


class HostPorts:
    """Keeps the table equal to what `wanted()` says."""

    def __init__(
        self, config: Config, iptables: Iptables, wanted: Callable[[], list[HostPort]]
    ) -> None:
        self._config, self._iptables, self._wanted = config, iptables, wanted
        self._due = asyncio.Event()
        self._waiting: list[asyncio.Future[None]] = []

    def changed(self) -> None:
        """Have the table written soon."""
        self._due.set()

    async def written(self) -> None:
        """Have the table written; returns when what is wanted now is in the kernel."""
        done = asyncio.get_running_loop().create_future()
        self._waiting.append(done)
        self._due.set()
        await done

    async def follow(self) -> None:
        """Write after each change, for ever. Raises KernelError; call it again then."""
        while True:
            await self._due.wait()
            self._due.clear()
            waiting, self._waiting = self._waiting, []
            try:
                await in_thread(self._commit, self._wanted())
            except BaseException:
                self._waiting += waiting
                self._due.set()
                raise
            for done in waiting:
                if not done.done():
                    done.set_result(None)

    def _commit(self, ports: list[HostPort]) -> None:
        self._iptables.set_host_ports(
            self._config.underlay_ip, ports, overlay_network=self._config.overlay_network
        )
