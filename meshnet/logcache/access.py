"""Who may read which source: as CF's auth proxy, UAA's token and the Cloud Controller's word."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable

import httpx

from meshnet.model.errors import PeerError
from meshnet.wire.live_tokens import HELD_SECONDS, LiveTokens
from meshnet.wire.token import TokenError, Verifier

_ADMIN = frozenset({"doppler.firehose", "logs.admin"})
_MOST_REMEMBERED = 10_000


class Access:
    """Asks the Cloud Controller with the user's own token, and remembers its yes for a moment."""

    def __init__(
        self,
        tokens: Verifier,
        capi: httpx.AsyncClient,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._tokens, self._capi, self._clock = tokens, capi, clock
        self._until: dict[tuple[str, str], float] = {}
        self._live = LiveTokens(capi, clock)

    async def may_read(self, header: str, source_id: str) -> bool:
        """Whether an Authorization header lets its owner read an app's logs."""
        try:
            token = self._tokens.authorization(header)
        except TokenError:
            return False
        if token.scopes & _ADMIN:
            return await self._holds(header)
        key = (header, source_id)
        if self._until.get(key, 0) > self._clock():
            return True
        reply = await self._ask(f"/v3/apps/{source_id}", header)
        if reply is None or reply.status_code != httpx.codes.OK:
            return False
        if len(self._until) >= _MOST_REMEMBERED:
            self._until.clear()
        self._until[key] = self._clock() + HELD_SECONDS
        return True

    async def readable(self, header: str) -> set[str] | None:
        """The apps that an Authorization header lets its owner read; None = all.

        The Cloud Controller's first page of them, as in CF.
        """
        try:
            token = self._tokens.authorization(header)
        except TokenError:
            return set()
        if token.scopes & _ADMIN:
            return None if await self._holds(header) else set()
        reply = await self._ask("/v3/apps?per_page=5000", header)
        try:
            return {app["guid"] for app in reply.json()["resources"]} if reply else set()
        except (ValueError, KeyError):
            return set()

    async def _holds(self, header: str) -> bool:
        with contextlib.suppress(PeerError):
            return await self._live.holds(header)
        return False

    async def _ask(self, path: str, header: str) -> httpx.Response | None:
        try:
            return await self._capi.get(path, headers={"Authorization": header})
        except httpx.HTTPError:
            return None
