"""The cell agent: keeps the cell's instances equal to what BBS wants of it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import time
from collections.abc import Iterable
from typing import Any

from meshnet.cell import network, record
from meshnet.cell.config import FIRST_APP_UID, Config
from meshnet.cell.evacuation import Evacuation
from meshnet.cell.host_ports import HostPorts
from meshnet.cell.instance import Instance
from meshnet.cell.metrics import measure
from meshnet.cell.numbers import Numbers
from meshnet.cell.plan import plan, plan_healing
from meshnet.cell.process import process
from meshnet.cell.record import Names, Record
from meshnet.cell.reports import RETRY_SECONDS, until_heard
from meshnet.cell.threads import in_thread
from meshnet.cell.tools import Tools
from meshnet.kernel import links
from meshnet.kernel.iptables import HostPort
from meshnet.kernel.link_watch import LinkWatch
from meshnet.model.errors import Conflict, InputError, MeshnetError, NotFound, PeerError
from meshnet.model.modes import Redirection
from meshnet.wire import bbs_api as api
from meshnet.wire.bbs_client import Connected
from meshnet.wire.lease_api import Lease

log = logging.getLogger("meshnet")

PRESENCE_SECONDS, PRESENCE_TTL_SECONDS = 3.0, 15
_HEAL_SECONDS = 1.0
_RENEW_SECONDS = 60.0
_GUID = re.compile(r"[A-Za-z0-9_-]{1,64}")  # a part of files' names
_FIRST_HOST, _HOSTS = 2, 253  # .0 is the VTEP, .1 the gateway's by silk's custom
_UIDS = 4000


class Agent:
    """Instances by guid, and the sessions that drive them."""

    def __init__(self, tools: Tools, lease: Lease) -> None:
        self._tools, self._lease = tools, lease
        self.instances: dict[str, Instance] = {}
        self._host_ports = HostPorts(tools.config, tools.iptables, self._ports)
        tools.host_ports_written = self._host_ports.written
        self.evacuation = Evacuation(tools.config.run)
        tools.evacuating = lambda: self.evacuation.on
        self._creating: dict[str, asyncio.Task[None]] = {}
        config = tools.config
        self._hosts = Numbers("address", _FIRST_HOST, _HOSTS)
        self._free_ports = Numbers("host port", config.host_port_first, config.host_ports)
        self._uids = Numbers("uid", FIRST_APP_UID, _UIDS)
        self._switching = asyncio.Lock()
        self._present_until = 0.0  # CLOCK_MONOTONIC

    # --- sessions: each runs for ever, again after each failure ---

    async def follow_bbs(self) -> None:
        """Follow this cell's events; after each (re)connection compare with the whole list."""
        cell = self._tools.config.cell_id
        async for event in self._tools.bbs.events(cell):
            if isinstance(event, Connected):
                await self._say_present()  # a BBS that was restarted knows no cell
                await self._reconcile(await self._tools.bbs.actual_lrps(cell_id=cell))
            elif event.name == api.CREATED:
                self._want(event.message.actual_lrp)
            elif event.name == api.CHANGED:
                self._want(api.changed_lrp(event.message))
            elif event.name == api.REMOVED:
                guid = event.message.actual_lrp.actual_lrp_instance_key.instance_guid
                if creating := self._creating.pop(guid, None):
                    creating.cancel()
                if instance := self.instances.get(guid):
                    instance.stop()

    async def be_present(self) -> None:
        """Keep this cell's presence at BBS."""
        while True:
            await self._say_present()
            await self.evacuation.changed(PRESENCE_SECONDS)

    async def evacuate(self) -> None:
        """While the cell is being emptied, move its instances elsewhere."""
        while True:
            if self.evacuation.on:
                await self.evacuation.move(list(self.instances.values()))
            await self.evacuation.pause()

    async def _say_present(self) -> None:
        config = self._tools.config
        said = time.monotonic()
        await self._tools.bbs.presence(
            config.cell_id,
            config.underlay_ip,
            PRESENCE_TTL_SECONDS,
            config.max_instances,
            evacuating=self.evacuation.on,
        )
        self._present_until = said + PRESENCE_TTL_SECONDS

    async def write_host_ports(self) -> None:
        """Keep the cell's nat table equal to the instances."""
        await self._host_ports.follow()

    async def heal_links(self) -> None:
        """Give a veth that was set down and up again what the kernel forgot meanwhile.

        Setting a link down empties its neighbour table, permanent entries too.
        """
        watch, news = LinkWatch(), asyncio.Event()
        loop = asyncio.get_running_loop()
        loop.add_reader(watch.fileno(), news.set)
        try:
            down: set[str] = set()
            while True:
                await news.wait()
                news.clear()
                came_up = plan_healing(watch.read(), down)
                for instance in self._running():
                    names = Names(self._tools.config, instance.record)
                    if came_up is None or names.veth in came_up:
                        log.info("instance %s: its link is up again", instance.record.guid)
                        operations = network.cell_side(instance.record, names)
                        with contextlib.suppress(NotFound):
                            await in_thread(links.apply, None, operations)
        finally:
            loop.remove_reader(watch.fileno())
            watch.close()

    async def send_logs(self) -> None:
        """Hand on what instances log."""
        await self._tools.forwarder.run()

    async def measure(self) -> None:
        """Tell log-cache what each instance uses."""
        await measure(self._running, self._tools.log_cache)

    async def renew_identities(self) -> None:
        """Give instances new certificates before theirs expire."""
        while True:
            for instance in self._running():
                own = instance.identity
                renewed = await in_thread(own.renew) if own else False
                if renewed:
                    log.info("instance %s has a new certificate", instance.record.guid)
            await asyncio.sleep(_RENEW_SECONDS)

    def _running(self) -> list[Instance]:
        return [i for i in self.instances.values() if i.state == "RUNNING"]

    async def learn_tags(self) -> None:
        """Tell the programs the tags that the policy server could not be asked for before."""
        while True:
            await asyncio.sleep(_HEAL_SECONDS)
            await self._missing_tags()

    async def _missing_tags(self) -> None:
        known = {c.address: c.tag for c in self._tools.datapath.containers().values()}
        for instance in self._running():
            if known.get(instance.record.address) == 0:
                with contextlib.suppress(PeerError):
                    tag = await self._tools.policy.get_tag(instance.record.app_guid)
                    network.set_tag(self._tools.config, instance.record, tag, self._tools.datapath)

    # --- instances ---

    def adopt(self) -> None:
        """Take over what an earlier agent left; what was half made is torn down and reported."""
        found = record.load(self._tools.config)
        self._hosts.taken(_host(rec) for rec, _ in found)
        self._free_ports.taken(rec.host_port for rec, _ in found)
        for rec, lrp in found:
            self._add(rec, lrp).begin(adopt=True)
        self._host_ports.changed()

    async def _reconcile(self, wanted: Iterable[Any]) -> None:
        todo = plan(wanted, self.instances)
        for guid in todo.stop:
            self.instances[guid].stop()
        for lrp in todo.start:
            self._want(lrp)
        for lrp in todo.crashed:
            with contextlib.suppress(Conflict):
                await self._tools.bbs.crash_actual(
                    lrp.actual_lrp_key,
                    lrp.actual_lrp_instance_key,
                    "the cell lost the instance",
                )

    def _want(self, lrp: Any) -> None:
        key = lrp.actual_lrp_instance_key
        guid = key.instance_guid
        mine = key.cell_id == self._tools.config.cell_id and lrp.state == api.CLAIMED
        if not mine or guid in self.instances or guid in self._creating:
            return
        task = self._creating[guid] = asyncio.create_task(self._create(lrp))
        task.add_done_callback(lambda _: self._creating.pop(guid, None))

    async def _create(self, lrp: Any) -> None:
        try:
            desired = await self._desired(lrp.actual_lrp_key.process_guid)
            rec = self._record(lrp, desired)
            process(desired)  # what no cell can run leaves no record, at which agents would fail
            record.save(self._tools.config, rec, desired)
        except (MeshnetError, OSError) as exc:  # OSError: the disk is full
            keys, why = (lrp.actual_lrp_key, lrp.actual_lrp_instance_key), str(exc)
            log.warning("instance %s cannot be made: %s", keys[1].instance_guid, why)
            with contextlib.suppress(MeshnetError, OSError):
                record.forget(self._tools.config, keys[1].instance_guid)
            # Until it is heard: nobody else would ever speak of this instance again.
            with contextlib.suppress(MeshnetError):
                await until_heard(lambda: self._tools.bbs.crash_actual(*keys, why))
            return
        self._add(rec, desired).begin()

    async def _desired(self, process_guid: str) -> Any:
        while True:
            try:
                return await self._tools.bbs.desired_lrp(process_guid)
            except PeerError as exc:
                log.warning("process %s: %s", process_guid, exc)
            await asyncio.sleep(RETRY_SECONDS)

    def _record(self, lrp: Any, desired: Any) -> Record:
        """A record with the next free address, host port and uid. Raises Conflict."""
        present = [i.record for i in self.instances.values()]
        prefix, _, _ = self._lease.overlay_subnet.rpartition(".")
        properties = desired.network.properties
        app_guid = properties.get("policy_group_id") or desired.log_guid
        if not _GUID.fullmatch(app_guid):
            raise InputError(f"{app_guid!r} is no guid of an app")
        return Record(
            guid=lrp.actual_lrp_instance_key.instance_guid,
            process_guid=lrp.actual_lrp_key.process_guid,
            index=lrp.actual_lrp_key.index,
            domain=lrp.actual_lrp_key.domain,
            app_guid=app_guid,
            address=f"{prefix}.{self._hosts.next(map(_host, present))}",
            host_port=self._free_ports.next(r.host_port for r in present),
            uid=self._uids.next(r.uid for r in present),
        )

    async def set_mode(self, app_guid: str, redirection: Redirection | None) -> Redirection | None:
        """Switch an app ("" = all that have no mode of their own) on this cell, or nothing of it.

        Returns:
            What was set before.

        Raises:
            KernelError: an instance could not be switched; the others are as before.
        """
        async with self._switching:
            modes, before = self._tools.modes, self._tools.modes.own(app_guid)
            modes.set(app_guid, redirection)
            try:
                await self._switch()
            except MeshnetError:
                modes.set(app_guid, before)
                await self._switch()
                raise
            return before

    async def _switch(self) -> None:
        """Bring every instance into the mode its app is in."""
        of, here = self._tools.modes.of, list(self.instances.values())
        wanted = [(i, of(i.record.app_guid)) for i in here if i.state == "RUNNING"]
        others = [(i, mode) for i, mode in wanted if i.redirection != mode]
        calls = [one.redirect(mode) for one, mode in others]
        done = await asyncio.gather(*calls, return_exceptions=True)
        for (one, _), error in zip(others, done, strict=True):
            if error is not None and one.state == "RUNNING":  # not one that ended meanwhile
                raise error

    def _add(self, rec: Record, lrp: Any) -> Instance:
        instance = Instance(self._tools, rec, lrp, self._gone)
        self.instances[rec.guid] = instance
        return instance

    def _gone(self, instance: Instance) -> None:
        if self.instances.get(instance.record.guid) is instance:
            del self.instances[instance.record.guid]
        self._host_ports.changed()

    def _ports(self) -> list[HostPort]:
        present = [one.record for one in self.instances.values()]
        return [HostPort(rec.host_port, rec.address) for rec in present]

    def status(self) -> dict[str, Any]:
        """For `lab status`, `lab exec` and `lab logs`."""
        config = self._tools.config
        tags = {c.address: c.tag for c in self._tools.datapath.containers().values()}
        return {
            "cell_id": config.cell_id,
            "lease": self._lease.overlay_subnet,
            "mode": str(self._tools.modes.cell),
            "evacuating": self.evacuation.on,
            "present": time.monotonic() < self._present_until,
            "instances": [
                {**_row(config, i), "tag": tags.get(i.record.address, 0)}
                for i in self.instances.values()
            ],
            "counters": {k: v for k, v in self._tools.datapath.counters().items() if v},
        }


def _host(rec: Record) -> int:
    return int(rec.address.rpartition(".")[2])


def _row(config: Config, instance: Instance) -> dict[str, Any]:
    rec, names = instance.record, Names(config, instance.record)
    return {
        "guid": rec.guid,
        "app_guid": rec.app_guid,
        "process_guid": rec.process_guid,
        "index": rec.index,
        "state": instance.state,
        "mode": instance.redirection.mode,
        "sockmap": instance.redirection.sockmap,
        "address": rec.address,
        "host_port": rec.host_port,
        "uid": rec.uid,
        "netns": names.netns,
        "veth": names.veth,
        "app_pid": instance.app.pid if instance.app else 0,
        "sidecar_pid": instance.sidecar.pid if instance.sidecar else 0,
        "sidecar_restarts": instance.sidecar_restarts,
        "app_log": str(names.app_log),
        "cell_log": str(names.cell_log),
        "sidecar_log": str(names.sidecar_log),
    }
