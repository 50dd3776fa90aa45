"""`meshnet run lease`: silk-controller's API: which cell has which part of the overlay."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from meshnet.lease.leases import Config, Leases
from meshnet.model.errors import Conflict, InputError, MeshnetError
from meshnet.store import Store, hold
from meshnet.wire import lease_api as api
from meshnet.wire import runtime

_MAX_BODY = 64 * 1024


async def _body(request: Request) -> dict[str, Any]:
    """The JSON object sent. Raises InputError."""
    data = b""
    async for chunk in request.stream():
        data += chunk
        if len(data) > _MAX_BODY:
            raise InputError(f"a request may hold {_MAX_BODY} bytes at most")
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as exc:
        raise InputError(f"not JSON: {exc}") from exc
    if not isinstance(value, dict):
        raise InputError("a JSON object is needed")
    return value


def _underlay_ip(body: dict[str, Any]) -> str:
    if not isinstance(value := body.get("underlay_ip"), str):
        raise InputError("underlay_ip is needed")
    return value


def _put(work: Callable[[dict[str, Any]], dict[str, str] | None]) -> Any:
    async def endpoint(request: Request) -> Response:
        try:
            return JSONResponse(work(await _body(request)) or {})
        except Conflict as exc:
            return JSONResponse({"error": str(exc)}, status_code=409)
        except InputError as exc:
            return JSONResponse({"error": f"bad request: {exc}"}, status_code=400)
        except MeshnetError as exc:
            return JSONResponse({"error": str(exc)}, status_code=500)

    return endpoint


def application(leases: Leases) -> Starlette:
    """The ASGI application."""

    async def listing(request: Request) -> Response:
        return JSONResponse({"leases": leases.all()})

    async def watch(request: Request) -> Response:
        since = request.query_params.get("since", "0")
        if not (since.isascii() and since.isdecimal() and len(since) < 20):
            return JSONResponse({"error": "since must be a number"}, status_code=400)
        await leases.changed_since(int(since))
        return JSONResponse({"version": leases.version, "leases": leases.all()})

    calls: dict[str, Callable[[dict[str, Any]], dict[str, str] | None]] = {
        api.ACQUIRE: lambda body: leases.acquire(_underlay_ip(body)),
        api.RENEW: leases.renew,
        api.RELEASE: lambda body: leases.release(_underlay_ip(body)),
    }
    return Starlette(
        routes=[
            *(Route(path, _put(work), methods=["PUT"]) for path, work in calls.items()),
            Route(api.LEASES, listing),
            Route(api.WATCH, watch),
        ]
    )


async def serve(config: Config) -> None:
    """Serve until cancelled; a second one waits for the store until the first ends."""
    async with hold(config.store) as store:
        await _serve(config, store)


async def _serve(config: Config, store: Store) -> None:
    app = application(Leases(config, store))
    async with asyncio.TaskGroup() as tasks:
        host, port = config.listen_host, config.listen_port
        tasks.create_task(runtime.serve_asgi(app, host=host, port=port, tls=config.tls))
        await asyncio.sleep(0)
        runtime.notify_ready()


def run(config: dict[str, Any]) -> None:
    """Entry point of the daemon."""
    parsed = runtime.parse(Config, config)
    runtime.run_async(lambda: serve(parsed))
