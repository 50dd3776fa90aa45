"""Carries deployments on, step by step, from the records alone: also after a restart."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Any, Protocol

from meshnet.capi import rolling
from meshnet.capi.app_records import STARTED, Deployment
from meshnet.capi.records import Records
from meshnet.capi.sync import Sync
from meshnet.model.errors import MeshnetError
from meshnet.wire import bbs_api
from meshnet.wire.runtime import keep_trying

log = logging.getLogger("meshnet")
_RETRY_SECONDS = 0.5


class Instances(Protocol):
    """What of BBS's client is needed here."""

    async def actual_lrps(self, *, process_guid: str = "", cell_id: str = "") -> list[Any]:
        """ActualLRPs of a process."""

    def events(self, cell_id: str = "") -> AsyncIterator[Any]:
        """What happens to them."""


class Deployer:
    """Looks at what runs whenever BBS says that something changed, while a deployment is active."""

    def __init__(self, records: Records, sync: Sync, bbs: Instances) -> None:
        self._records, self._sync, self._bbs = records, sync, bbs
        self._wake = asyncio.Event()

    def wake(self) -> None:
        """A deployment was created or cancelled."""
        self._wake.set()

    async def run(self) -> None:
        """For ever."""
        watch: asyncio.Task[None] | None = None
        try:
            while True:
                if not await self.step_all():
                    if watch:
                        watch.cancel()
                    watch = None
                elif watch is None:
                    watch = asyncio.create_task(keep_trying(self._listen, "events for deployments"))
                await self._wake.wait()
                self._wake.clear()
        finally:
            if watch:
                watch.cancel()

    async def _listen(self) -> None:
        async for _ in self._bbs.events():
            self._wake.set()

    async def step_all(self) -> bool:
        """Carry every active deployment as far as it goes; whether one is still active."""
        for deployment in self._records.deployments.all_active():
            try:
                while await self._step(deployment.guid):
                    pass
                continue
            except MeshnetError as exc:
                log.warning("deployment %s waits: %s", deployment.guid, exc)
            except Exception:  # no record, however odd, may end this task
                log.exception("deployment %s", deployment.guid)
            asyncio.get_running_loop().call_later(_RETRY_SECONDS, self._wake.set)
        return bool(self._records.deployments.all_active())

    async def _step(self, guid: str) -> bool:
        """Do one step of a deployment; whether there was one to do."""
        deployment = self._records.deployments.find(guid)
        app = self._records.apps.find(deployment.app) if deployment else None
        if deployment is None or app is None or not deployment.active or app.state != STARTED:
            return False
        lrps = await self._bbs.actual_lrps(process_guid=app.process_guid)
        if self._records.deployments.find(guid) is not deployment:
            return True  # it was changed meanwhile: look again
        running = {
            lrp.actual_lrp_key.index
            for lrp in lrps
            if bbs_api.routable(lrp) and lrp.actual_lrp_key.index < deployment.instances
        }
        after = rolling.step(deployment, app.instances, len(running))
        if after is None:
            return False
        self._records.deployments.put(after)
        if not after.active:
            log.info("deployment %s of app %s: %s", guid, app.name, after.reason)
        gone = [f"{app.guid}-{version.version}" for version in _gone(deployment, after)]
        await self._sync.app_rolled(app, *gone)
        return True


def _gone(before: Deployment, after: Deployment) -> list[Any]:
    left = {version.version for version in after.leaving}
    return [version for version in before.leaving if version.version not in left]
