"""Whether a token that is good still holds: UAA's word, for those who check tokens themselves.

A signature and a time say nothing of a password changed since, or of a user deleted. The Cloud
Controller asks UAA's records at each call; others ask UAA, as CF's do, and remember its yes for a
moment.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import httpx

from meshnet.model.errors import PeerError

HELD_SECONDS, _MOST_HELD = 5.0, 10_000
_PATH = "/userinfo"


class LiveTokens:
    """Asks UAA with the token itself."""

    def __init__(self, uaa: httpx.AsyncClient, clock: Callable[[], float] = time.monotonic) -> None:
        self._uaa, self._clock = uaa, clock
        self._until: dict[str, float] = {}

    async def holds(self, header: str) -> bool:
        """Whether the token in an Authorization header, checked already, was not taken back.

        Raises:
            PeerError: UAA does not answer.
        """
        if self._until.get(header, 0.0) > self._clock():
            return True
        try:
            reply = await self._uaa.get(_PATH, headers={"Authorization": header})
        except httpx.HTTPError as exc:
            raise PeerError(f"UAA does not answer: {type(exc).__name__}") from exc
        if reply.status_code >= httpx.codes.INTERNAL_SERVER_ERROR:
            raise PeerError(f"UAA answered {_PATH} with HTTP {reply.status_code}")
        # 403 and 404 are for those who have no `openid`, or are no user: their token holds.
        if reply.status_code == httpx.codes.UNAUTHORIZED:
            return False
        if len(self._until) >= _MOST_HELD:
            self._until.clear()
        self._until[header] = self._clock() + HELD_SECONDS
        return True
