"""UAA's public documents and its tokens: /login, /token_key(s), /oauth/token and what revokes."""

from __future__ import annotations

import base64
import binascii
import re
from typing import Annotated, Any
from urllib.parse import unquote

from fastapi import APIRouter, Depends, Request
from fastapi.responses import JSONResponse
from jwt.algorithms import RSAAlgorithm

from meshnet.capi.service import Svc, base_url
from meshnet.capi.uaa.guard import UaaError, signed_in
from meshnet.capi.uaa.tokens import GrantError
from meshnet.wire.token import ALGORITHM, REFRESH_SUFFIX, AccessToken, pem

router = APIRouter()
SignedIn = Annotated[AccessToken, Depends(signed_in)]
_REVOKERS = frozenset({"uaa.admin", "tokens.revoke"})
_JTI = re.compile(r"[0-9a-f]{32}(-r)?")


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
        raise UaaError(exc.status, exc.error, str(exc)) from exc
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


@router.delete("/oauth/token/revoke/{jti}")
async def revoke(jti: str, service: Svc, token: SignedIn) -> JSONResponse:
    """Refuse a token from now on: one's own, or any for who may."""
    if jti.removesuffix(REFRESH_SUFFIX) != token.jti and not token.scopes & _REVOKERS:
        raise UaaError(403, "insufficient_scope", "Insufficient scope for this resource")
    if not _JTI.fullmatch(jti):
        raise UaaError(404, "not_found", f"Token with id {jti[:64]!r} not found")
    # An access token and the refresh token that came with it go by one id.
    service.tokens.revoke(jti.removesuffix(REFRESH_SUFFIX))
    return JSONResponse({})


@router.get("/oauth/token/revoke/user/{guid}")
async def revoke_user(guid: str, service: Svc, token: SignedIn) -> JSONResponse:
    """Refuse all tokens that a user has got so far."""
    if guid != token.user_guid and not token.scopes & _REVOKERS:
        raise UaaError(403, "insufficient_scope", "Insufficient scope for this resource")
    if not service.tokens.revoke_user(guid):
        raise UaaError(404, "not_found", f"User {guid[:64]!r} not found")
    return JSONResponse({})
