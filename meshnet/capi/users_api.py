"""Users as the Cloud Controller knows them; UAA keeps their names and passwords."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from meshnet.capi import removal, tenancy_present
from meshnet.capi.errors import bad_query, not_found, unprocessable
from meshnet.capi.jobs_api import accepted
from meshnet.capi.listing import Collection, listed
from meshnet.capi.metadata import Metadata, MetadataPatch, applied
from meshnet.capi.permissions import Permissions
from meshnet.capi.records import Records
from meshnet.capi.service import Base, Body, Svc, User
from meshnet.capi.tenancy_records import User as KnownUser
from meshnet.capi.uaa.directory import UaaUser

router = APIRouter()
_MAX_GUID = 255


class NewUser(Body):
    """POST /v3/users."""

    guid: str | None = None
    username: str | None = None
    origin: str | None = None
    metadata: Metadata | None = None


def sees_user(user: Permissions, other: KnownUser) -> bool:
    """Whether somebody may see a user: themselves, and those in an organization they see."""
    if user.sees_all or other.guid == user.guid:
        return True
    return any(map(user.sees_org, user.records.roles.of(other.guid)))


def _collection(records: Records) -> Collection[KnownUser]:
    def of_uaa(user: KnownUser) -> UaaUser:
        return records.uaa.users.find(user.guid) or UaaUser(origin="")

    return Collection(
        filters={
            "usernames": lambda user: of_uaa(user).username or [],
            "origins": lambda user: of_uaa(user).origin or [],
        },
    )


def _check_origins(request: Request) -> None:
    params = request.query_params
    if "origins" in params and "usernames" not in params and "partial_usernames" not in params:
        raise bad_query(
            "The query parameter is invalid: Origins filter cannot be provided without usernames"
            " or partial_usernames filter."
        )


@router.get("/v3/users")
async def users(request: Request, service: Svc, user: User, base: Base) -> dict[str, Any]:
    """List users."""
    _check_origins(request)
    seen = (u for u in service.records.users if sees_user(user, u))
    return _listed(request, service.records, base, seen)


def _listed(
    request: Request, records: Records, base: str, seen: Iterable[KnownUser]
) -> dict[str, Any]:
    show = partial(tenancy_present.user, base, records)
    return listed(request, _collection(records), seen, show)


@router.get("/v3/organizations/{guid}/users")
async def of_organization(
    guid: str, request: Request, service: Svc, user: User, base: Base
) -> dict[str, Any]:
    """Who has a role in an organization."""
    _check_origins(request)
    held = service.records.roles.at(user.org(guid).guid)
    return _listed(request, service.records, base, _holders(service.records, held))


@router.get("/v3/spaces/{guid}/users")
async def of_space(
    guid: str, request: Request, service: Svc, user: User, base: Base
) -> dict[str, Any]:
    """Who has a role in a space."""
    _check_origins(request)
    held = service.records.roles.at(user.space(guid).guid)
    return _listed(request, service.records, base, _holders(service.records, held))


def _holders(records: Records, roles: Iterable[Any]) -> list[KnownUser]:
    found = (records.users.find(guid) for guid in dict.fromkeys(role.user for role in roles))
    return [user for user in found if user]


@router.post("/v3/users", status_code=201)
async def create(body: NewUser, service: Svc, user: User, base: Base) -> dict[str, Any]:
    """Make a user of UAA known to the Cloud Controller."""
    user.require_admin()
    records = service.records
    guid = _guid(records, body)
    if records.users.find(guid) is not None:
        raise unprocessable(f"User with guid '{guid}' already exists.")
    made = records.users.put(applied(KnownUser(guid=guid), body.metadata))
    return tenancy_present.user(base, records, made)


def _guid(records: Records, body: NewUser) -> str:
    if body.guid is not None:
        if body.username is not None or body.origin is not None:
            raise unprocessable("Username cannot be provided with guid")
        if not 1 <= len(body.guid) <= _MAX_GUID or not body.guid.isprintable():
            raise unprocessable(f"Guid must be between 1 and {_MAX_GUID} characters")
        return body.guid
    if body.username is None:
        raise unprocessable("Either guid or username and origin must be provided")
    if body.origin is None:
        raise unprocessable("Origin can only be provided together with username")
    if body.origin == "uaa":
        raise unprocessable("Origin cannot be 'uaa' when creating a user by username")
    raise unprocessable(f"There is no identity provider '{body.origin}': create the user in UAA.")


@router.get("/v3/users/{guid}")
async def show(guid: str, service: Svc, user: User, base: Base) -> dict[str, Any]:
    """One user."""
    found = service.records.users.get(guid)
    if not sees_user(user, found):
        raise not_found("User")
    return tenancy_present.user(base, service.records, found)


@router.patch("/v3/users/{guid}")
async def change(
    guid: str, body: MetadataPatch, service: Svc, user: User, base: Base
) -> dict[str, Any]:
    """Change a user's metadata."""
    found = service.records.users.get(guid)
    if not sees_user(user, found):
        raise not_found("User")
    user.require_admin()
    changed = service.records.users.put(applied(found, body.metadata))
    return tenancy_present.user(base, service.records, changed)


@router.delete("/v3/users/{guid}", status_code=202)
async def delete(guid: str, request: Request, service: Svc, user: User) -> JSONResponse:
    """Forget a user with all roles.

    Also one whom only UAA knows: `cf delete-user` asks this of every user before it asks UAA.
    """
    records = service.records
    found = records.users.find(guid)
    if found is None and (not user.admin or records.uaa.users.find(guid) is None):
        raise not_found("User")
    if found and not sees_user(user, found):
        raise not_found("User")
    user.require_admin()
    going = removal.of_user(records, found) if found else removal.Removal()
    return accepted(request, await removal.carry_out(service, going, "user.delete"))
