"""The policy server's external API: users, with UAA's tokens.

Source: cf-networking-release policy-server handlers/.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from meshnet.model.errors import MeshnetError
from meshnet.model.policy import Policy
from meshnet.policy.http import Handler, Refused, body, guarded, ids, query_version, versioned
from meshnet.policy.spaces import CloudController
from meshnet.policy.state import MAX_PER_SOURCE, State
from meshnet.wire import policy_json as api
from meshnet.wire.token import AccessToken, TokenError, Verifier

_ADMIN, _WRITE = "network.admin", "network.write"
_NO_ACCESS = "one or more applications cannot be found or accessed"
_NOT_VERIFIED = "failed to verify token with uaa"
_BASE = "/networking/{version}/external"
Authorized = Callable[[Request, AccessToken], Awaitable[Response]]


@dataclass(frozen=True)
class Limits:
    """What users other than administrators may do.

    Attributes:
        self_service: space developers need no scope of their own.
        per_source: how many policies a source app may have.
    """

    self_service: bool = True
    per_source: int = MAX_PER_SOURCE


class External:
    """For users: needs a token; what it must hold depends on the call."""

    def __init__(
        self, state: State, verifier: Verifier, capi: CloudController, limits: Limits | None = None
    ) -> None:
        self._state, self._verifier, self._capi = state, verifier, capi
        self._limits = limits or Limits()
        self._began = time.monotonic()

    async def list(self, request: Request, token: AccessToken) -> Response:
        """GET policies; `id` filters by either side, else source_id and dest_id."""
        either, sources, dests = (ids(request, n) for n in ("id", "source_id", "dest_id"))
        found = self._state.policies
        if either:
            found = self._state.of(either)
        elif sources or dests:
            found = {
                p
                for p in self._state.of(sources or dests)
                if (not sources or p.source in sources) and (not dests or p.destination in dests)
            }
        shown = await self._visible(found, token)
        return JSONResponse(api.show(shown, query_version(request)))

    async def add(self, request: Request, token: AccessToken) -> Response:
        """POST policies: idempotent."""
        policies = api.parse(api.load(await body(request)), query_version(request))
        apps = _apps(policies)
        if _ADMIN in token.scopes:
            # CF lets an administrator name apps that there are none; nobody wants such a policy.
            _permit(await self._exist(apps))
            self._state.add(policies, most=None)
        else:
            _permit(await self._accessible(token, apps))
            self._state.add(policies, most=self._limits.per_source)
        return JSONResponse({})

    async def delete(self, request: Request, token: AccessToken) -> Response:
        """POST policies/delete: unknown ones are ignored."""
        raw = await body(request, "invalid request body")
        policies = api.parse(api.load(raw), query_version(request))
        if _ADMIN not in token.scopes:
            _permit(await self._accessible(token, _apps(policies)))
        self._state.remove(policies)
        return JSONResponse({})

    async def cleanup(self, request: Request, token: AccessToken) -> Response:
        """POST policies/cleanup: policies of apps that are gone are deleted and returned."""
        return JSONResponse(api.show(await self.delete_stale(), query_version(request)))

    async def delete_stale(self) -> Collection[Policy]:
        """Delete the policies of apps that are gone. Raises PeerError, PlatformError."""
        apps = _apps(self._state.policies)
        gone = apps - (await self._capi.spaces_of(apps)).keys()
        # Policies of apps made meanwhile are none of these: they were asked for before.
        return self._state.forget_apps(gone)

    async def tags(self, request: Request, token: AccessToken) -> Response:
        """GET tags."""
        tags = sorted(self._state.tags.values(), key=lambda tag: tag.tag)
        return JSONResponse({"tags": [tag.to_json() for tag in tags]})

    async def whoami(self, request: Request, token: AccessToken) -> Response:
        """GET whoami."""
        return JSONResponse({"subject": token.user_name or token.user_guid})

    async def health(self, request: Request) -> Response:
        """GET /health: 200 where the store can be read."""
        self._state.check()
        return Response()

    async def uptime(self, request: Request) -> Response:
        """GET / and /networking."""
        seconds = time.monotonic() - self._began
        return PlainTextResponse(f"Network policy server, up for {_duration(seconds)}\n")

    def application(self) -> Starlette:
        """The ASGI application."""
        policies = _BASE + "/policies"
        calls: tuple[tuple[str, str, Authorized, str, bool], ...] = (
            ("GET", policies, self.list, "filter policies failed", False),
            ("POST", policies, self.add, "database create failed", False),
            ("POST", policies + "/delete", self.delete, "database delete failed", False),
            ("POST", policies + "/cleanup", self.cleanup, "policies cleanup failed", True),
            ("GET", _BASE + "/tags", self.tags, "database read failed", True),
            ("GET", _BASE + "/whoami", self.whoami, "marshaling response failed", True),
        )
        health = guarded(self.health, "check database failed")
        return Starlette(
            routes=[
                *(
                    Route(path, versioned(self._authorized(work, text, admin)), methods=[method])
                    for method, path, work, text, admin in calls
                ),
                Route("/health", health),
                Route("/", self.uptime),
                Route("/networking", self.uptime),
            ]
        )

    def _authorized(self, work: Authorized, failure: str, admin: bool) -> Handler:
        async def handler(request: Request) -> Response:
            return await work(request, await self._authorize(request, admin))

        return guarded(handler, failure)

    async def _authorize(self, request: Request, admin: bool) -> AccessToken:
        header = request.headers.get("authorization")
        if not header:
            raise Refused(401, "missing authorization header")
        try:
            token = self._verifier.authorization(header)
        except TokenError as exc:
            raise Refused(401, _NOT_VERIFIED) from exc
        if not await self._accepted(header):
            raise Refused(401, _NOT_VERIFIED)
        allowed = [_ADMIN] if admin else [_ADMIN, _WRITE]
        if not token.scopes & set(allowed) and (admin or not self._limits.self_service):
            given, wanted = " ".join(sorted(token.scopes)), " ".join(allowed)
            text = f"provided scopes [{given}] do not include allowed scopes [{wanted}]"
            raise Refused(403, text)
        return token

    async def _accepted(self, header: str) -> bool:
        try:
            return await self._capi.accepts(header)
        except MeshnetError as exc:
            raise Refused(500, "check access failed") from exc

    async def _exist(self, apps: set[str]) -> bool:
        try:
            return (await self._capi.spaces_of(apps)).keys() == apps
        except MeshnetError as exc:
            raise Refused(500, "check access failed") from exc

    async def _accessible(self, token: AccessToken, apps: set[str]) -> bool:
        try:
            return await self._capi.may_write(token, apps)
        except MeshnetError as exc:
            raise Refused(500, "check access failed") from exc

    async def _visible(self, found: set[Policy], token: AccessToken) -> Collection[Policy]:
        if _ADMIN in token.scopes or not found:
            return found
        spaces = await self._capi.spaces_of(_apps(found))
        mine = await self._capi.developed_by(token.user_guid)
        return [p for p in found if {spaces.get(p.source), spaces.get(p.destination)} <= mine]


def _permit(good: bool) -> None:
    if not good:
        raise Refused(403, _NO_ACCESS)


def _apps(policies: Collection[Policy]) -> set[str]:
    return {app for p in policies for app in (p.source, p.destination)}


def _duration(seconds: float) -> str:
    """As Go prints a duration: 1h2m3.4s."""
    minutes, rest = divmod(seconds, 60)
    hours, minutes = divmod(int(minutes), 60)
    text = f"{hours}h{minutes}m" if hours else f"{minutes}m" if minutes else ""
    return f"{text}{rest:.9g}s"
