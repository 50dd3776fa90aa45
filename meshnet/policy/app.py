"""The policy server's two HTTP faces."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import httpx
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from meshnet.model.errors import Conflict, InputError
from meshnet.policy.state import QuotaExceeded, State
from meshnet.wire import policy_json as api
from meshnet.wire.token import TokenError, Verifier

_MAX_BODY = 10 * 1024 * 1024
_GUIDS_PER_CALL = 100  # as the policy server of CF; a longer request line would be refused
_ADMIN, _WRITE = "network.admin", "network.write"
Handler = Callable[[Request], Awaitable[Response]]


class _Refused(Exception):
    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


def _guarded(handler: Handler) -> Handler:
    async def guarded(request: Request) -> Response:
        try:
            return await handler(request)
        except _Refused as exc:
            headers = {"WWW-Authenticate": "Bearer"} if exc.status == 401 else None
            return JSONResponse({"error": str(exc)}, status_code=exc.status, headers=headers)
        except QuotaExceeded as exc:
            return JSONResponse({"error": str(exc)}, status_code=403)
        except Conflict as exc:
            return JSONResponse({"error": str(exc)}, status_code=500)
        except InputError as exc:
            return JSONResponse({"error": str(exc)}, status_code=400)

    return guarded


async def _json(request: Request) -> Any:
    body = await request.body()
    if len(body) > _MAX_BODY:
        raise _Refused(413, "request body is too large")
    try:
        return await request.json()
    except ValueError as exc:
        raise InputError(f"mapper: unmarshal json: {exc}") from exc


class External:
    """For users: needs a token with network.admin or network.write."""

    def __init__(self, state: State, tokens: Verifier, capi: httpx.AsyncClient) -> None:
        self._state, self._tokens, self._capi = state, tokens, capi

    def _authorize(self, request: Request) -> str:
        header = request.headers.get("authorization")
        if not header:
            raise _Refused(401, "missing authorization header")
        try:
            scopes = self._tokens.authorization(header).scopes
        except TokenError as exc:
            raise _Refused(401, "failed to verify token with uaa") from exc
        if not scopes & {_ADMIN, _WRITE}:
            given = ", ".join(sorted(scopes))
            raise _Refused(403, f"provided scopes [{given}] do not include allowed scopes")
        return header

    async def _check_apps(self, policies: list[Any], authorization: str) -> None:
        guids = sorted({guid for p in policies for guid in (p.source, p.destination)})
        headers = {"Authorization": authorization}
        for start in range(0, len(guids), _GUIDS_PER_CALL):
            asked = guids[start : start + _GUIDS_PER_CALL]
            try:
                params = {"guids": ",".join(asked)}
                reply = await self._capi.get("/v3/apps", params=params, headers=headers)
                found = {app["guid"] for app in reply.json()["resources"]}
            except (httpx.HTTPError, ValueError, KeyError) as exc:
                raise _Refused(500, "the Cloud Controller does not answer") from exc
            if found != set(asked):
                raise _Refused(403, "one or more applications cannot be found or accessed")

    async def list(self, request: Request) -> Response:
        """GET policies; `id` filters by either side, else source_id and dest_id."""
        self._authorize(request)
        found = self._state.policies
        query = request.query_params
        if "id" in query:
            ids = set(query["id"].split(","))
            found = {p for p in found if p.source in ids or p.destination in ids}
        else:
            sources, dests = query.get("source_id"), query.get("dest_id")
            found = {
                p
                for p in found
                if (sources is None or p.source in sources.split(","))
                and (dests is None or p.destination in dests.split(","))
            }
        return JSONResponse(api.show(found))

    async def add(self, request: Request) -> Response:
        """POST policies: idempotent."""
        header = self._authorize(request)
        policies = api.parse(await _json(request))
        await self._check_apps(policies, header)
        self._state.add(policies)
        return JSONResponse({})

    async def delete(self, request: Request) -> Response:
        """POST policies/delete: unknown ones are ignored."""
        self._authorize(request)
        self._state.remove(api.parse(await _json(request)))
        return JSONResponse({})

    def application(self) -> Starlette:
        """The ASGI application."""
        return Starlette(
            routes=[
                Route(api.EXTERNAL, _guarded(self.list), methods=["GET"]),
                Route(api.EXTERNAL, _guarded(self.add), methods=["POST"]),
                Route(api.EXTERNAL + "/delete", _guarded(self.delete), methods=["POST"]),
            ]
        )


class Internal:
    """For cells, policy agents and the Cloud Controller."""

    def __init__(self, state: State) -> None:
        self._state = state

    async def list(self, request: Request) -> Response:
        """GET policies with tags."""
        return JSONResponse(api.show(self._state.policies, self._state.tags))

    async def last_updated(self, request: Request) -> Response:
        """GET policies_last_updated: a bare integer, UNIX nanoseconds."""
        return Response(str(self._state.version), media_type="application/json")

    async def watch(self, request: Request) -> Response:
        """GET policies_watch?since=VERSION: answers when there is something newer."""
        since = request.query_params.get("since", "0")
        if not since.isdecimal():
            raise InputError("since must be a number")
        await self._state.changed_since(int(since))
        rows = api.show(self._state.policies, self._state.tags)
        return JSONResponse({"version": self._state.version, **rows})

    async def tag(self, request: Request) -> Response:
        """PUT tags {id, type}; keys match whatever their case."""
        body = await _json(request)
        if not isinstance(body, dict):
            raise InputError("not an object")
        lower = {str(key).lower(): value for key, value in body.items()}
        if not isinstance(lower.get("id"), str) or not lower["id"]:
            raise InputError("missing id")
        tag = self._state.tag(lower["id"])
        return JSONResponse({"id": lower["id"], "type": "app", "tag": api.tag_text(tag)})

    async def cleanup(self, request: Request) -> Response:
        """POST apps_cleanup {app_guids}: these apps are gone."""
        body = await _json(request)
        guids = body.get("app_guids") if isinstance(body, dict) else None
        if not isinstance(guids, list) or not all(isinstance(g, str) for g in guids):
            raise InputError("app_guids must be a list of guids")
        return JSONResponse(api.show(self._state.forget_apps(guids)))

    def application(self) -> Starlette:
        """The ASGI application."""
        return Starlette(
            routes=[
                Route(api.INTERNAL, _guarded(self.list), methods=["GET"]),
                Route(api.LAST_UPDATED, _guarded(self.last_updated), methods=["GET"]),
                Route(api.WATCH, _guarded(self.watch), methods=["GET"]),
                Route(api.TAGS, _guarded(self.tag), methods=["PUT"]),
                Route(api.APPS_CLEANUP, _guarded(self.cleanup), methods=["POST"]),
            ]
        )
