"""The life of one instance, from CLAIMED to gone, as one task.

make network → sidecar → ready → app → healthy → RUNNING → (stop | crash) → nothing left
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import logging
import time
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

from meshnet.cell import containers, endings, network, record
from meshnet.cell.config import APP_PORT
from meshnet.cell.droplets import unpack
from meshnet.cell.endings import watching
from meshnet.cell.envelopes import Origin, origin
from meshnet.cell.environment import environment, start_command
from meshnet.cell.identity import ENVIRONMENT
from meshnet.cell.journal import Journal, duration
from meshnet.cell.monitor import Crashed, Monitor
from meshnet.cell.process import process
from meshnet.cell.readiness import Readiness
from meshnet.cell.record import Names, Record
from meshnet.cell.reports import Reports
from meshnet.cell.sidecar import Sidecar
from meshnet.cell.threads import in_thread
from meshnet.cell.tools import Tools
from meshnet.cell.usage import Meter
from meshnet.kernel import oci
from meshnet.kernel.oci import Container
from meshnet.model.errors import MeshnetError, NotFound, PeerError
from meshnet.model.modes import OFF, Redirection

log = logging.getLogger("meshnet")

_PROXY = "PROXY"  # who says in logs that a sidecar has ended


class Instance:
    """One instance of a DesiredLRP and the task that is its life."""

    def __init__(
        self, tools: Tools, rec: Record, lrp: Any, finished: Callable[[Instance], None]
    ) -> None:
        self.record, self.process = rec, process(lrp)
        self.state = "ADOPTED" if rec.running else "CREATING"
        self.app: Container | None = None
        self.redirection, self.sidecar_restarts = tools.modes.of(rec.app_guid), 0
        self._tools, self._lrp, self._finished = tools, lrp, finished
        names = Names(tools.config, rec)
        self._journal = Journal(names.cell_log, rec.index)
        place = (names.netns, rec.address)
        self._monitor = Monitor(self.process, place, self._journal, self._check_alive)
        self.identity = containers.identity_of(tools.config, rec, self.process)
        self._readiness = Readiness(self.process, place, self._journal)
        self._sidecar = Sidecar(tools.config, rec, tools.datapath)
        self._reports = Reports(tools.bbs, tools.config, rec)
        self.meter = Meter(names.app_cgroup, names.home, self.process)
        self._stop, self._failed = asyncio.Event(), asyncio.Event()
        self._failure = ""
        self._ended = False  # and its log says how
        self._task: asyncio.Task[None] | None = None

    @property
    def sidecar(self) -> Container | None:
        """Its sidecar's container, while there is one."""
        return self._sidecar.container

    def begin(self, *, adopt: bool = False) -> None:
        """Start it, or take over what an earlier agent started."""
        for path, whose in self.origins().items():
            self._tools.forwarder.follow(self.record.guid, path, whose)
        self._task = asyncio.create_task(self._live(adopt))

    def stop(self) -> None:
        """End it politely; BBS wants it no longer."""
        self._stop.set()

    def fail(self, why: str) -> None:
        """End it as crashed: it broke a rule."""
        self._failure = why
        self._failed.set()

    async def _live(self, adopt: bool) -> None:
        why = ""
        try:
            await self._unless_stopped(self._adopt() if adopt else self._start())
            self.state = "RUNNING"
            await self._run()
        except MeshnetError as exc:
            why = str(exc)
        except Exception as exc:
            log.exception("instance %s", self.record.guid)
            why = f"internal error: {type(exc).__name__}: {exc}"
        self.state = "STOPPING"
        report: asyncio.Future[None] | None = None
        if not self._stop.is_set():
            log.warning("instance %s crashed: %s", self.record.guid, why)
            # At once, so that every proxy leaves it; its address is free only after all of it.
            report = asyncio.ensure_future(self._report_crash(why))
        await self._end()
        if report is not None:
            await report
        self._finished(self)

    def origins(self) -> dict[Path, Origin]:
        """Whose lines are in each of its log files: the app's own, and what the cell says."""
        names = Names(self._tools.config, self.record)
        config, process = self._tools.config, self.process
        app = origin(config, self.record, process, process.log_source)
        return {names.app_log: app, names.cell_log: dataclasses.replace(app, source_type="")}

    async def _end(self) -> None:
        """Stop what still runs, politely, and take everything away."""
        self._say(f"stopping instance {self.record.guid}")
        await endings.stop_app(self._tools.config, self.record, self.app, self._journal_app)
        self._say(f"destroying container for instance {self.record.guid}")
        for container in (self.app, self.sidecar):
            if container is not None:
                container.close()
        self.app = self._sidecar.container = None
        await endings.remove(self._tools.config, self.record, self._tools.datapath)
        self._say(f"successfully destroyed container for instance {self.record.guid}")
        self._tools.forwarder.ended(self.record.guid)

    def _say(self, text: str) -> None:
        self._journal.out(self.process.cell_source, f"Cell {self._tools.config.cell_id} {text}")

    def _journal_app(self, text: str) -> None:
        self._journal.out(self.process.log_source, text)

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

    async def _start(self) -> None:
        tools, rec = self._tools, self.record
        # Depth first: of hundreds that are wanted at once, a few start and serve, then the next;
        # all at once none would be ready for minutes.
        async with tools.seats:
            await self._make()
        await self._monitor.become_healthy()
        await tools.host_ports_written()
        self.record = dataclasses.replace(rec, running=True)
        record.save(tools.config, self.record)

    async def _make(self) -> None:
        tools, rec = self._tools, self.record
        self._say(f"creating container for instance {rec.guid}")
        # The droplet comes while the network is made and the sidecar starts.
        download = self._lrp.setup.download_action
        fetch = asyncio.create_task(tools.droplets.fetch(download))
        try:
            tag = await self._tag()
            async with tools.slots:
                redirection = self.redirection
                args = (tools.config, rec, tag, redirection, tools.datapath, tools.iptables)
                await in_thread(network.make, *args)
                await in_thread(containers.prepare, tools.config, rec, redirection.mode)
                await in_thread(self._sidecar.start)
            self._say(f"successfully created container for instance {rec.guid}")
            archive = await fetch
        except MeshnetError as exc:
            self._journal.err(
                self.process.cell_source,
                f"Cell {tools.config.cell_id} failed to create container for instance "
                f"{rec.guid}: {exc}",
            )
            raise
        finally:
            fetch.cancel()
        home = Names(tools.config, rec).home
        async with tools.slots:
            await in_thread(unpack, archive, home, rec.uid, self.process.disk_bytes)
        await self._sidecar.ready(self._check_alive)
        self.state = "STARTING"
        run = self._prepared()
        async with tools.slots:
            await in_thread(self._start_app, run)

    # What a thread starts is kept by the thread: its task may have been told to stop meanwhile.

    def _start_app(self, run: containers.Run) -> None:
        config = self._tools.config
        if self.identity:
            self.identity.put()
        self.app = oci.start(containers.app_spec(config, self.record, run), config.runc_root)

    def _prepared(self) -> containers.Run:
        rec, config = self.record, self._tools.config
        argv = start_command(self.process.argv, Names(config, rec).home)
        env = environment(
            self.process.env,
            guid=rec.guid,
            index=rec.index,
            address=rec.address,
            cell_ip=config.underlay_ip,
            host_port=rec.host_port,
            container_port=APP_PORT,
            started=time.time(),
        )
        return containers.Run(self.process, argv, env | (ENVIRONMENT if self.identity else {}))

    async def _tag(self) -> int:
        """The app's policy tag; 0 (no policy matches) while the policy server is away."""
        try:
            return await self._tools.policy.get_tag(self.record.app_guid)
        except PeerError as exc:
            log.warning("no policy tag for app %s yet: %s", self.record.app_guid, exc)
            return 0

    async def _check_alive(self, *, sidecar: bool = True) -> None:
        both = ((self.process.log_source, self.app), (_PROXY, self.sidecar if sidecar else None))
        for source, container in both:
            if container is not None and not container.running():
                status, why = await in_thread(endings.ending, source, container)
                if not self._ended:
                    self._ended = True
                    self._journal.out(source, status)
                raise Crashed(why)

    # --- run ---

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
            self.app, self._sidecar.container = containers.adopt(self._tools.config, self.record)
            await in_thread(network.adopt, self._tools.config, self.record, self._tools.datapath)
            await self.redirect(self.redirection)
        except NotFound as exc:
            raise Crashed(f"it ended while the cell agent was away ({exc})") from exc

    async def _run(self) -> None:
        """Until `stop`, an end of either container or bad health (Crashed); BBS is told."""
        report = asyncio.create_task(self._report_running())
        wanted = self._tools.modes.of(self.record.app_guid)
        if wanted != self.redirection:  # switched while it was being started
            await self.redirect(wanted)
        healthy = asyncio.create_task(self._monitor.stay_healthy())
        waits = {asyncio.create_task(event.wait()) for event in (self._stop, self._failed)}
        try:
            while not self._stop.is_set():
                await self._check_alive(sidecar=False)
                await self._keep_sidecar()
                if self._failed.is_set():
                    self._journal.err(self.process.cell_source, self._failure)
                    raise Crashed(self._failure)
                await self._until_any(waits if healthy.done() else {*waits, healthy})
                if healthy.done() and not self._stop.is_set():
                    healthy.result()
        finally:
            for task in (report, healthy, *waits):
                task.cancel()

    async def _until_any(self, tasks: Collection[asyncio.Task[Any]]) -> None:
        """Until one of the tasks, the app or the sidecar has ended."""
        ended = asyncio.Event()
        end = asyncio.create_task(ended.wait())
        try:
            with watching((self.app, self.sidecar), ended):
                await asyncio.wait({end, *tasks}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            end.cancel()

    async def _keep_sidecar(self) -> None:
        """A new sidecar where it alone has ended: the app runs on, with all that it holds."""
        old = self.sidecar
        if old is None or old.running():
            return
        began = time.monotonic()
        status, why = await in_thread(endings.ending, _PROXY, old)
        self._journal.out(_PROXY, status)
        if not self._sidecar.may_come_back():
            raise Crashed(why)
        self.sidecar_restarts += 1
        another = self._sidecar.start_again(lambda: self._check_alive(sidecar=False))
        await self._unless_stopped(another)
        took = duration(time.monotonic() - began)
        log.warning("instance %s: %s; its proxy was back in %s", self.record.guid, why, took)
        self._say(f"restarted proxy of instance {self.record.guid}")

    async def evacuate(self) -> None:
        """Have it run elsewhere; once it does, or before it runs here at all, it is stopped.

        Raises PeerError, NotFound, Conflict: what BBS answers; the instance serves on.
        """
        if self.state not in ("CREATING", "STARTING", "RUNNING"):
            return
        if not await self._reports.must_stay(running=self.state == "RUNNING"):
            self.stop()

    async def _report_running(self) -> None:
        try:
            # Before BBS hears of it: an agent that was restarted takes nobody out that is ready.
            self._reports.routable = ready = await self._readiness.now()
            await self._reports.running(leaving=self._tools.evacuating())
            await self._readiness.follow(ready, self._report_ready)
        except MeshnetError as exc:
            log.warning("instance %s: %s", self.record.guid, exc)
            self.stop()

    async def _report_ready(self, ready: bool) -> None:
        self._reports.routable = ready
        if not self._tools.evacuating():  # else that says it, again and again
            await self._reports.running()

    async def _report_crash(self, why: str) -> None:
        with contextlib.suppress(MeshnetError):
            await self._reports.crashed(why, evacuating=self._tools.evacuating())
