"""The Cloud Controller's ASGI application: its routers, and what it passes on."""

from __future__ import annotations

import httpx
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response

from meshnet.capi import (
    app_parts_api,
    apps_api,
    audit_events_api,
    builds_api,
    deployments_api,
    destinations_api,
    domains_api,
    droplets_api,
    error_answers,
    jobs_api,
    manifests_api,
    openapi,
    organization_quotas_api,
    organizations_api,
    packages_api,
    platform_api,
    processes_api,
    roles_api,
    root_api,
    routes_api,
    space_quotas_api,
    spaces_api,
    users_api,
    v2_api,
)
from meshnet.capi.audit import Actor
from meshnet.capi.limits import Limits
from meshnet.capi.request_id import RequestId
from meshnet.capi.service import Service, Svc
from meshnet.capi.uaa import api as uaa_api
from meshnet.capi.uaa import clients_api
from meshnet.capi.uaa import users_api as uaa_users_api
from meshnet.wire.token import TokenError

_MODULES = (
    *(root_api, uaa_api, uaa_users_api, clients_api, jobs_api, platform_api),
    *(organizations_api, spaces_api, roles_api, users_api),
    *(organization_quotas_api, space_quotas_api),
    *(apps_api, app_parts_api, processes_api, audit_events_api),
    *(packages_api, builds_api, droplets_api, deployments_api, manifests_api, openapi),
    *(domains_api, routes_api, destinations_api, v2_api),
)
_POLICY = "/networking/{rest:path}"
_LOG_CACHE = ("/api/v1/{rest:path}", "/v1/read/{rest:path}")


def application(service: Service) -> FastAPI:
    """The ASGI application."""
    app = FastAPI(
        title="meshnet Cloud Controller API",
        version=root_api.API_VERSION,
        docs_url=None,
        redoc_url=None,
        responses=openapi.RESPONSES,
    )
    app.state.service = service
    for module in _MODULES:
        app.include_router(module.router)
    app.add_api_route(_POLICY, _policy, methods=["GET", "POST"], include_in_schema=False)
    for path in _LOG_CACHE:
        app.add_api_route(path, _log_cache, methods=["GET"], include_in_schema=False)
    error_answers.install(app)
    app.add_middleware(Limits)
    app.add_middleware(RequestId)
    app.add_middleware(Actor)
    return app


async def _policy(request: Request, service: Svc) -> Response:
    """The policy server's external API, at this origin as in CF."""
    # It answers whoever has no good token without a look at the body: no need to take it in.
    try:
        service.tokens.verify(request.headers.get("authorization", ""))
        body = await request.body()
    except TokenError:
        body = b""
    return await _passed_on(request, service.policy, "the policy server", body)


async def _log_cache(request: Request, service: Svc) -> Response:
    """log-cache's read API: its own name resolves to this address."""
    return await _passed_on(request, service.log_cache, "log-cache")


async def _passed_on(
    request: Request, to: httpx.AsyncClient, who: str, body: bytes = b""
) -> Response:
    headers = {
        name: value
        for name in ("authorization", "content-type")
        if (value := request.headers.get(name))
    }
    try:
        reply = await to.request(
            request.method,
            request.url.path,
            params=request.url.query,  # as text: a parameter may be there several times
            content=body,
            headers=headers,
        )
    except httpx.HTTPError:
        return JSONResponse({"error": f"{who} does not answer"}, status_code=503)
    kind = reply.headers.get("content-type", "application/json")
    return Response(reply.content, status_code=reply.status_code, media_type=kind)
