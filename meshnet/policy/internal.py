"""The policy server's internal API: cells, policy agents, Copilot and the Cloud Controller."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from meshnet.model.errors import InputError
from meshnet.policy.http import Handler, Refused, body, guarded, ids, is_object
from meshnet.policy.state import State
from meshnet.wire import policy_json as api

_TYPES = (api.APP, api.ROUTER)
_MAX_VERSION_DIGITS = 19


class Internal:
    """For components, which show a certificate."""

    def __init__(self, state: State) -> None:
        self._state = state

    async def list(self, request: Request) -> Response:
        """GET policies[?id=]: with tags."""
        asked = ids(request, "id")
        found = self._state.of(asked) if asked else self._state.policies
        return JSONResponse(api.show_tagged(map(self._state.tagged, found)))

    async def last_updated(self, request: Request) -> Response:
        """GET policies_last_updated: a bare integer, UNIX nanoseconds."""
        return Response(str(self._state.version), media_type="application/json")

    async def watch(self, request: Request) -> Response:
        """GET policies_watch?since=VERSION: what changed, as soon as something has.

        Answers {version, added, removed}; {version, policies} where what changed since is not
        known any more.
        """
        since = request.query_params.get("since", "0")
        if not (since.isascii() and since.isdecimal() and len(since) <= _MAX_VERSION_DIGITS):
            raise InputError("since must be a number")
        state = self._state
        await state.changed_since(int(since))
        delta = state.changes_since(int(since))
        if delta is None:
            rows = api.show_tagged(map(state.tagged, state.policies))
            return JSONResponse({"version": state.version, **rows})
        added, removed = ([t.to_json() for t in some] for some in (delta.added, delta.removed))
        return JSONResponse({"version": state.version, "added": added, "removed": removed})

    async def tag(self, request: Request) -> Response:
        """PUT tags {id, type}: the tag the group has, or gets."""
        try:
            value = is_object(api.load(await body(request)))
        except InputError as exc:
            raise Refused(400, "failed parsing request body") from exc
        name, kind = value.get("id"), value.get("type", api.APP)
        if not isinstance(name, str) or not name or kind not in _TYPES:
            raise Refused(400, "failed parsing request body")
        try:
            return JSONResponse(self._state.tag(_storable(name), str(kind)).to_json())
        except InputError as exc:
            raise Refused(500, "database create failed") from exc

    async def cleanup(self, request: Request) -> Response:
        """POST apps_cleanup {app_guids}: these apps are gone."""
        guids = is_object(api.load(await body(request))).get("app_guids")
        if not isinstance(guids, list) or not all(isinstance(g, str) for g in guids):
            raise InputError("app_guids must be a list of guids")
        return JSONResponse(api.show(self._state.forget_apps(guids)))

    async def security_groups(self, request: Request) -> Response:
        """GET security_groups: none; containers reach nothing beyond the mesh and its DNS."""
        return JSONResponse({"next": 0, "security_groups": []})

    async def health(self, request: Request) -> Response:
        """GET /health: 200 where the store can be read."""
        self._state.check()
        return Response()

    def application(self) -> Starlette:
        """The ASGI application."""
        read, write = "database read failed", "database create failed"
        calls: tuple[tuple[str, str, Handler, str], ...] = (
            ("GET", api.INTERNAL, self.list, read),
            ("GET", api.LAST_UPDATED, self.last_updated, read),
            ("GET", api.WATCH, self.watch, read),
            ("PUT", api.TAGS, self.tag, write),
            ("POST", api.APPS_CLEANUP, self.cleanup, "policies cleanup failed"),
            ("GET", api.SECURITY_GROUPS, self.security_groups, read),
        )
        return Starlette(
            routes=[
                *(
                    # CF's agents name any version here, and all mean the same.
                    Route(path.replace("/v1/", "/{version}/"), guarded(work, text), methods=[how])
                    for how, path, work, text in calls
                ),
                Route("/health", guarded(self.health, "check database failed")),
            ]
        )


def _storable(text: str) -> str:
    # Half a surrogate pair is no text that could be kept.
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
