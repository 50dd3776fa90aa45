"""The life of one instance, from CLAIMED to gone, as one task.

make network → sidecar → ready → app → listens → RUNNING → (stop | crash) → nothing left
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import logging
import shutil
import signal
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from meshnet.cell import containers, network, record
from meshnet.cell.config import APP_PORT, Config
from meshnet.cell.droplets import Droplets, unpack
from meshnet.cell.modes import Modes
from meshnet.cell.plan import environment
from meshnet.cell.record import Names, Record
from meshnet.cell.threads import in_thread
from meshnet.kernel import oci
from meshnet.kernel.bpf.datapath import CellDatapath
from meshnet.kernel.iptables import Iptables
from meshnet.kernel.oci import Container
from meshnet.model.errors import MeshnetError, NotFound, PeerError
from meshnet.model.modes import OFF, Redirection
from meshnet.model.patience import patient
from meshnet.wire.bbs_client import BbsClient
from meshnet.wire.gen import bbs_pb2 as pb
from meshnet.wire.policy_client import PolicyClient

log = logging.getLogger("meshnet")

POLL_SECONDS = 0.02
SIDECAR_SECONDS, APP_SECONDS = 30.0, 60.0
STOP_SECONDS = 10.0  # as Garden: SIGTERM, then SIGKILL
# From «BBS took it off its list» to the last proxy that has heard of it.
DRAIN_SECONDS = 0.5
RETRY_SECONDS, MOST_RETRY_SECONDS = 0.2, 10.0


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
    host_ports_written: Callable[[], Awaitable[None]]
    slots: asyncio.Semaphore
    seats: asyncio.Semaphore
    modes: Modes


class Instance:
    """One instance and the task that is its life."""

    def __init__(self, tools: Tools, rec: Record, finished: Callable[[Instance], None]) -> None:
        self.record = rec
        self.state = "ADOPTED" if rec.running else "CREATING"
        self.app: Container | None = None
        self.sidecar: Container | None = None
        self.redirection = tools.modes.of(rec.app_guid)
        self._tools, self._finished = tools, finished
        self._stop = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def begin(self, desired: Any | None) -> None:
        """Start it as the DesiredLRP says, or adopt it where there is none."""
        self._task = asyncio.create_task(self._live(desired))

    def stop(self) -> None:
        """End it politely; BBS wants it no longer."""
        self._stop.set()

    async def _live(self, desired: Any | None) -> None:
        why = ""
        try:
            await self._unless_stopped(self._adopt() if desired is None else self._start(desired))
            self.state = "RUNNING"
            await self._run()
        except MeshnetError as exc:
            why = str(exc)
        except Exception as exc:
            log.exception("instance %s", self.record.guid)
            why = f"internal error: {type(exc).__name__}: {exc}"
        self.state = "STOPPING"
        if self._stop.is_set():
            await self._drain()
            await self._remove()
        else:
            log.warning("instance %s crashed: %s", self.record.guid, why)
            # At once, so that every proxy leaves it; its address is free only after both.
            await asyncio.gather(self._report_crash(why), self._remove())
        self._finished(self)

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

    async def _start(self, desired: Any) -> None:
        tools, rec = self._tools, self.record
        # Depth first: of hundreds that are wanted at once, a few start and serve, then the next;
        # all at once none would be ready for minutes.
        async with tools.seats:
            await self._make(desired)
        await self._poll(self._app_listens, APP_SECONDS, "app")
        await tools.host_ports_written()
        self.record = dataclasses.replace(rec, running=True)
        record.save(tools.config, self.record)

    async def _make(self, desired: Any) -> None:
        tools, rec = self._tools, self.record
        tag = await self._tag()
        fetch = asyncio.create_task(tools.droplets.fetch(desired.setup.download_action))
        try:
            # A slot is for work on the machine; waiting for others is done without one.
            async with tools.slots:
                redirection = self.redirection
                args = (tools.config, rec, tag, redirection, tools.datapath, tools.iptables)
                await in_thread(network.make, *args)
                await in_thread(containers.prepare, tools.config, rec, redirection.mode)
                await in_thread(self._start_sidecar)
            archive = await fetch
        finally:
            fetch.cancel()
        async with tools.slots:
            await in_thread(unpack, archive, Names(tools.config, rec).home, rec.uid)
        await self._poll(
            lambda: containers.sidecar_ready(tools.config, rec), SIDECAR_SECONDS, "sidecar"
        )
        self.state = "STARTING"
        async with tools.slots:
            await in_thread(self._start_app, self._command(desired))

    # What a thread starts is kept by the thread: its task may have been told to stop meanwhile.

    def _start_sidecar(self) -> None:
        config = self._tools.config
        self.sidecar = oci.start(containers.sidecar_spec(config, self.record), config.runc_root)

    def _start_app(self, command: containers.Command) -> None:
        config = self._tools.config
        self.app = oci.start(containers.app_spec(config, self.record, command), config.runc_root)

    def _app_listens(self) -> bool:
        return self.app is not None and containers.app_listens(self.app.pid)

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
        seconds = patient(seconds)
        deadline = time.monotonic() + seconds
        while not await in_thread(ready):
            await self._check_alive()
            if time.monotonic() > deadline:
                raise Crashed(f"the {what} was not ready within {seconds:.0f} s")
            await asyncio.sleep(POLL_SECONDS)

    async def _check_alive(self) -> None:
        for name, container in (("app", self.app), ("sidecar", self.sidecar)):
            if container is not None and not container.running():
                raise Crashed(await in_thread(_ending, name, container))

    # --- run and end ---

    async def redirect(self, redirection: Redirection) -> None:
        """Carry its connections in another mode from now on. Raises KernelError."""
        tools, before = self._tools, self.redirection
        if redirection.mode == OFF != before.mode:
            # Names become instances' addresses before their VIPs are refused.
            containers.announce(tools.config, self.record, OFF)
            await asyncio.sleep(network.CONNECTING_SECONDS)
        try:
            await in_thread(
                lambda: network.redirect(
                    tools.config,
                    self.record,
                    redirection,
                    tools.datapath,
                    tools.iptables,
                    before=before,
                )
            )
            self.redirection = redirection
        finally:
            if self.state != "STOPPING":
                containers.announce(tools.config, self.record, self.redirection.mode)

    async def _adopt(self) -> None:
        """Take over what an earlier agent started, with every hook where it belongs."""
        if not self.record.running:
            raise Crashed("the cell agent ended while it was being started")
        try:
            self.app, self.sidecar = containers.adopt(self._tools.config, self.record)
            await in_thread(network.adopt, self._tools.config, self.record, self._tools.datapath)
            await self.redirect(self.redirection)
        except NotFound as exc:
            raise Crashed(f"it ended while the cell agent was away ({exc})") from exc

    async def _run(self) -> None:
        """Until `stop`, or the end of either container (Crashed); BBS is told that it runs."""
        report = asyncio.create_task(self._report_running())
        wanted = self._tools.modes.of(self.record.app_guid)
        if wanted != self.redirection:  # switched while it was being started
            await self.redirect(wanted)
        ended = asyncio.Event()
        try:
            with _watching((self.app, self.sidecar), ended):
                while not self._stop.is_set():
                    await self._check_alive()
                    await _first(ended.wait(), self._stop.wait())
        finally:
            report.cancel()

    async def _report_running(self) -> None:
        rec = self.record
        net = pb.ActualLRPNetInfo(
            address=self._tools.config.underlay_ip,
            instance_address=rec.address,
            ports=[pb.PortMapping(container_port=APP_PORT, host_port=rec.host_port)],
            preferred_address=pb.ActualLRPNetInfo.HOST,
        )
        try:
            await self._tell_bbs(lambda key, mine: self._tools.bbs.start_actual(key, mine, net))
        except MeshnetError as exc:
            log.warning("instance %s: %s", rec.guid, exc)
            self.stop()

    async def _report_crash(self, why: str) -> None:
        with contextlib.suppress(MeshnetError):
            await self._tell_bbs(lambda key, mine: self._tools.bbs.crash_actual(key, mine, why))

    async def _tell_bbs(self, call: Callable[[Any, Any], Awaitable[None]]) -> None:
        """Make a call, again and again while BBS is away. Raises what BBS answers."""
        rec = self.record
        key = pb.ActualLRPKey(process_guid=rec.process_guid, index=rec.index, domain=rec.domain)
        instance = pb.ActualLRPInstanceKey(
            instance_guid=rec.guid, cell_id=self._tools.config.cell_id
        )
        while True:
            try:
                return await call(key, instance)
            except PeerError:
                await asyncio.sleep(RETRY_SECONDS)

    async def _drain(self) -> None:
        """SIGTERM, once the proxies have heard, and patience; `_remove` kills what is left."""
        app = self.app
        if app is None or not app.running():
            return
        await asyncio.sleep(DRAIN_SECONDS)
        app.signal(signal.SIGTERM)
        ended = asyncio.Event()
        with _watching((app,), ended), contextlib.suppress(TimeoutError):
            await asyncio.wait_for(ended.wait(), STOP_SECONDS)

    async def _remove(self) -> None:
        """Take everything away, and again until it is gone: till then its address stays taken."""
        pause, last = RETRY_SECONDS, ""
        for container in (self.app, self.sidecar):
            if container is not None:
                container.close()
        self.app = self.sidecar = None
        while True:
            try:
                return await in_thread(self._remove_now)
            except (MeshnetError, OSError) as exc:
                if str(exc) != last:
                    log.warning("instance %s cannot be removed yet: %s", self.record.guid, exc)
                last = str(exc)
            await asyncio.sleep(pause)
            pause = min(pause * 2, MOST_RETRY_SECONDS)

    def _remove_now(self) -> None:
        config, rec = self._tools.config, self.record
        containers.remove(config, rec)
        network.remove(config, rec, self._tools.datapath)
        shutil.rmtree(Names(config, rec).dir, ignore_errors=True)
        record.forget(config, rec.guid)


async def _first(*waits: Awaitable[Any]) -> None:
    tasks = [asyncio.ensure_future(wait) for wait in waits]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()


@contextlib.contextmanager
def _watching(containers: Iterable[Container | None], ended: asyncio.Event) -> Iterator[None]:
    """Set `ended` when one of the containers ends."""
    loop = asyncio.get_running_loop()
    fds = [one.fileno() for one in containers if one is not None]

    def end(fd: int) -> None:
        loop.remove_reader(fd)  # it stays readable for ever
        ended.set()

    for fd in fds:
        loop.add_reader(fd, end, fd)
    try:
        yield
    finally:
        for fd in fds:
            loop.remove_reader(fd)


def _ending(name: str, container: Container) -> str:
    if container.out_of_memory():
        return f"the {name} exceeded its memory limit"
    status = container.exit_status()
    return f"the {name} ended with status {'unknown' if status is None else status}"
