"""What Copilot says of itself: its state, its sinks, and what they refused."""

from __future__ import annotations

import asyncio
from pathlib import Path

import httpx

from meshnet.copilot import status
from meshnet.copilot.state import State
from meshnet.model.routes import Route
from meshnet.store import Store
from meshnet.wire import mcp
from meshnet.wire.mcp_server import McpSource


def test_status_and_metrics_say_what_is_known_and_what_was_refused(tmp_path: Path) -> None:
    state = State(Store.open(tmp_path / "copilot.db"), "127.128.0.0/9")
    state.upsert_route(Route("r", "h.x"))
    state.map_route("r", "p", 1)
    source = McpSource()

    async def asked() -> tuple[dict[str, object], str]:
        app = httpx.ASGITransport(app=status.application(state, source))
        async with httpx.AsyncClient(transport=app, base_url="http://copilot") as client:
            says = (await client.get("/status")).json()
            return says, (await client.get("/metrics")).text

    says, _ = asyncio.run(asked())
    assert says == {
        "listed": False, "policies_known": False, "routes": 1, "mappings": 1, "sinks": [],
    }  # fmt: skip
    source.update({})
    state.set_policies({})
    source.rejections[mcp.GATEWAYS] += 2
    says, text = asyncio.run(asked())
    assert says["listed"] and says["policies_known"]
    assert f'copilot_mcp_nacks_total{{collection="{mcp.GATEWAYS}"}} 2' in text
    assert f'copilot_mcp_nacks_total{{collection="{mcp.SIDECARS}"}} 0' in text
    assert "copilot_routes 1\n" in text and text.endswith("\n")
