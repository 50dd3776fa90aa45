"""`meshnet run lease`: silk-controller's API: which cell has which part of the overlay."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from meshnet.lease.pool import allocate
from meshnet.model.errors import Conflict, InputError
from meshnet.store import Store
from meshnet.wire import lease_api as api
from meshnet.wire import runtime
from meshnet.wire.lease_api import Lease

_KIND = "lease"


@dataclass(frozen=True)
class Config:
    """Where leases are served and kept; `static` fixes subnets by underlay address."""

    listen_host: str
    store: str
    overlay: str
    listen_port: int = 4103
    subnet_prefix: int = 24
    static: dict[str, str] = field(default_factory=dict)


class Leases:
    """The leases and the version that counts their changes since this start."""

    def __init__(self, config: Config) -> None:
        self._config, self._store = config, Store.open(config.store)
        self.version = 1
        self._changed = asyncio.Event()

    def all(self) -> list[dict[str, str]]:
        """Every lease as JSON."""
        return list(self._store.list(_KIND).values())

    def acquire(self, underlay_ip: str) -> dict[str, str]:
        """A cell's lease. Raises Conflict, InputError."""
        taken = {ip: v["overlay_subnet"] for ip, v in self._store.list(_KIND).items()}
        config = self._config
        subnet = allocate(config.overlay, config.subnet_prefix, taken, config.static, underlay_ip)
        lease = Lease(underlay_ip, subnet, api.vtep_mac(subnet)).to_json()
        if underlay_ip not in taken:
            self._store.put(_KIND, underlay_ip, lease)
            self._bump()
        return lease

    def renew(self, lease: dict[str, Any]) -> None:
        """Check that a cell's lease is the one kept. Raises Conflict."""
        if self._store.get(_KIND, str(lease.get("underlay_ip"))) != lease:
            raise Conflict("lease mismatch: acquire it again")

    def release(self, underlay_ip: str) -> None:
        """Forget a cell's lease."""
        if self._store.delete(_KIND, underlay_ip):
            self._bump()

    async def changed_since(self, version: int) -> None:
        """Return when the version differs or the long poll's time is over."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(api.WATCH_SECONDS):
                while self.version == version:
                    await self._changed.wait()

    def _bump(self) -> None:
        self.version += 1
        self._changed.set()
        self._changed = asyncio.Event()


def application(leases: Leases) -> Starlette:
    """The ASGI application."""

    async def put(request: Request) -> Response:
        try:
            body = await request.json()
            if request.url.path == api.ACQUIRE:
                return JSONResponse(leases.acquire(str(body["underlay_ip"])))
            if request.url.path == api.RENEW:
                leases.renew(body)
            else:
                leases.release(str(body["underlay_ip"]))
        except Conflict as exc:
            return JSONResponse({"error": str(exc)}, status_code=409)
        except (InputError, ValueError, KeyError, TypeError, AttributeError) as exc:
            return JSONResponse({"error": f"bad request: {exc}"}, status_code=400)
        return JSONResponse({})

    async def listing(request: Request) -> Response:
        return JSONResponse({"leases": leases.all()})

    async def watch(request: Request) -> Response:
        since = request.query_params.get("since", "0")
        if not since.isdecimal():
            return JSONResponse({"error": "since must be a number"}, status_code=400)
        await leases.changed_since(int(since))
        return JSONResponse({"version": leases.version, "leases": leases.all()})

    return Starlette(
        routes=[
            *(Route(p, put, methods=["PUT"]) for p in (api.ACQUIRE, api.RENEW, api.RELEASE)),
            Route(api.LEASES, listing),
            Route(api.WATCH, watch),
        ]
    )


async def serve(config: Config) -> None:
    """Serve until cancelled."""
    app = application(Leases(config))
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(runtime.serve_asgi(app, host=config.listen_host, port=config.listen_port))
        await asyncio.sleep(0)
        runtime.notify_ready()


def run(config: dict[str, Any]) -> None:
    """Entry point of the daemon."""
    parsed = runtime.parse(Config, config)
    runtime.run_async(lambda: serve(parsed))
