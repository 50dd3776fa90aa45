"""What Copilot says of itself at its status socket: who follows it, and what they refused."""

from __future__ import annotations

from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse
from starlette.routing import Route

from meshnet.copilot.state import State
from meshnet.wire.mcp_server import McpSource

_NACKS = "copilot_mcp_nacks_total"


def application(state: State, source: McpSource) -> Starlette:
    """GET /status is JSON, GET /metrics is Prometheus's text."""

    async def status(request: Request) -> JSONResponse:
        return JSONResponse(_status(state, source))

    async def metrics(request: Request) -> PlainTextResponse:
        return PlainTextResponse("\n".join([*_metrics(state, source), ""]))

    return Starlette(routes=[Route("/status", status), Route("/metrics", metrics)])


def _status(state: State, source: McpSource) -> dict[str, Any]:
    return {
        "listed": source.serving,
        "policies_known": state.mesh.policies is not None,
        "routes": len(state.routes),
        "mappings": len(state.mappings),
        "sinks": source.status(),
    }


def _metrics(state: State, source: McpSource) -> list[str]:
    lines = [
        f"# HELP {_NACKS} Responses that a sink refused.",
        f"# TYPE {_NACKS} counter",
    ]
    for name in source.catalog.collections:
        lines.append(f'{_NACKS}{{collection="{name}"}} {source.rejections[name]}')
    gauges = {
        "copilot_mcp_sinks": len(source.status()),
        "copilot_routes": len(state.routes),
        "copilot_route_mappings": len(state.mappings),
    }
    for name, value in gauges.items():
        lines += [f"# TYPE {name} gauge", f"{name} {value}"]
    return lines
