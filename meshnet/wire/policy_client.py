"""An asynchronous client of the policy server's internal API."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import httpx

from meshnet.model.errors import PeerError
from meshnet.wire import policy_json as api
from meshnet.wire.http_client import http_client
from meshnet.wire.policy_json import Delta, read_tagged
from meshnet.wire.tls import Tls


@dataclass(frozen=True)
class Update:
    """What a watcher is told: all policies where `full`, else what came and went."""

    version: int
    full: bool
    delta: Delta


class PolicyClient:
    """Typed calls. Every method raises PeerError where the policy server is away."""

    def __init__(self, url: str, tls: Tls | None = None) -> None:
        self._http = http_client(url, tls)

    async def close(self) -> None:
        """Close all connections."""
        await self._http.aclose()

    async def get_tag(self, app_guid: str) -> int:
        """The app's policy tag, 1..65535; it gets one where it has none."""
        reply = await self._call("PUT", api.TAGS, {"id": app_guid, "type": api.APP})
        return int(reply["tag"], 16)

    async def changes(self, since: int) -> Update:
        """What is new after version `since`, as soon as something is, or in half a minute."""
        reply = await self._call("GET", f"{api.WATCH}?since={since}", timeout=api.WATCH_SECONDS + 5)
        try:
            full = "policies" in reply
            added = read_tagged(reply["policies"] if full else reply["added"])
            removed = [] if full else read_tagged(reply["removed"])
            return Update(int(reply["version"]), full, Delta(added, removed))
        except (KeyError, TypeError, ValueError) as exc:
            raise PeerError(f"the policy server sent an update without {exc}") from exc

    async def _call(self, method: str, path: str, body: Any = None, timeout: float = 5.0) -> Any:
        try:
            reply = await self._http.request(method, path, json=body, timeout=timeout)
            if reply.status_code != httpx.codes.OK:
                raise PeerError(f"the policy server answered {path}: HTTP {reply.status_code}")
            return reply.json()
        except (httpx.HTTPError, ValueError) as exc:
            raise PeerError(f"the policy server does not answer: {type(exc).__name__}") from exc
