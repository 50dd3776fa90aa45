"""How much a request may carry: more than that is refused while it arrives, not when it is here."""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from meshnet.capi import bits
from meshnet.capi.errors import ApiError

MAX_BODY, MAX_POLICIES = 1024 * 1024, 10 * 1024 * 1024
_MAX_UPLOAD = bits.MAX_BYTES + MAX_BODY


class Limits:
    """ASGI middleware; refuses in CC's form, which the limits of Starlette do not."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers, path = Headers(scope=scope), scope["path"]
        error = _refused(path, headers)
        if error is None:
            await self._app(scope, _counted(receive, _most(path)), send)
        else:
            reply = JSONResponse(error.body(), status_code=error.status)
            await reply(scope, receive, send)


def _refused(path: str, headers: Headers) -> ApiError | None:
    length = headers.get("content-length", "0")
    too_long = not length.isdecimal() or len(length) > 15 or int(length) > _most(path)
    return _too_large(_most(path)) if too_long else None


def _is_upload(path: str) -> bool:
    return path.startswith("/v3/") and path.endswith("/upload")


def _most(path: str) -> int:
    if _is_upload(path):
        return _MAX_UPLOAD
    return MAX_POLICIES if path.startswith("/networking/") else MAX_BODY


def _too_large(most: int) -> ApiError:
    text = f"The request body is larger than {most} bytes"
    return ApiError(413, 1001, "CF-MessageParseError", text)


def _counted(receive: Receive, most: int) -> Receive:
    left = most

    async def counted() -> MutableMapping[str, Any]:
        nonlocal left
        message: Message = await receive()
        left -= len(message.get("body", b""))
        if left < 0:
            raise HTTPException(413, _too_large(most).detail)
        return message

    return counted
