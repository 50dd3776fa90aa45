"""What goes wrong, as the API answers it: CC's form, v2's below /v2, and OAuth's for UAA."""

from __future__ import annotations

import json
import logging
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException

from meshnet.capi.errors import ApiError, bad_query, unavailable, unprocessable
from meshnet.capi.request_id import SCOPE_KEY
from meshnet.capi.uaa.guard import UaaError
from meshnet.model.errors import PeerError, PlatformError

log = logging.getLogger("meshnet")
_UNKNOWN = ApiError(404, 10000, "CF-NotFound", "Unknown request")
_OF_UAA = ("/Users", "/oauth/", "/userinfo")
# pydantic's type of an error -> what follows the field's name, as CC's validators say it.
_TEXTS = {
    "missing": "can't be blank",
    "string_type": "must be a string",
    "string_unicode": "must be valid Unicode",
    "int_type": "must be an integer",
    "int_from_float": "must be an integer",
    "bool_type": "must be a boolean",
    "list_type": "must be an array",
    "dict_type": "must be an object",
    "model_type": "must be an object",
    "model_attributes_type": "must be an object",
    "greater_than_equal": "must be greater than or equal to {ge}",
    "less_than_equal": "must be less than or equal to {le}",
    "string_too_long": "is too long (maximum is {max_length} characters)",
    "too_long": "is too long (maximum is {max_length})",
}


def install(app: FastAPI) -> None:
    """Answer errors in these forms."""
    app.add_exception_handler(ApiError, _api_error)
    app.add_exception_handler(UaaError, _uaa_error)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http_error)
    for kind in (PlatformError, PeerError):
        app.add_exception_handler(kind, _unavailable)
    app.add_exception_handler(Exception, _unknown_error)


def _answer(status: int, body: Any) -> Response:
    # Escaped: what is quoted from a request may hold a lone surrogate, which UTF-8 has not.
    return Response(json.dumps(body), status_code=status, media_type="application/json")


async def _api_error(request: Request, exc: Exception) -> Response:
    assert isinstance(exc, ApiError)
    v2 = request.url.path.startswith("/v2/")
    return _answer(exc.status, exc.v2_body() if v2 else exc.body())


async def _uaa_error(request: Request, exc: Exception) -> Response:
    assert isinstance(exc, UaaError)
    answer = _answer(exc.status, exc.body())
    if exc.status == 401:
        answer.headers["WWW-Authenticate"] = f'Bearer realm="UAA/oauth", error="{exc.error}"'
    return answer


async def _invalid(request: Request, exc: Exception) -> Response:
    assert isinstance(exc, RequestValidationError)
    error = exc.errors()[0]
    kind, text = error["loc"][0], _text(error)
    if request.url.path.startswith(_OF_UAA):
        return await _uaa_error(request, UaaError(400, "invalid_request", text, text))
    if kind == "path":
        return await _api_error(request, _UNKNOWN)
    if error["type"] == "json_invalid":
        return await _api_error(request, ApiError(400, 1001, "CF-MessageParseError", text))
    if kind == "query":
        return await _api_error(request, bad_query(f"The query parameter is invalid: {text}"))
    return await _api_error(request, unprocessable(text))


def _text(error: dict[str, Any]) -> str:
    """An error of pydantic's in CC's words: "Relationships Space Data Guid can't be blank"."""
    where = [str(part) for part in error["loc"] if part not in ("body", "query")]
    if error["type"] == "extra_forbidden":
        return f"Unknown field(s): '{where[-1]}'"
    if error["type"] == "json_invalid":
        return "Request invalid due to parse error: invalid request body"
    if not where and error["type"] == "missing":
        return "Request invalid due to parse error: invalid request body"
    name = " ".join(part.replace("_", " ") for part in where) or "body"
    known = _TEXTS.get(error["type"])
    text = known.format(**error.get("ctx", {})) if known else error["msg"]
    return f"{name[:1].upper()}{name[1:]} {text}"


async def _http_error(request: Request, exc: Exception) -> Response:
    assert isinstance(exc, HTTPException)
    error = _UNKNOWN
    if exc.status_code != 404:
        error = ApiError(exc.status_code, 1001, "CF-MessageParseError", str(exc.detail))
    if request.url.path.startswith(_OF_UAA):
        return await _uaa_error(request, UaaError(exc.status_code, "not_found", str(exc.detail)))
    return await _api_error(request, error)


async def _unavailable(request: Request, exc: Exception) -> Response:
    """The store cannot be written, or a component does not answer; nothing has changed."""
    log.warning("%s %s: %s", request.method, request.url.path, exc)
    return await _api_error(request, unavailable(str(exc)))


async def _unknown_error(request: Request, exc: Exception) -> Response:
    error = ApiError(500, 10001, "UnknownError", "An unknown error occurred.")
    answer = await _api_error(request, error)
    answer.headers["X-Vcap-Request-Id"] = str(request.scope.get(SCOPE_KEY, ""))
    return answer
