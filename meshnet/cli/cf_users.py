"""`meshnet cf ...`: users and their roles."""

from __future__ import annotations

import sys
from typing import Any

from meshnet.cli.cf_options import Force, Json, confirmed, ok
from meshnet.cli.cf_orgs import add_role
from meshnet.cli.cf_session import missing, organization, session, space
from meshnet.cli.client import Client, dump
from meshnet.cli.tables import table
from meshnet.model.errors import InputError, NotFound

_ORG_ROLES = {
    "OrgManager": "organization_manager",
    "BillingManager": "organization_billing_manager",
    "OrgAuditor": "organization_auditor",
}
_SPACE_ROLES = {
    "SpaceManager": "space_manager",
    "SpaceDeveloper": "space_developer",
    "SpaceAuditor": "space_auditor",
    "SpaceSupporter": "space_supporter",
}


def create_user(name: str, password: str) -> None:
    """Create a user in UAA; one that is there already is no error, as in cf."""
    client = session()
    if _in_uaa(client, name):
        print(f"user {name} already exists", file=sys.stderr)
        return ok()
    body = {
        "userName": name,
        "password": password,
        "origin": "",
        "name": {"familyName": name, "givenName": name},
        "emails": [{"value": name, "primary": True}],
    }
    made = client.post("/Users", body)
    client.post("/v3/users", {"guid": made["id"]})
    ok()


def delete_user(name: str, force: Force = False) -> None:
    """Delete a user with all roles; one that is not there is no error."""
    client = session()
    if not force and not confirmed(
        f"Really delete the user {name}?", otherwise=f"User '{name}' has not been deleted."
    ):
        return
    found = _in_uaa(client, name)
    if not found:
        missing(NotFound(f"User '{name}' does not exist."))
        return ok()
    client.job("DELETE", f"/v3/users/{found[0]['id']}")
    client.call("DELETE", f"/Users/{found[0]['id']}")
    ok()


def _in_uaa(client: Client, name: str) -> list[dict[str, Any]]:
    if '"' in name:
        raise InputError(f"{name!r}: a user's name has no double quotes")
    found: list[dict[str, Any]] = client.get("/Users", filter=f'userName eq "{name}"')["resources"]
    return found


def org_users(org: str, json: Json = False) -> None:
    """List the users of an organization by role."""
    client = session()
    _users(client, {"organization_guids": organization(client, org)["guid"]}, json)


def space_users(org: str, space_name: str, json: Json = False) -> None:
    """List the users of a space by role."""
    client = session()
    _users(client, {"space_guids": space(client, space_name, org)["guid"]}, json)


def _users(client: Client, where: dict[str, str], json: bool) -> None:
    body = client.get("/v3/roles", include="user", per_page="5000", **where)
    names = {user["guid"]: user["presentation_name"] for user in body["included"]["users"]}
    rows = [
        {"role": r["type"], "user": names[r["relationships"]["user"]["data"]["guid"]]}
        for r in body["resources"]
    ]
    if json:
        return dump(rows)
    table(("role", "user"), sorted((r["role"], r["user"]) for r in rows))


def set_org_role(user: str, org: str, role: str) -> None:
    """Give a user a role in an organization: OrgManager, BillingManager, OrgAuditor."""
    client, kind = session(), _kind(_ORG_ROLES, role)
    target = {"organization": {"data": {"guid": organization(client, org)["guid"]}}}
    add_role(client, kind, target, {"username": user})
    ok()


def unset_org_role(user: str, org: str, role: str) -> None:
    """Take a role in an organization from a user."""
    client, kind = session(), _kind(_ORG_ROLES, role)
    _take(client, user, kind, organization_guids=organization(client, org)["guid"])


def set_space_role(user: str, org: str, space_name: str, role: str) -> None:
    """Give a user a role in a space: SpaceDeveloper, SpaceManager, SpaceAuditor, SpaceSupporter."""
    client, kind = session(), _kind(_SPACE_ROLES, role)
    owner = {"organization": {"data": {"guid": organization(client, org)["guid"]}}}
    target = {"space": {"data": {"guid": space(client, space_name, org)["guid"]}}}
    add_role(client, "organization_user", owner, {"username": user})
    add_role(client, kind, target, {"username": user})
    ok()


def unset_space_role(user: str, org: str, space_name: str, role: str) -> None:
    """Take a role in a space from a user."""
    client, kind = session(), _kind(_SPACE_ROLES, role)
    _take(client, user, kind, space_guids=space(client, space_name, org)["guid"])


def _kind(known: dict[str, str], role: str) -> str:
    if role not in known:
        raise InputError(f"no role {role!r}: one of {', '.join(known)}")
    return known[role]


def _take(client: Client, user: str, kind: str, **where: str) -> None:
    guid = client.one("/v3/users", f"User '{user}'", usernames=user)["guid"]
    for role in client.list("/v3/roles", types=kind, user_guids=guid, **where):
        client.job("DELETE", f"/v3/roles/{role['guid']}")
    ok()
