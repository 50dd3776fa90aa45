"""Gives each request an id that its answer carries: the cf CLI shows it with odd errors."""

from __future__ import annotations

import re
import uuid

from starlette.types import ASGIApp, Message, Receive, Scope, Send

# Where answers made outside of this middleware (to what nobody expected) find it.
SCOPE_KEY = "meshnet.request_id"
_HEADER = b"x-vcap-request-id"
_GIVEN = re.compile(rb"[\w.:-]{1,255}")


class RequestId:
    """Middleware: X-Vcap-Request-Id, the client's own before ours where it sent one, as in CC."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = next((value for name, value in scope["headers"] if name == _HEADER), b"")
        own = str(uuid.uuid4()).encode()
        request_id = given + b"::" + own if _GIVEN.fullmatch(given) else own
        scope[SCOPE_KEY] = request_id.decode()

        async def tagged(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), (_HEADER, request_id)]
            await send(message)

        await self._app(scope, receive, tagged)
