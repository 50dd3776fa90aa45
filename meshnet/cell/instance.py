"""The life of one instance, from CLAIMED to gone, as one task.

make network → sidecar → ready → app → listens → RUNNING → (stop | crash) → nothing left
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import logging
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from meshnet.cell import containers, network, record
from meshnet.cell.config import APP_PORT, Config
from meshnet.cell.droplets import Droplets, unpack
from meshnet.cell.plan import environment
from meshnet.cell.record import Names, Record
from meshnet.kernel import oci
from meshnet.kernel.bpf.datapath import CellDatapath
from meshnet.kernel.iptables import Iptables
from meshnet.kernel.oci import Container
from meshnet.model.errors import Conflict, MeshnetError, NotFound, PeerError
from meshnet.wire.bbs_client import BbsClient
from meshnet.wire.gen import bbs_pb2 as pb
from meshnet.wire.policy_client import PolicyClient

log = logging.getLogger("meshnet")

POLL_SECONDS = 0.02
SIDECAR_SECONDS, APP_SECONDS = 30.0, 60.0
STOP_SECONDS = 10.0  # as Garden: SIGTERM, then SIGKILL
# From «BBS took it off its list» to the last proxy that has heard of it.
DRAIN_SECONDS = 0.5


class Crashed(MeshnetError):
    """The instance ended, or could not be started; the text says why."""


@dataclass
class Tools:
    """What every instance of a cell works with."""

    config: Config
    bbs: BbsClient
    policy: PolicyClient
    datapath: CellDatapath
    iptables: Iptables
    droplets: Droplets
    host_ports_changed: Callable[[], None]
    slots: asyncio.Semaphore


class Instance:
    """One instance and the task that is its life."""

    def __init__(self, tools: Tools, rec: Record, finished: Callable[[Instance], None]) -> None:
        self.record = rec
        self.state = "ADOPTED" if rec.running else "CREATING"
        self.app: Container | None = None
        self.sidecar: Container | None = None
        self._tools, self._finished = tools, finished
        self._stop = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def begin(self, lrp: Any | None) -> None:
        """Start it from BBS's record, or adopt it where there is none to start from."""
        self._task = asyncio.create_task(self._live(lrp))

    def stop(self) -> None:
        """End it politely; BBS wants it no longer."""
        self._stop.set()

    async def _live(self, lrp: Any | None) -> None:
        why = ""
        try:
            if lrp is None:
                self._adopt()
            else:
                async with self._tools.slots:
                    await self._unless_stopped(self._start(lrp))
            self.state = "RUNNING"
            await self._end()
        except MeshnetError as exc:
            why = str(exc)
        except Exception as exc:
            log.exception("instance %s", self.record.guid)
            why = f"internal error: {type(exc).__name__}: {exc}"
        self.state = "STOPPING"
        if self._stop.is_set():
            await self._drain()
        elif why:
            log.warning("instance %s crashed: %s", self.record.guid, why)
        await self._remove()
        self._finished(self)
        if why and not self._stop.is_set():
            await self._report_crash(why)

    async def _unless_stopped(self, work: Any) -> None:
        """Run `work`, but no further than to the moment of `stop`."""
        task = asyncio.ensure_future(work)
        stopped = asyncio.ensure_future(self._stop.wait())
        await asyncio.wait((task, stopped), return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
        if not task.done():
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError, MeshnetError):
                await task
            return
        task.result()

    # --- start ---

    async def _start(self, lrp: Any) -> None:
        tools, rec = self._tools, self.record
        desired = await tools.bbs.desired_lrp(rec.process_guid)
        tag = await self._tag()
        fetch = asyncio.create_task(tools.droplets.fetch(desired.setup.download_action))
        try:
            args = (tools.config, rec, tag, tools.datapath, tools.iptables)
            await asyncio.to_thread(network.make, *args)
            await asyncio.to_thread(containers.prepare, tools.config, rec)
            spec = containers.sidecar_spec(tools.config, rec)
            self.sidecar = await asyncio.to_thread(oci.start, spec, tools.config.runc_root)
            archive = await fetch
        finally:
            fetch.cancel()
        await asyncio.to_thread(unpack, archive, Names(tools.config, rec).home, rec.uid)
        await self._poll(
            lambda: containers.sidecar_ready(tools.config, rec), SIDECAR_SECONDS, "sidecar"
        )
        spec = containers.app_spec(tools.config, rec, self._command(desired))
        self.state = "STARTING"
        self.app = await asyncio.to_thread(oci.start, spec, tools.config.runc_root)
        pid = self.app.pid
        await self._poll(lambda: containers.app_listens(pid), APP_SECONDS, "app")
        tools.host_ports_changed()
        await self._report_running(lrp)

    async def _tag(self) -> int:
        """The app's policy tag; 0 (no policy matches) while the policy server is away."""
        try:
            return await self._tools.policy.get_tag(self.record.app_guid)
        except PeerError as exc:
            log.warning("no policy tag for app %s yet: %s", self.record.app_guid, exc)
            return 0

    def _command(self, desired: Any) -> containers.Command:
        run, rec = desired.action.run_action, self.record
        env = environment(
            {one.name: one.value for one in run.env},
            guid=rec.guid,
            index=rec.index,
            address=rec.address,
            cell_ip=self._tools.config.underlay_ip,
            host_port=rec.host_port,
        )
        return containers.Command([run.path, *run.args], env, run.dir or "/home/vcap/app")

    async def _poll(self, ready: Callable[[], bool], seconds: float, what: str) -> None:
        deadline = time.monotonic() + seconds
        while not await asyncio.to_thread(ready):
            await self._check_alive()
            if time.monotonic() > deadline:
                raise Crashed(f"the {what} was not ready within {seconds:.0f} s")
            await asyncio.sleep(POLL_SECONDS)

    async def _check_alive(self) -> None:
        for name, container in (("app", self.app), ("sidecar", self.sidecar)):
            if container is not None and not container.running():
                raise Crashed(await asyncio.to_thread(_ending, name, container))

    async def _report_running(self, lrp: Any) -> None:
        rec = self.record
        net = pb.ActualLRPNetInfo(
            address=self._tools.config.underlay_ip,
            instance_address=rec.address,
            ports=[pb.PortMapping(container_port=APP_PORT, host_port=rec.host_port)],
            preferred_address=pb.ActualLRPNetInfo.HOST,
        )
        while True:
            try:
                await self._tools.bbs.start_actual(
                    lrp.actual_lrp_key, lrp.actual_lrp_instance_key, net
                )
                break
            except PeerError:
                await asyncio.sleep(0.1)
            except Conflict:
                self._stop.set()
                return
        self.record = dataclasses.replace(rec, running=True)
        record.save(self._tools.config, self.record)

    # --- run and end ---

    def _adopt(self) -> None:
        if not self.record.running:
            raise Crashed("the cell agent ended while it was being started")
        try:
            self.app, self.sidecar = containers.adopt(self._tools.config, self.record)
        except NotFound as exc:
            raise Crashed(f"it ended while the cell agent was away ({exc})") from exc

    async def _end(self) -> None:
        """Wait for `stop`, or for the end of either container (Crashed)."""
        loop, ended = asyncio.get_running_loop(), asyncio.Event()
        fds = [c.fileno() for c in (self.app, self.sidecar) if c is not None]
        for fd in fds:
            loop.add_reader(fd, ended.set)
        waits = [asyncio.ensure_future(event.wait()) for event in (ended, self._stop)]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
            for fd in fds:
                loop.remove_reader(fd)
        if not self._stop.is_set():
            await self._check_alive()

    async def _drain(self) -> None:
        if self.app is not None and self.app.running():
            await asyncio.sleep(DRAIN_SECONDS)
            await asyncio.to_thread(self.app.stop, STOP_SECONDS)

    async def _remove(self) -> None:
        tools, rec = self._tools, self.record
        names = Names(tools.config, rec)
        for container in (self.app, self.sidecar):
            if container is not None:
                container.close()
        self.app = self.sidecar = None
        for work in (
            lambda: containers.remove(tools.config, rec),
            lambda: network.remove(tools.config, rec, tools.datapath),
            lambda: shutil.rmtree(names.dir, ignore_errors=True),
            lambda: record.forget(tools.config, rec.guid),
        ):
            try:
                await asyncio.to_thread(work)
            except MeshnetError as exc:
                log.warning("instance %s: %s", rec.guid, exc)

    async def _report_crash(self, why: str) -> None:
        rec = self.record
        key = pb.ActualLRPKey(process_guid=rec.process_guid, index=rec.index, domain=rec.domain)
        instance = pb.ActualLRPInstanceKey(
            instance_guid=rec.guid, cell_id=self._tools.config.cell_id
        )
        while True:
            try:
                return await self._tools.bbs.crash_actual(key, instance, why)
            except PeerError:
                await asyncio.sleep(0.2)
            except MeshnetError:
                return


def _ending(name: str, container: Container) -> str:
    if container.out_of_memory():
        return f"the {name} exceeded its memory limit"
    status = container.exit_status()
    return f"the {name} ended with status {'unknown' if status is None else status}"
