"""What both faces of the policy server share: versions, bodies, errors in CF's form."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from meshnet.model.errors import InputError, MeshnetError
from meshnet.policy.state import QuotaExceeded
from meshnet.wire import policy_json as api

log = logging.getLogger("meshnet")
MAX_BODY = 10 * 1024 * 1024
Handler = Callable[[Request], Awaitable[Response]]


class Refused(Exception):
    """A request that is answered with this status and {"error": text}."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


def error(status: int, text: str) -> Response:
    """The policy server's error body."""
    headers = {"WWW-Authenticate": "Bearer"} if status == 401 else None
    return JSONResponse({"error": text}, status_code=status, headers=headers)


def guarded(handler: Handler, failure: str) -> Handler:
    """Errors as CF's policy server answers them.

    Args:
        failure: the text of a 500.
    """

    async def answer(request: Request) -> Response:
        try:
            return await handler(request)
        except Refused as exc:
            return error(exc.status, str(exc))
        except QuotaExceeded as exc:
            return error(403, str(exc))
        except InputError as exc:
            return error(400, str(exc))
        except MeshnetError as exc:
            log.error("%s %s: %s", request.method, request.url.path, exc)
            return error(500, failure)

    return answer


def versioned(handler: Handler) -> Handler:
    """406 for versions of the API that there are none."""

    async def answer(request: Request) -> Response:
        version = request.path_params["version"]
        if version not in (api.V0, api.V1):
            return error(406, f"api version '{version}' not supported")
        return await handler(request)

    return answer


async def body(request: Request, too_large: str = "failed reading request body") -> bytes:
    """The request's body. Raises Refused 400 beyond 10 MiB, as soon as that is clear."""
    data = bytearray()
    async for chunk in request.stream():
        data += chunk
        if len(data) > MAX_BODY:
            raise Refused(400, too_large)
    return bytes(data)


def ids(request: Request, name: str) -> list[str]:
    """A query parameter's list; empty where it is not given."""
    values = request.query_params.getlist(name)
    return values[0].split(",") if values else []


def query_version(request: Request) -> str:
    """The version in the path."""
    return str(request.path_params["version"])


def is_object(value: Any) -> dict[str, Any]:
    """A JSON object with its keys in lower case: Go's decoder takes them in any case."""
    if not isinstance(value, dict):
        raise Refused(400, "failed parsing request body")
    return {str(key).lower(): item for key, item in value.items()}
