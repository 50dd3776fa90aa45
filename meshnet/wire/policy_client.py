"""An asynchronous client of the policy server's internal API."""

from __future__ import annotations

from typing import Any

import httpx

from meshnet.model.errors import PeerError
from meshnet.wire import policy_json as api


class PolicyClient:
    """Typed calls. Every method raises PeerError where the policy server is away."""

    def __init__(self, url: str) -> None:
        self._http = httpx.AsyncClient(base_url=url, timeout=5.0)

    async def close(self) -> None:
        """Close all connections."""
        await self._http.aclose()

    async def get_tag(self, app_guid: str) -> int:
        """The app's policy tag, 1..65535; it gets one where it has none."""
        reply = await self._call("PUT", api.TAGS, {"id": app_guid, "type": "app"})
        return int(reply["tag"], 16)

    async def watch(self, since: int) -> tuple[int, list[dict[str, Any]]]:
        """(version, tagged policies) as soon as the version is not `since`, or in half a minute."""
        reply = await self._call("GET", f"{api.WATCH}?since={since}", timeout=api.WATCH_SECONDS + 5)
        return int(reply["version"]), list(reply["policies"])

    async def _call(self, method: str, path: str, body: Any = None, timeout: float = 5.0) -> Any:
        try:
            reply = await self._http.request(method, path, json=body, timeout=timeout)
            if reply.status_code != httpx.codes.OK:
                raise PeerError(f"the policy server answered {path}: HTTP {reply.status_code}")
            return reply.json()
        except (httpx.HTTPError, ValueError) as exc:
            raise PeerError(f"the policy server does not answer: {type(exc).__name__}") from exc
