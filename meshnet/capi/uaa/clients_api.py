"""UAA's clients: programs that act for themselves with an id and a secret."""

from __future__ import annotations

import re
from typing import Annotated, Any

from fastapi import APIRouter, Depends
from pydantic import Field

from meshnet.capi.service import Svc
from meshnet.capi.uaa.directory import MAX_PASSWORD, UaaClient
from meshnet.capi.uaa.guard import UaaError, needs
from meshnet.capi.uaa.tokens import CF, secret_digest
from meshnet.capi.uaa.users_api import Scim
from meshnet.wire.token import AccessToken

router = APIRouter()
Json = dict[str, Any]
Reader = Annotated[AccessToken, Depends(needs("clients.read", "clients.write"))]
Writer = Annotated[AccessToken, Depends(needs("clients.write"))]
_ID = re.compile(r"[\w.@-]{1,255}", re.ASCII)
_GRANTS = ("client_credentials", "password", "refresh_token")
Names = Annotated[list[str], Field(max_length=100)]


class NewClient(Scim):
    """POST /oauth/clients."""

    client_id: str
    client_secret: str = ""
    authorized_grant_types: Names = Field(default_factory=lambda: ["client_credentials"])
    scope: Names = Field(default_factory=list)
    authorities: Names = Field(default_factory=list)


def _shown(client: UaaClient) -> Json:
    return {
        "client_id": client.guid,
        "authorized_grant_types": list(client.grants),
        "scope": list(client.scopes) or ["uaa.none"],
        "authorities": list(client.authorities) or ["uaa.none"],
        "autoapprove": [],
        "resource_ids": ["none"],
    }


@router.get("/oauth/clients")
async def clients(service: Svc, token: Reader) -> Json:
    """Every client."""
    rows = [_shown(client) for client in (CF, *service.records.uaa.clients.all())]
    count = len(rows)
    return {"resources": rows, "startIndex": 1, "itemsPerPage": count, "totalResults": count}


@router.post("/oauth/clients", status_code=201)
async def create(body: NewClient, service: Svc, token: Writer) -> Json:
    """Create a client; its own tokens hold the authorities it is given here."""
    table = service.records.uaa.clients
    if not _ID.fullmatch(body.client_id):
        raise _invalid("client_id must be letters, digits and any of .@_-, at most 255")
    if body.client_id == CF.guid or table.find(body.client_id) is not None:
        text = f"Client already exists: {body.client_id}"
        raise UaaError(409, "invalid_client", text, text)
    if unknown := sorted(set(body.authorized_grant_types) - {*_GRANTS}):
        raise _invalid(f"{unknown[0][:64]!r} is not an allowed grant type: {', '.join(_GRANTS)}")
    secret = body.client_secret
    if len(secret) > MAX_PASSWORD:
        raise _invalid(f"Client secret must be at most {MAX_PASSWORD} characters in length.")
    if not secret and "client_credentials" in body.authorized_grant_types:
        raise _invalid("Client secret is required for client_credentials")
    made = UaaClient(
        guid=body.client_id,
        secret=secret_digest(body.client_id, secret),
        grants=tuple(body.authorized_grant_types),
        scopes=tuple(body.scope),
        authorities=tuple(body.authorities),
    )
    return _shown(table.put(made))


def _invalid(text: str) -> UaaError:
    return UaaError(400, "invalid_client", text, text)


def _client(service: Svc, client_id: str) -> UaaClient:
    found = CF if client_id == CF.guid else service.records.uaa.clients.find(client_id)
    if found is None:
        text = f"No client with requested id: {client_id[:64]}"
        raise UaaError(404, "not_found", text, text)
    return found


@router.get("/oauth/clients/{client_id}")
async def show(client_id: str, service: Svc, token: Reader) -> Json:
    """One client."""
    return _shown(_client(service, client_id))


@router.delete("/oauth/clients/{client_id}")
async def delete(client_id: str, service: Svc, token: Writer) -> Json:
    """Delete a client; its own tokens end."""
    client = _client(service, client_id)
    if client is CF:
        raise _invalid("The client cf is built in.")
    service.records.uaa.clients.delete(client.guid)
    return _shown(client)
