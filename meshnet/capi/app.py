"""The Cloud Controller's ASGI application: its routers, its error bodies, and the policy proxy."""

from __future__ import annotations

from typing import Any

import httpx
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException

from meshnet.capi import (
    app_parts_api,
    apps_api,
    builds_api,
    deployments_api,
    destinations_api,
    domains_api,
    droplets_api,
    jobs_api,
    packages_api,
    processes_api,
    root_api,
    routes_api,
    v2_api,
)
from meshnet.capi.errors import ApiError, bad_query, unprocessable
from meshnet.capi.service import Service, Svc
from meshnet.capi.uaa import api as uaa_api

_MODULES = (
    *(root_api, uaa_api, jobs_api),
    *(apps_api, app_parts_api, processes_api),
    *(packages_api, builds_api, droplets_api, deployments_api),
    *(domains_api, routes_api, destinations_api, v2_api),
)
_UNKNOWN = ApiError(404, 10000, "CF-NotFound", "Unknown request")
_POLICY = "/networking/{rest:path}"


def application(service: Service) -> FastAPI:
    """The ASGI application."""
    app = FastAPI(title="meshnet Cloud Controller API", version=root_api.API_VERSION)
    app.state.service = service
    for module in _MODULES:
        app.include_router(module.router)
    app.add_api_route(_POLICY, _policy, methods=["GET", "POST"], include_in_schema=False)
    app.add_exception_handler(ApiError, _api_error)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(Exception, _unknown_error)
    return app


async def _policy(request: Request, service: Svc) -> Response:
    """The policy server's external API, at this origin as in CF."""
    headers = {
        name: value
        for name in ("authorization", "content-type")
        if (value := request.headers.get(name))
    }
    try:
        reply = await service.policy.request(
            request.method,
            request.url.path,
            params=request.query_params,
            content=await request.body(),
            headers=headers,
        )
    except httpx.HTTPError:
        return JSONResponse({"error": "the policy server does not answer"}, status_code=503)
    kind = reply.headers.get("content-type", "application/json")
    return Response(reply.content, status_code=reply.status_code, media_type=kind)


async def _api_error(request: Request, exc: Exception) -> JSONResponse:
    assert isinstance(exc, ApiError)
    body = exc.v2_body() if request.url.path.startswith("/v2/") else exc.body()
    return JSONResponse(body, status_code=exc.status)


async def _invalid(request: Request, exc: Exception) -> JSONResponse:
    assert isinstance(exc, RequestValidationError)
    error = exc.errors()[0]
    kind, text = error["loc"][0], _text(error)
    if kind == "path":
        return await _api_error(request, _UNKNOWN)
    if error["type"] == "json_invalid":
        return await _api_error(request, ApiError(400, 1001, "CF-MessageParseError", text))
    if kind == "query":
        return await _api_error(request, bad_query(f"The query parameter is invalid: {text}"))
    return await _api_error(request, unprocessable(text))


def _text(error: dict[str, Any]) -> str:
    where = [str(part) for part in error["loc"] if part not in ("body", "query")]
    if error["type"] == "extra_forbidden":
        return f"Unknown field(s): '{where[-1]}'"
    if error["type"] == "json_invalid":
        return "Request invalid due to parse error: invalid request body"
    return f"{'.'.join(where) or 'body'}: {error['msg']}"


async def _http_error(request: Request, exc: Exception) -> JSONResponse:
    assert isinstance(exc, HTTPException)
    if exc.status_code == 404:
        error = _UNKNOWN
    else:
        error = ApiError(exc.status_code, 1001, "CF-MessageParseError", str(exc.detail))
    return await _api_error(request, error)


async def _unknown_error(request: Request, exc: Exception) -> JSONResponse:
    return await _api_error(
        request, ApiError(500, 10001, "UnknownError", "An unknown error occurred.")
    )
