"""Roles: what users may do in an organization or a space."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from meshnet.capi import flags, tenancy_present
from meshnet.capi.errors import not_found, unprocessable
from meshnet.capi.jobs_api import accepted
from meshnet.capi.listing import Collection, included, listed
from meshnet.capi.permissions import ORGANIZATION_ROLES, SPACE_ROLES, Permissions
from meshnet.capi.records import Records
from meshnet.capi.service import Base, Body, Svc, ToOne, User
from meshnet.capi.tenancy_records import Role, Space
from meshnet.capi.tenancy_records import User as KnownUser

router = APIRouter()
_TYPES = (*ORGANIZATION_ROLES, *SPACE_ROLES)
Json = dict[str, Any]


class WhoData(Body):
    """A user: by guid, or by name and origin."""

    guid: str | None = None
    username: str | None = None
    origin: str | None = None


class Who(Body):
    """{"data": ...}."""

    data: WhoData


class RoleRelationships(Body):
    """Whose role it is, and where."""

    user: Who
    organization: ToOne | None = None
    space: ToOne | None = None


class NewRole(Body):
    """POST /v3/roles."""

    type: str
    relationships: RoleRelationships


def _collection(records: Records, base: str) -> Collection[Role]:
    def of(
        key: str, guid: Callable[[Role], str | None], show: Callable[[str], Json]
    ) -> Callable[[Sequence[Role]], tuple[str, list[Json]]]:
        def objects(roles: Sequence[Role]) -> tuple[str, list[Json]]:
            guids = dict.fromkeys(filter(None, map(guid, roles)))
            return key, [show(one) for one in guids]

        return objects

    def user(guid: str) -> Json:
        return tenancy_present.user(base, records, records.users.get(guid))

    def space(guid: str) -> Json:
        return tenancy_present.space(base, records.spaces.get(guid))

    def organization(guid: str) -> Json:
        return tenancy_present.organization(base, records.organizations.get(guid))

    return Collection(
        filters={
            "types": "type",
            "user_guids": "user",
            "space_guids": lambda role: role.target if role.in_space else [],
            "organization_guids": lambda role: [] if role.in_space else role.target,
        },
        includes={
            "user": of("users", lambda role: role.user, user),
            "space": of("spaces", lambda r: r.target if r.in_space else None, space),
            "organization": of(
                "organizations", lambda r: None if r.in_space else r.target, organization
            ),
        },
    )


def _sees(user: Permissions, role: Role) -> bool:
    if role.user == user.guid:
        return True
    return user.sees(role.target) if role.in_space else user.sees_org(role.target)


@router.get("/v3/roles")
async def roles(request: Request, service: Svc, user: User, base: Base) -> Json:
    """List roles."""
    seen = (role for role in service.records.roles if _sees(user, role))
    collection = _collection(service.records, base)
    return listed(request, collection, seen, partial(tenancy_present.role, base))


@router.post("/v3/roles", status_code=201)
async def create(body: NewRole, service: Svc, user: User, base: Base) -> Json:
    """Give a user a role."""
    if body.type not in _TYPES:
        listed_types = ", ".join(f'"{kind}"' for kind in _TYPES)
        raise unprocessable(f"Type must be one of the allowed types [{listed_types}]")
    place = body.relationships
    _check_place(body.type, place)
    who = place.user.data
    if place.space:
        role = _in_space(user, body.type, place.space.data.guid, who)
    else:
        assert place.organization
        role = _in_organization(user, body.type, place.organization.data.guid, who)
    return tenancy_present.role(base, service.records.roles.put(role))


def _check_place(kind: str, place: RoleRelationships) -> None:
    """A space's role is in a space, an organization's in an organization."""
    if place.organization and place.space:
        raise unprocessable("Relationships cannot specify both an organization and a space.")
    if not place.organization and not place.space:
        raise unprocessable("Relationships must specify either a space or an organization.")
    if place.space and kind in ORGANIZATION_ROLES:
        raise unprocessable(
            f"Relationships Space cannot be provided with the organization role type: '{kind}'."
        )
    if place.organization and kind in SPACE_ROLES:
        raise unprocessable(
            f"Relationships Organization cannot be provided with the space role type: '{kind}'."
        )


def _in_space(user: Permissions, kind: str, guid: str, who: WhoData) -> Role:
    space = user.visible_space(guid)
    if space is None:
        raise unprocessable(
            "Invalid space. Ensure that the space exists and you have access to it."
        )
    user.manage(guid)
    records = user.records
    holder = _guid(user, who)
    if not records.roles.types(holder, space.organization):
        raise unprocessable(
            "Users cannot be assigned roles in a space if they do not have a role in that space's"
            " organization."
        )
    _check_new(records, holder, kind, guid, f"space '{space.name}'")
    return Role(type=kind, user=holder, target=guid)


def _in_organization(user: Permissions, kind: str, guid: str, who: WhoData) -> Role:
    org = user.visible_org(guid)
    if org is None:
        raise unprocessable(
            "Invalid organization. Ensure that the organization exists and you have access to it."
        )
    user.write_org(guid)
    records = user.records
    holder = _guid(user, who)
    if records.users.find(holder) is None:
        if records.uaa.users.find(holder) is None and records.uaa.clients.find(holder) is None:
            raise unprocessable(
                "Invalid user. Ensure that the user exists and you have access to it."
            )
        records.users.put(KnownUser(guid=holder))
    _check_new(records, holder, kind, guid, f"organization '{org.name}'")
    return Role(type=kind, user=holder, target=guid)


def _guid(user: Permissions, who: WhoData) -> str:
    """The guid of the user meant."""
    if who.guid is not None:
        if who.username is not None or who.origin is not None:
            raise unprocessable(
                "Relationships Username cannot be specified when identifying user by guid"
            )
        return who.guid
    if who.username is None:
        raise unprocessable("Relationships User must have a username or guid specified")
    flags.require(user, "set_roles_by_username")
    found = user.records.uaa.users.named(who.username)
    if found is None or who.origin not in (None, found.origin):
        origin = f" and origin '{who.origin}'" if who.origin is not None else ""
        raise unprocessable(f"No user exists with the username '{who.username}'{origin}.")
    return found.guid


def _check_new(records: Records, holder: str, kind: str, target: str, where: str) -> None:
    if kind in records.roles.types(holder, target):
        found = records.uaa.users.find(holder)
        name = found.username if found else holder
        raise unprocessable(f"User '{name}' already has '{kind}' role in {where}.")


def _visible(user: Permissions, guid: str) -> Role:
    role = user.records.roles.get(guid)
    if not _sees(user, role):
        raise not_found("Role")
    return role


@router.get("/v3/roles/{guid}")
async def show(guid: str, request: Request, service: Svc, user: User, base: Base) -> Json:
    """One role."""
    role = _visible(user, guid)
    extra = included(request, _collection(service.records, base), role)
    return {**tenancy_present.role(base, role), **extra}


@router.delete("/v3/roles/{guid}", status_code=202)
async def delete(guid: str, request: Request, service: Svc, user: User) -> JSONResponse:
    """Take a role away."""
    records, role = service.records, _visible(user, guid)
    if role.in_space:
        user.manage(role.target)
    else:
        user.write_org(role.target)
        if role.type == "organization_user" and _spaces_with_roles(records, role):
            raise unprocessable(
                "Cannot delete organization_user role while user has roles in spaces in that"
                " organization."
            )
    with records.changes() as changes:
        records.roles.delete(guid, changes)
        job = records.jobs.done("role.delete", changes)
    return accepted(request, job)


def _spaces_with_roles(records: Records, role: Role) -> list[Space]:
    targets = map(records.spaces.find, records.roles.of(role.user))
    return [space for space in targets if space and space.organization == role.target]
