"""`meshnet run cell`: the agent of one cell, in the cell's network namespace."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import time
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from meshnet.cell.agent import Agent
from meshnet.cell.config import GATEWAY, Config
from meshnet.cell.droplets import Droplets
from meshnet.cell.environment import LAUNCHER_SCRIPT
from meshnet.cell.forwarder import Forwarder
from meshnet.cell.modes import Modes
from meshnet.cell.overlay import Overlay
from meshnet.cell.tools import Tools
from meshnet.kernel.bpf.datapath import CellDatapath, CellParams
from meshnet.kernel.iptables import Iptables
from meshnet.model.errors import InputError, MeshnetError, PeerError
from meshnet.model.modes import Redirection
from meshnet.wire import runtime
from meshnet.wire.bbs_client import BbsClient
from meshnet.wire.lease_api import Lease
from meshnet.wire.log_cache_client import LogCacheClient
from meshnet.wire.policy_client import PolicyClient

log = logging.getLogger("meshnet")
_AT_ONCE = 4  # instances built at the same time


def _tools(config: Config) -> Tools:
    for name in ("records", "instances", "bundles", "droplets", "proxies"):
        (config.run / name).mkdir(parents=True, exist_ok=True, mode=0o700)
    config.launcher.write_text(LAUNCHER_SCRIPT, encoding="utf-8")
    config.launcher.chmod(0o755)
    params = CellParams(
        vip_network=config.vip_range,
        overlay_network=config.overlay_network,
        underlay_network=config.underlay_network,
        gateway=GATEWAY,
        dns_address=config.dns_address,
    )
    datapath = CellDatapath.open(Path(config.pin_dir), params)
    datapath.set_routers(config.routers)
    iptables = Iptables()
    iptables.warm_up()
    log_cache = LogCacheClient(config.log_cache_addr, config.tls)
    return Tools(
        config=config,
        bbs=BbsClient(config.bbs_url, config.tls),
        policy=PolicyClient(config.policy_internal_url, config.tls),
        datapath=datapath,
        iptables=iptables,
        droplets=Droplets(config.run / "droplets", config.tls),
        host_ports_written=_nothing_to_write,
        slots=asyncio.Semaphore(_AT_ONCE),
        seats=asyncio.Semaphore(2 * _AT_ONCE),
        modes=Modes(config),
        log_cache=log_cache,
        forwarder=Forwarder(config, log_cache),
        evacuating=bool,
    )


async def _nothing_to_write() -> None:
    """Stands where the agent puts its own."""


async def _join(overlay: Overlay) -> Lease:
    told = False
    while True:
        try:
            return await overlay.join()
        except PeerError as exc:
            if not told:
                log.warning("no lease yet: %s", exc)
                runtime.notify_status(f"waits for its lease: {exc}")
            told = True
        await asyncio.sleep(0.1)


def _status(agent: Agent) -> Starlette:
    async def status(request: Request) -> JSONResponse:
        return JSONResponse(agent.status())

    async def set_mode(request: Request) -> JSONResponse:
        try:
            body = await request.json()
            redirection = Redirection(body["mode"], body["sockmap"]) if body["mode"] else None
            # Who asked has given up and told the user so.
            if time.monotonic() > float(body["until"]):
                raise InputError("asked too long ago")
            before = await agent.set_mode(str(body["app_guid"]), redirection)
        except (ValueError, KeyError, TypeError) as exc:
            return JSONResponse({"error": f"not a mode: {exc}"}, status_code=400)
        except InputError as exc:
            return JSONResponse({"error": str(exc)}, status_code=400)
        except MeshnetError as exc:
            return JSONResponse({"error": str(exc)}, status_code=500)
        return JSONResponse({"before": dataclasses.asdict(before) if before else None})

    async def evacuate(request: Request) -> JSONResponse:
        try:
            on = (await request.json())["evacuating"]
        except (ValueError, KeyError, TypeError):
            on = None
        if not isinstance(on, bool):
            return JSONResponse({"error": "evacuating must be true or false"}, status_code=400)
        agent.evacuation.switch(on)
        return JSONResponse({"evacuating": on})

    return Starlette(
        routes=[
            Route("/status", status),
            Route("/mode", set_mode, methods=["PUT"]),
            Route("/evacuate", evacuate, methods=["PUT"]),
        ]
    )


async def serve(config: Config) -> None:
    """Serve until cancelled; the instances run on."""
    tools = _tools(config)
    overlay = Overlay(config)
    try:
        agent = Agent(tools, await _join(overlay))
        agent.adopt()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(runtime.serve_asgi(_status(agent), uds=config.status_socket))
            for session, what in (
                (agent.follow_bbs, "BBS's events"),
                (agent.be_present, "presence at BBS"),
                (agent.write_host_ports, "host ports"),
                (agent.heal_links, "link news"),
                (agent.learn_tags, "policy tags"),
                (agent.send_logs, "logs"),
                (agent.measure, "metrics"),
                (agent.renew_identities, "instances' certificates"),
                (agent.evacuate, "evacuation"),
                (overlay.follow, "leases"),
            ):
                tasks.create_task(runtime.keep_trying(session, what))
            await asyncio.sleep(0)
            runtime.notify_ready()
    finally:
        tools.iptables.close()
        tools.datapath.close()


def run(config: dict[str, Any]) -> None:
    """Entry point of the daemon."""
    parsed = runtime.parse(Config, config)
    runtime.run_async(lambda: serve(parsed))
