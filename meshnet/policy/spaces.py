"""Who may touch which apps' policies: asked of the Cloud Controller, as in CF."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Iterator
from typing import Any

import httpx

from meshnet.model.errors import PeerError
from meshnet.wire.live_tokens import LiveTokens
from meshnet.wire.token import AccessToken

_PER_CALL = 100  # guids; a longer request line would be refused
_MOST_ROLES = 5000
_EARLY_SECONDS = 60.0  # a token is renewed so long before it ends


class CloudController:
    """The Cloud Controller, seen with the policy server's own UAA client.

    Raises PeerError where it does not answer.
    """

    def __init__(self, http: httpx.AsyncClient, client: str, secret: str) -> None:
        self._http, self._login = http, (client, secret)
        self._live = LiveTokens(http)
        self._token, self._ends = "", 0.0

    async def accepts(self, header: str) -> bool:
        """Whether UAA has not taken back the token in an Authorization header."""
        return await self._live.holds(header)

    async def spaces_of(self, apps: Collection[str]) -> dict[str, str]:
        """App guid to the guid of its space; apps that there are none are not in it."""
        found: dict[str, str] = {}
        for some in _chunks(sorted(apps)):
            reply = await self._get(
                "/v3/apps", {"guids": ",".join(some), "per_page": str(_PER_CALL)}
            )
            for app in reply["resources"]:
                found[app["guid"]] = app["relationships"]["space"]["data"]["guid"]
        return {app: space for app, space in found.items() if app in apps}

    async def developed_by(self, user: str) -> set[str]:
        """Guids of the spaces in which the user is a space developer."""
        query = {"types": "space_developer", "user_guids": user, "per_page": str(_MOST_ROLES)}
        reply = await self._get("/v3/roles", query)
        return {role["relationships"]["space"]["data"]["guid"] for role in reply["resources"]}

    async def may_write(self, token: AccessToken, apps: Collection[str]) -> bool:
        """Whether all these apps are in spaces in which the token's user is a developer."""
        spaces = await self.spaces_of(apps)
        if spaces.keys() != set(apps):
            return False
        return set(spaces.values()) <= await self.developed_by(token.user_guid)

    async def _get(self, path: str, query: dict[str, str]) -> Any:
        headers = {"Authorization": f"bearer {await self._bearer()}"}
        return await self._call("GET", path, params=query, headers=headers)

    async def _bearer(self) -> str:
        if time.monotonic() > self._ends - _EARLY_SECONDS:
            form = {"grant_type": "client_credentials"}
            reply = await self._call("POST", "/oauth/token", data=form, auth=self._login)
            self._token = str(reply["access_token"])
            self._ends = time.monotonic() + float(reply["expires_in"])
        return self._token

    async def _call(self, method: str, path: str, **how: Any) -> Any:
        try:
            reply = await self._http.request(method, path, **how)
            if reply.status_code == httpx.codes.UNAUTHORIZED:
                self._ends = 0.0  # it began anew: with another key or another client
            if reply.status_code != httpx.codes.OK:
                text = f"the Cloud Controller answered {path} with HTTP {reply.status_code}"
                raise PeerError(text)
            return reply.json()
        except (httpx.HTTPError, ValueError, KeyError, TypeError) as exc:
            name = type(exc).__name__
            raise PeerError(f"the Cloud Controller does not answer: {name}") from exc


def _chunks(guids: list[str]) -> Iterator[Iterable[str]]:
    for start in range(0, len(guids), _PER_CALL):
        yield guids[start : start + _PER_CALL]
