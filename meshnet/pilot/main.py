"""`meshnet run pilot`: Istio's resources (MCP) in; out: Envoy's configuration (delta ADS), and the
services that `kernel` mode balances (BPF maps).
"""

from __future__ import annotations

import asyncio
import contextlib
import http
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse
from starlette.routing import Route

from meshnet.kernel.bpf.datapath import VipServices
from meshnet.model.errors import InputError, KernelError
from meshnet.pilot import metrics
from meshnet.pilot.views import Views
from meshnet.proxy import dump
from meshnet.wire import ads_server, proxies, runtime
from meshnet.wire.directory_watch import Watch
from meshnet.wire.mcp_client import sink_session
from meshnet.wire.mcp_sink import Deltas, Sink
from meshnet.wire.tls import Tls

log = logging.getLogger("meshnet")
_RETRY_SECONDS = 1.0
_PIN_WAIT_SECONDS = 60.0


@dataclass(frozen=True)
class Config:
    """Who this Pilot is and whom it serves.

    Attributes:
        mcp_addr: Copilot's MCP source, host:port.
        ads_listen: host:port for ingress proxies, or empty.
        proxies_dir: directory where the cell announces its sidecars, or empty.
        status_socket: unix socket that answers GET /status; GET /metrics; GET /proxies/ID with
            what Pilot wants that proxy to have; GET /proxies/ID/hidden/VIP/PORT with the apps
            there that it is shown no route to.
        metrics_listen: host:port that answers GET /metrics, or empty.
        pin_dir: where the cell pins the maps of `kernel` mode, or empty.
        tls: mutual TLS with Copilot and with ingress proxies; None = plain.
    """

    node_name: str
    mcp_addr: str
    status_socket: str
    ads_listen: str = ""
    proxies_dir: str = ""
    pin_dir: str = ""
    metrics_listen: str = ""
    tls: Tls | None = None


class Pilot:
    """One Pilot: views, the proxies connected, and a server per sidecar's socket."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._sink = Sink(f"pilot~{config.node_name}")
        self._views = Views(ingress=bool(config.ads_listen), kernel_mode=bool(config.pin_dir))
        self._news = ads_server.Views(self._views.of)
        self._registry = ads_server.Registry()
        self._servers: dict[str, tuple[proxies.Sidecar, Any]] = {}
        self._ready = False
        self._services_changed = asyncio.Event()

    def apply(self, news: Deltas) -> None:
        """Take what is new in the mesh; the first time that is everything."""
        first, changed = not self._views.synced, self._views.update(news)
        self._news.changed(None if first else lambda proxy: changed.get(self._scope(proxy)))
        self._services_changed.set()
        if not self._ready:
            self._ready = True
            runtime.notify_ready()

    def _scope(self, proxy_id: str) -> str:
        return self._views.scope_of(proxy_id) or ""

    async def follow(self) -> None:
        """Run one MCP session."""
        await sink_session(self._config.mcp_addr, self._sink, self.apply, self._config.tls)

    async def serve_routers(self) -> None:
        """Serve ingress proxies at a TCP address."""
        service = ads_server.AdsService(self._news, self._registry)
        server = await ads_server.listen(self._config.ads_listen, service, tls=self._config.tls)
        await server.wait_for_termination()

    async def write_services(self) -> None:
        """Keep the cell's maps of `kernel` mode equal to what the sidecars are told."""
        pin_dir = Path(self._config.pin_dir)
        services = await asyncio.to_thread(VipServices.open, pin_dir, _PIN_WAIT_SECONDS)
        try:
            while not self._views.synced:
                await self._services_changed.wait()
            self._views.take_slots()
            _write(services.replace, self._views.slots)
            while True:
                self._services_changed.clear()
                _write(services.update, self._views.take_slots())
                await self._services_changed.wait()
        finally:
            services.close()

    async def serve_sidecars(self) -> None:
        """Serve each announced sidecar on its own socket, as they come and go."""
        directory = Path(self._config.proxies_dir)
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)  # whoever comes first
        watch = Watch(directory)
        try:
            while True:
                complete = await self._sync(proxies.read(directory))
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(None if complete else _RETRY_SECONDS):
                        await watch.news()
        finally:
            watch.close()

    async def _sync(self, wanted: Mapping[str, proxies.Sidecar]) -> bool:
        """Serve exactly the wanted sidecars; False where a socket could not be made."""
        self._views.set_sidecars(wanted)
        for guid, (sidecar, server) in list(self._servers.items()):
            if wanted.get(guid) != sidecar:
                del self._servers[guid]
                self._registry.proxies.pop(guid, None)
                await server.stop(0)
        for guid, sidecar in wanted.items():
            if guid in self._servers:
                continue
            service = ads_server.AdsService(self._news, self._registry, identity=guid)
            try:
                server = await ads_server.listen(f"unix:{sidecar.socket}", service, sidecar.uid)
            except (OSError, InputError) as exc:
                log.warning("no ADS socket for instance %s: %s", guid, exc)
                continue
            self._registry.proxies[guid] = ads_server.ProxyStatus(guid)
            self._servers[guid] = (sidecar, server)
        return self._servers.keys() == wanted.keys()

    def metrics(self) -> Starlette:
        """The ASGI application of the metrics' address."""
        return Starlette(routes=[self._metrics()])

    def _metrics(self) -> Route:
        async def answer(request: Request) -> PlainTextResponse:
            text = metrics.text(self._registry, self._sink.received_bytes)
            return PlainTextResponse(text, media_type=metrics.CONTENT_TYPE)

        return Route("/metrics", answer)

    def status(self) -> Starlette:
        """The ASGI application behind the status socket."""

        async def status(request: Request) -> JSONResponse:
            rows = self._registry.status(self._news)
            return JSONResponse(
                {
                    "synced_mcp": self._views.synced,
                    "proxies": rows,
                    "received_bytes": self._sink.received_bytes,
                    "pushed_bytes": self._registry.pushed_bytes,
                }
            )

        async def wanted(request: Request) -> JSONResponse:
            view = self._views.of(request.path_params["proxy"])
            if view is None:
                return JSONResponse({"error": "no such proxy"}, http.HTTPStatus.NOT_FOUND)
            return JSONResponse(await asyncio.to_thread(dump.wanted, view))

        async def hidden(request: Request) -> JSONResponse:
            asked = request.path_params
            apps = self._views.hidden(asked["proxy"], (asked["address"], asked["port"]))
            return JSONResponse({"apps": apps})

        return Starlette(
            routes=[
                Route("/status", status),
                self._metrics(),
                Route("/proxies/{proxy}", wanted),
                Route("/proxies/{proxy}/hidden/{address}/{port:int}", hidden),
            ]
        )


def _write(write: Callable[[Any], object], services: Mapping[Any, Any]) -> None:
    """Where there is no room for all, the others go on: proxies are served by this loop, too."""
    try:
        write(services)
    except KernelError as exc:
        log.warning("%s", exc)


async def serve(config: Config) -> None:
    """Serve until cancelled."""
    pilot = Pilot(config)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(runtime.serve_asgi(pilot.status(), uds=config.status_socket))
        tasks.create_task(runtime.keep_trying(pilot.follow, "Copilot's MCP"))
        if config.metrics_listen:
            host, _, port = config.metrics_listen.rpartition(":")
            app = pilot.metrics()
            tasks.create_task(runtime.serve_asgi(app, host=host, port=int(port)))
        if config.ads_listen:
            tasks.create_task(pilot.serve_routers())
        if config.pin_dir:
            tasks.create_task(runtime.keep_trying(pilot.write_services, "kernel mode's maps"))
        if config.proxies_dir:
            tasks.create_task(pilot.serve_sidecars())


def run(config: dict[str, Any]) -> None:
    """Entry point of the daemon."""
    parsed = runtime.parse(Config, config)
    runtime.run_async(lambda: serve(parsed))
