"""UAA's public documents and its tokens: /login, /token_key(s), /oauth/token."""

from __future__ import annotations

import base64
import binascii
from typing import Any
from urllib.parse import unquote

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse
from jwt.algorithms import RSAAlgorithm

from meshnet.capi.service import Svc, base_url
from meshnet.capi.uaa.tokens import GrantError
from meshnet.wire.token import ALGORITHM, pem

router = APIRouter()


@router.get("/login")
async def login(request: Request) -> dict[str, Any]:
    """UAA's login document; public."""
    base = base_url(request)
    return {
        "app": {"version": "74.0.0"},
        "links": {"uaa": base, "login": base},
        "prompts": {"username": ["text", "Email"], "password": ["password", "Password"]},
    }


def _jwk(kid: str, key: Any) -> dict[str, Any]:
    return {
        **{k: v for k, v in RSAAlgorithm.to_jwk(key, as_dict=True).items() if k in "kty n e"},
        "kid": kid,
        "alg": ALGORITHM,
        "use": "sig",
        "value": pem(key),
    }


@router.get("/token_key")
async def token_key(service: Svc) -> dict[str, Any]:
    """The public key of tokens signed now; public."""
    return [_jwk(kid, key) for kid, key in service.tokens.keys.public.items()][-1]


@router.get("/token_keys")
async def token_keys(service: Svc) -> dict[str, Any]:
    """All public keys of tokens that are accepted; public."""
    return {"keys": [_jwk(kid, key) for kid, key in service.tokens.keys.public.items()]}


@router.post("/oauth/token")
async def token(request: Request, service: Svc) -> JSONResponse:
    """UAA's grants: password, refresh_token, client_credentials."""
    form = {k: v for k, v in (await request.form()).items() if isinstance(v, str)}
    try:
        client = service.tokens.client(*_client_login(request, form))
        answer = await service.tokens.grant(client, form, f"{base_url(request)}/oauth/token")
    except GrantError as exc:
        error = {"error": exc.error, "error_description": str(exc)}
        return JSONResponse(error, status_code=exc.status)
    return JSONResponse(answer, headers={"Cache-Control": "no-store"})


def _client_login(request: Request, form: dict[str, str]) -> tuple[str, str]:
    """The client's id and secret: HTTP Basic, else in the form. Raises GrantError."""
    scheme, _, value = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "basic":
        return form.get("client_id", ""), form.get("client_secret", "")
    try:
        text = base64.b64decode(value, validate=True).decode()
    except (binascii.Error, UnicodeError) as exc:
        raise GrantError("unauthorized", "Bad credentials") from exc
    client_id, _, secret = text.partition(":")
    return unquote(client_id), unquote(secret)
