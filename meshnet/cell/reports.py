"""What a cell tells BBS about one of its instances."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from meshnet.cell.config import APP_PORT, Config
from meshnet.cell.record import Record
from meshnet.model.errors import Conflict, PeerError
from meshnet.wire.bbs_client import BbsClient
from meshnet.wire.gen import bbs_pb2 as pb

RETRY_SECONDS = 0.2


class Reports:
    """Reports of one instance; each is said again while BBS is away, and raises what it answers."""

    def __init__(self, bbs: BbsClient, config: Config, rec: Record) -> None:
        self._bbs = bbs
        key = pb.ActualLRPKey(process_guid=rec.process_guid, index=rec.index, domain=rec.domain)
        mine = pb.ActualLRPInstanceKey(instance_guid=rec.guid, cell_id=config.cell_id)
        self._keys = (key, mine)
        self.routable: bool | None = None  # whether it is ready; None: nobody checks that
        self._net = pb.ActualLRPNetInfo(
            address=config.underlay_ip,
            instance_address=rec.address,
            ports=[pb.PortMapping(container_port=APP_PORT, host_port=rec.host_port)],
            preferred_address=pb.ActualLRPNetInfo.HOST,
        )

    async def running(self, *, leaving: bool = False) -> None:
        """It runs, and is `routable` or not.

        Raises:
            Conflict: BBS wants it no longer. Not where the cell is being emptied (`leaving`): BBS
                may be waiting for another that runs, which `must_stay` finds out.
        """
        try:
            await until_heard(
                lambda: self._bbs.start_actual(*self._keys, self._net, routable=self.routable)
            )
        except Conflict:
            if not leaving:
                raise

    async def crashed(self, why: str, *, evacuating: bool) -> None:
        """It crashed. Raises Conflict where BBS knows it no longer."""
        report = self._bbs.evacuate_crashed if evacuating else self._bbs.crash_actual
        await until_heard(lambda: report(*self._keys, why))

    async def must_stay(self, *, running: bool) -> bool:
        """Of a cell being emptied: whether it serves on, for want of a replacement that runs.

        Raises PeerError, NotFound, Conflict; it is not said again by itself.
        """
        if running:
            return await self._bbs.evacuate_running(*self._keys, self._net, routable=self.routable)
        await self._bbs.evacuate_claimed(*self._keys)
        return False


async def until_heard(call: Callable[[], Awaitable[Any]]) -> None:
    """Say something to BBS, again while it is away or silent. Raises what it answers."""
    while True:
        try:
            await call()
            return
        except PeerError:
            await asyncio.sleep(RETRY_SECONDS)
