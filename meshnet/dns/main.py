"""`meshnet run dns`: lab names, VIPs through Copilot, and instance addresses through BBS."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dns.rcode

from meshnet.dns.answers import (
    APP_TTL,
    Found,
    Names,
    answer,
    asked,
    failed,
    question,
    shuffled,
    to_wire,
    under,
)
from meshnet.dns.instances import Instances
from meshnet.model.errors import NotFound, PeerError
from meshnet.model.modes import OFF
from meshnet.model.patience import patient
from meshnet.wire import kept_sockets, proxies, runtime
from meshnet.wire.bbs_client import BbsClient, Connected
from meshnet.wire.copilot_client import VipResolverClient
from meshnet.wire.directory_watch import Watch
from meshnet.wire.tls import Tls

_IP_FREEBIND = 15  # linux/in.h: bind before the address is there
_MAX_TCP_CLIENTS = 256
_TCP_IDLE_SECONDS = 10.0
_MAX_KNOWN = 10_000  # names kept for the time that Copilot is away
# A resolver in an app waits 5 s: a name nobody asked before is tried that long, nearly.
_VIP_SECONDS, _VIP_RETRY_SECONDS = 4.0, 0.1
# A Copilot that is stopped or swamped keeps its connections and says nothing: whoever asks for a
# name that is known must not wait for that.
_KNOWN_VIP_SECONDS = 0.25


@dataclass(frozen=True)
class Config:
    """Where to listen and which names come from where.

    Attributes:
        proxies_dir: where the cell says which container is in which mode, or empty.
        tls: who we are to BBS and Copilot; None = plain.
    """

    listen_host: str
    bbs_url: str
    vip_resolver_addr: str
    port: int = 53
    zone: dict[str, list[str]] = field(default_factory=dict)
    vip_domains: list[str] = field(default_factory=list)
    internal_domains: list[str] = field(default_factory=list)
    proxies_dir: str = ""
    tls: Tls | None = None


class Resolver:
    """Answers one query at a time; holds no connection of its asker."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self.instances = Instances()
        zone_domains = (name.removeprefix("*.") for name in config.zone)
        own = {*zone_domains, *config.vip_domains, *config.internal_domains}
        self._names = Names(config.zone, tuple(sorted(own)))
        self._vips = VipResolverClient(config.vip_resolver_addr, config.tls)
        self._known: dict[str, str] = {}
        self._without_mesh: frozenset[str] = frozenset()

    def set_modes(self, sidecars: Iterable[proxies.Sidecar]) -> None:
        """Learn which containers are in mode `off`."""
        self._without_mesh = frozenset(s.address for s in sidecars if s.mode == OFF)

    async def resolve(self, wire: bytes, *, tcp: bool, asker: str) -> bytes | None:
        """The answer's bytes; None where none is due.

        Args:
            asker: the address that asks.
        """
        if (query := question(wire)) is None:
            return None
        name = asked(query)
        if name is None:
            return to_wire(query, failed(query, dns.rcode.NOTIMP), tcp=tcp)
        try:
            found = await self._find(name, asker)
        except PeerError:
            return to_wire(query, failed(query, dns.rcode.SERVFAIL), tcp=tcp)
        return to_wire(query, answer(query, found, self._names.owns(name)), tcp=tcp)

    async def _find(self, name: str, asker: str) -> Found | None:
        vips = any(under(name, domain) for domain in self._config.vip_domains)
        if vips and asker not in self._without_mesh:
            return await self._vip(name)
        if (addresses := self.instances.find(name)) is not None:
            return Found(shuffled(addresses), APP_TTL)
        if not self.instances.listed and self._internal(name):
            # An NXDOMAIN for an app that runs would be believed; this is asked again.
            raise PeerError("BBS has not told its instances yet")
        return self._names.find(name)

    def _internal(self, name: str) -> bool:
        domains = [*self._config.internal_domains, *self._config.vip_domains]
        return any(under(name, domain) for domain in domains)

    async def _vip(self, name: str) -> Found | None:
        """Copilot's answer; where it does not give one the last it gave, for VIPs are durable.

        Raises:
            PeerError: it is away and never told this name.
        """
        deadline = time.monotonic() + _VIP_SECONDS
        while True:
            try:
                left = max(_VIP_RETRY_SECONDS, deadline - time.monotonic())
                wait = patient(_KNOWN_VIP_SECONDS) if name in self._known else left
                vip = await self._vips.vip(name, wait)
                self._known[name] = vip
                if len(self._known) > _MAX_KNOWN:
                    del self._known[next(iter(self._known))]
                return Found((vip,), APP_TTL)
            except NotFound:
                self._known.pop(name, None)
                return None
            except PeerError:
                if name in self._known:
                    return Found((self._known[name],), APP_TTL)
                if time.monotonic() > deadline:
                    raise
                await asyncio.sleep(_VIP_RETRY_SECONDS)


class _Udp(asyncio.DatagramProtocol):
    def __init__(self, resolver: Resolver) -> None:
        self._resolver = resolver
        self._tasks: set[asyncio.Task[None]] = set()

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        task = asyncio.create_task(self._answer(data, addr))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer(self, data: bytes, addr: Any) -> None:
        if reply := await self._resolver.resolve(data, tcp=False, asker=addr[0]):
            self._transport.sendto(reply, addr)


def _socket(kind: int, config: Config) -> socket.socket:
    sock = socket.socket(socket.AF_INET, kind)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.setsockopt(socket.IPPROTO_IP, _IP_FREEBIND, 1)
    sock.bind((config.listen_host, config.port))
    return sock


def _sockets(config: Config) -> tuple[socket.socket, socket.socket]:
    """UDP and TCP: those of the process before this one, else new ones that the next will get.

    A killed daemon's askers wait a moment then; a closed socket would refuse them the name.
    """
    kinds = socket.SOCK_DGRAM, socket.SOCK_STREAM
    where = config.listen_host, config.port
    found = {s.type: s for s in kept_sockets.take() if s.getsockname() == where}
    if found.keys() != set(kinds):
        found = {kind: _socket(kind, config) for kind in kinds}
        found[socket.SOCK_STREAM].listen()
        kept_sockets.keep([found[kind] for kind in kinds])
    for sock in found.values():
        sock.setblocking(False)
    return found[kinds[0]], found[kinds[1]]


async def _follow(resolver: Resolver, bbs: BbsClient) -> None:
    async for event in bbs.events():
        if isinstance(event, Connected):
            resolver.instances.replace(await bbs.desired_lrps(), await bbs.actual_lrps())
        else:
            resolver.instances.apply(event.name, event.message)


async def _follow_modes(resolver: Resolver, directory: Path) -> None:
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)  # whoever comes first
    watch = Watch(directory)
    try:
        while True:
            resolver.set_modes(proxies.read(directory).values())
            await watch.news()
    finally:
        watch.close()


async def serve(config: Config) -> None:
    """Serve until cancelled."""
    resolver = Resolver(config)
    slots = asyncio.Semaphore(_MAX_TCP_CLIENTS)

    async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = str(writer.get_extra_info("peername")[0])
        try:
            async with slots, asyncio.timeout(_TCP_IDLE_SECONDS):
                while True:
                    size = int.from_bytes(await reader.readexactly(2), "big")
                    reply = await resolver.resolve(
                        await reader.readexactly(size), tcp=True, asker=peer
                    )
                    if reply is None:
                        return
                    writer.write(reply)
                    await writer.drain()
        except (TimeoutError, OSError, asyncio.IncompleteReadError):
            return
        finally:
            writer.close()

    loop = asyncio.get_running_loop()
    udp, tcp = _sockets(config)
    transport, _ = await loop.create_datagram_endpoint(lambda: _Udp(resolver), sock=udp)
    server = await asyncio.start_server(client, sock=tcp)
    runtime.notify_ready()
    try:
        bbs = BbsClient(config.bbs_url, config.tls)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(runtime.keep_trying(lambda: _follow(resolver, bbs), "BBS's events"))
            if config.proxies_dir:
                tasks.create_task(_follow_modes(resolver, Path(config.proxies_dir)))
    finally:
        transport.close()
        server.close()


def run(config: dict[str, Any]) -> None:
    """Entry point of the daemon."""
    parsed = runtime.parse(Config, config)
    runtime.run_async(lambda: serve(parsed))
