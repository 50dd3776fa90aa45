"""An asynchronous client of the subnet leases."""

from __future__ import annotations

from typing import Any

import httpx

from meshnet.model.errors import Conflict, InputError, PeerError
from meshnet.wire import lease_api as api
from meshnet.wire.http_client import http_client
from meshnet.wire.lease_api import Lease
from meshnet.wire.tls import Tls


class LeaseClient:
    """Typed calls. Every method raises PeerError where the controller is away."""

    def __init__(self, url: str, tls: Tls | None = None) -> None:
        self._http = http_client(url, tls)

    async def close(self) -> None:
        """Close all connections."""
        await self._http.aclose()

    async def acquire(self, underlay_ip: str) -> Lease:
        """The cell's lease, the same at every call. Raises Conflict where none is free."""
        reply = await self._call("PUT", api.ACQUIRE, {"underlay_ip": underlay_ip})
        return Lease.from_json(reply)

    async def renew(self, lease: Lease) -> None:
        """Keep a lease. Raises Conflict where the controller has it otherwise."""
        await self._call("PUT", api.RENEW, lease.to_json())

    async def release(self, underlay_ip: str) -> None:
        """Give a lease back."""
        await self._call("PUT", api.RELEASE, {"underlay_ip": underlay_ip})

    async def leases(self) -> list[Lease]:
        """Every lease."""
        return _leases(await self._call("GET", api.LEASES))

    async def watch(self, since: int) -> tuple[int, list[Lease]]:
        """(version, leases), as soon as the version is not `since`, or after half a minute."""
        reply = await self._call("GET", f"{api.WATCH}?since={since}", timeout=api.WATCH_SECONDS + 5)
        return _version(reply), _leases(reply)

    async def _call(self, method: str, path: str, body: Any = None, timeout: float = 5.0) -> Any:
        try:
            reply = await self._http.request(method, path, json=body, timeout=timeout)
        except httpx.HTTPError as exc:
            raise PeerError(f"the lease controller does not answer: {type(exc).__name__}") from exc
        if reply.status_code == httpx.codes.CONFLICT:
            raise Conflict(f"lease refused: {reply.text[:200]}")
        if reply.status_code == httpx.codes.BAD_REQUEST:
            raise InputError(f"lease refused: {reply.text[:200]}")
        if reply.status_code != httpx.codes.OK:
            raise PeerError(f"the lease controller answered {path} with HTTP {reply.status_code}")
        try:
            return reply.json() if reply.content else {}
        except ValueError as exc:
            raise PeerError(f"the lease controller's answer to {path} is not JSON") from exc


def _leases(reply: Any) -> list[Lease]:
    values = reply.get("leases") if isinstance(reply, dict) else None
    if not isinstance(values, list):
        raise PeerError(f"the lease controller sent no leases: {str(reply)[:80]}")
    return [Lease.from_json(value) for value in values]


def _version(reply: Any) -> int:
    version = reply.get("version") if isinstance(reply, dict) else None
    if not isinstance(version, int):
        raise PeerError(f"the lease controller sent no version: {str(reply)[:80]}")
    return version
