"""UAA's users by SCIM: /Users, and /userinfo."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel, ConfigDict, Field

from meshnet.capi.service import Svc
from meshnet.capi.tables import shown_time
from meshnet.capi.uaa import scim
from meshnet.capi.uaa.directory import DEFAULT_GROUPS, MAX_PASSWORD, TooManyLogins, UaaUser
from meshnet.capi.uaa.guard import UaaError, needs, signed_in
from meshnet.capi.uaa.lockout import Locked
from meshnet.capi.uaa.tokens import LOCKED
from meshnet.model.errors import InputError
from meshnet.wire.token import AccessToken

router = APIRouter()
Json = dict[str, Any]
_MAX_COUNT = 500
_SCHEMAS = ["urn:scim:schemas:core:1.0"]
Reader = Annotated[AccessToken, Depends(needs("scim.read"))]
Writer = Annotated[AccessToken, Depends(needs("scim.write"))]
Creator = Annotated[AccessToken, Depends(needs("scim.write", "scim.create"))]
SignedIn = Annotated[AccessToken, Depends(signed_in)]


class Scim(BaseModel):
    """SCIM lets clients send attributes that a server does not keep."""

    model_config = ConfigDict(extra="ignore", strict=True)


class Name(Scim):
    """A person's name."""

    familyName: str | None = Field(default=None, max_length=255)
    givenName: str | None = Field(default=None, max_length=255)


class Email(Scim):
    """An address."""

    value: str = Field(max_length=255)


class NewUser(Scim):
    """POST /Users."""

    userName: str
    password: str | None = None
    origin: str | None = None
    active: bool = True
    name: Name = Name()
    emails: list[Email] = Field(default_factory=list, max_length=20)


class Password(Scim):
    """PUT /Users/ID/password."""

    password: str
    oldPassword: str | None = None


def shown(user: UaaUser) -> Json:
    """A user as SCIM shows it."""
    groups = (*DEFAULT_GROUPS, *user.groups)
    updated = shown_time(user.updated_at or user.created_at)
    return {
        "id": user.guid,
        "meta": {"version": 0, "created": shown_time(user.created_at), "lastModified": updated},
        "userName": user.username,
        "name": {"familyName": user.family_name, "givenName": user.given_name},
        "emails": [{"value": value, "primary": i == 0} for i, value in enumerate(user.emails)],
        "groups": [{"value": g, "display": g, "type": "DIRECT"} for g in groups],
        "approvals": [],
        "active": user.active,
        "verified": True,
        "origin": user.origin,
        "zoneId": "uaa",
        "passwordLastModified": updated,
        "schemas": _SCHEMAS,
    }


def _attributes(user: UaaUser) -> scim.Attributes:
    updated = shown_time(user.updated_at or user.created_at)
    values: dict[str, tuple[scim.Value, ...]] = {
        "id": (user.guid,),
        "username": (user.username,),
        "origin": (user.origin,),
        "active": (user.active,),
        "verified": (True,),
        "externalid": ("",),
        "meta.created": (shown_time(user.created_at),),
        "meta.lastmodified": (updated,),
        **dict.fromkeys(("givenname", "name.givenname"), (user.given_name,)),
        **dict.fromkeys(("familyname", "name.familyname"), (user.family_name,)),
        **dict.fromkeys(("email", "emails", "emails.value"), user.emails),
    }
    return values.__getitem__


@router.get("/Users")
async def users(request: Request, service: Svc, token: Reader) -> Json:
    """Users that a SCIM filter picks."""
    params = request.query_params
    start, count = _number(params.get("startIndex"), 1), _number(params.get("count"), 100)
    try:
        test = scim.parse(params["filter"]) if params.get("filter") else lambda get: True
    except InputError as exc:
        raise UaaError(400, "scim", str(exc), str(exc)) from exc
    found = [user for user in service.records.uaa.users.all() if test(_attributes(user))]
    page = found[start - 1 : start - 1 + min(count, _MAX_COUNT)]
    return {
        "resources": [shown(user) for user in page],
        "startIndex": start,
        "itemsPerPage": min(count, _MAX_COUNT),
        "totalResults": len(found),
        "schemas": _SCHEMAS,
    }


def _number(text: str | None, default: int) -> int:
    if text is None:
        return default
    if not (text.isascii() and text.isdecimal() and len(text) < 10 and int(text) > 0):
        raise UaaError(400, "scim", "startIndex and count must be positive numbers")
    return int(text)


@router.post("/Users", status_code=201)
async def create(body: NewUser, service: Svc, token: Creator) -> Json:
    """Create a user who may sign in with a password."""
    directory = service.records.uaa
    name = body.userName.strip()
    if not 1 <= len(name) <= 255 or not name.isprintable():
        raise UaaError(400, "invalid_scim_resource", "A username must be provided.")
    if body.origin not in (None, "", "uaa"):
        raise UaaError(400, "invalid_scim_resource", f"There is no origin {body.origin!r} here.")
    _check_password(body.password or "")
    _check_free(service, name)
    hashed = await _hashed(service, body.password or "")
    _check_free(service, name)  # again: another request may have been quicker
    made = UaaUser(
        username=name,
        password=hashed,
        emails=tuple(email.value for email in body.emails) or (name,),
        given_name=body.name.givenName or "",
        family_name=body.name.familyName or "",
        active=body.active,
    )
    return shown(directory.users.put(made))


def _check_password(password: str) -> None:
    if not 1 <= len(password) <= MAX_PASSWORD:
        text = f"Password must be between 1 and {MAX_PASSWORD} characters in length."
        raise UaaError(400, "invalid_password", text, text)


def _check_free(service: Svc, name: str) -> None:
    known = service.records.uaa.users.named(name)
    if known is not None:
        text = f"Username already in use: {name}"
        raise UaaError(409, "scim_resource_already_exists", text, text)


def _user(service: Svc, guid: str) -> UaaUser:
    found = service.records.uaa.users.find(guid)
    if found is None:
        text = f"User {guid} does not exist"
        raise UaaError(404, "scim_resource_not_found", text, text)
    return found


@router.get("/Users/{guid}")
async def show(guid: str, service: Svc, token: SignedIn) -> Json:
    """One user: oneself, or anybody for who may read all."""
    if guid != token.user_guid and not token.scopes & {"scim.read", "uaa.admin"}:
        raise UaaError(403, "insufficient_scope", "Insufficient scope for this resource")
    return shown(_user(service, guid))


def _check_not_of_lab(user: UaaUser) -> None:
    if user.of_lab:
        text = "This user is named in the lab file. Change that."
        raise UaaError(400, "invalid_scim_resource", text, text)


@router.delete("/Users/{guid}")
async def delete(guid: str, service: Svc, token: Writer) -> Json:
    """Delete a user; all their tokens end."""
    user = _user(service, guid)
    _check_not_of_lab(user)
    service.records.uaa.users.delete(guid)
    return shown(user)


@router.put("/Users/{guid}/password")
async def change_password(guid: str, body: Password, service: Svc, token: SignedIn) -> Json:
    """Change a password: one's own with the old one, anybody's for who may write all."""
    directory, user = service.records.uaa, _user(service, guid)
    allowed = token.scopes & {"password.write", "uaa.admin"} and guid == token.user_guid
    if not allowed and not token.scopes & {"scim.write", "uaa.admin"}:
        raise UaaError(403, "insufficient_scope", "Insufficient scope for this resource")
    _check_not_of_lab(user)
    _check_password(body.password)
    if guid == token.user_guid:
        await _check_old(service, user, body.oldPassword or "")
    hashed = await _hashed(service, body.password)
    directory.users.put(replace(_user(service, guid), password=hashed))
    return {"status": "ok", "message": "password updated"}


async def _check_old(service: Svc, user: UaaUser, password: str) -> None:
    """Who found a terminal signed in must not guess the password there either."""
    try:
        fits = await service.records.uaa.signs_in(user, password)
    except Locked as exc:
        raise UaaError(401, "unauthorized", LOCKED) from exc
    except TooManyLogins as exc:
        raise _too_many() from exc
    if not fits:
        raise UaaError(401, "unauthorized", "Old password is incorrect")


async def _hashed(service: Svc, password: str) -> str:
    try:
        return await service.records.uaa.hashed(password)
    except TooManyLogins as exc:
        raise _too_many() from exc


def _too_many() -> UaaError:
    return UaaError(429, "too_many_requests", "Too many logins: try again")


@router.get("/userinfo")
async def userinfo(service: Svc, token: SignedIn) -> Json:
    """Whose token it is (OpenID Connect)."""
    if "openid" not in token.scopes:
        raise UaaError(403, "insufficient_scope", "Insufficient scope for this resource")
    user = _user(service, token.user_guid)
    return {
        "user_id": user.guid,
        "sub": user.guid,
        "user_name": user.username,
        "origin": user.origin,
        "email": user.emails[0] if user.emails else user.username,
        "given_name": user.given_name,
        "family_name": user.family_name,
        "name": f"{user.given_name} {user.family_name}".strip(),
    }
