"""`meshnet cf ...`: domains."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from meshnet.cli.cf_options import Force, Json, confirmed, ok
from meshnet.cli.cf_orgs import existing
from meshnet.cli.cf_session import missing, organization, session
from meshnet.cli.client import Client, dump
from meshnet.cli.tables import table
from meshnet.model.errors import InputError, NotFound


def domains(json: Json = False) -> None:
    """List the domains that the targeted organization may use."""
    client = session()
    found = client.list(f"/v3/organizations/{client.organization}/domains")
    if json:
        return dump(found)
    columns = ("name", "availability", "internal", "protocols")
    rows = (
        (
            d["name"],
            "private" if d["relationships"]["organization"]["data"] else "shared",
            "true" if d["internal"] else "",
            ",".join(d["supported_protocols"]),
        )
        for d in found
    )
    table(columns, rows)


def _create(body: dict[str, Any]) -> None:
    try:
        session().post("/v3/domains", body)
    except InputError as exc:
        existing(exc, "is already in use")
    ok()


def create_shared_domain(
    name: str,
    internal: Annotated[bool, typer.Option("--internal", help="For app to app.")] = False,
) -> None:
    """Create a domain that every organization may use; the mesh serves those below its own."""
    _create({"name": name, "internal": internal})


def create_private_domain(org: str, name: str) -> None:
    """Create a domain that one organization may use."""
    guid = organization(session(), org)["guid"]
    _create({"name": name, "relationships": {"organization": {"data": {"guid": guid}}}})


def delete_shared_domain(name: str, force: Force = False) -> None:
    """Delete a domain with its routes; one that is not there is no error."""
    _delete(name, force, private=False)


def delete_private_domain(name: str, force: Force = False) -> None:
    """Delete an organization's domain with its routes; one that is not there is no error."""
    _delete(name, force, private=True)


_AT_STAKE = (
    "This action impacts all orgs using this domain.",
    "Deleting the domain will remove associated routes which will make apps with this domain,"
    " in any org, unreachable.",
)
_AT_STAKE_PRIVATE = (
    "Deleting the private domain will remove associated routes which will make apps with this"
    " domain unreachable.",
)


def _delete(name: str, force: bool, *, private: bool) -> None:
    client = session()
    try:
        found = client.domain(name)
    except NotFound as exc:
        missing(exc)
        return ok()
    if bool(found["relationships"]["organization"]["data"]) is not private:
        this, other = ("private", "shared") if private else ("shared", "private")
        raise InputError(f"{name} is no {this} domain: meshnet cf delete-{other}-domain")
    kind, before = ("private", _AT_STAKE_PRIVATE) if private else ("shared", _AT_STAKE)
    question, otherwise = (
        f"Really delete the {kind} domain {name}?",
        f"'{name}' has not been deleted.",
    )
    if not force and not confirmed(question, otherwise=otherwise, before=before):
        return
    client.job("DELETE", f"/v3/domains/{found['guid']}")
    ok()


def _shared(client: Client, name: str) -> str:
    return f"/v3/domains/{client.domain(name)['guid']}/relationships/shared_organizations"


def share_private_domain(org: str, name: str) -> None:
    """Let another organization use a private domain."""
    client = session()
    guid = organization(client, org)["guid"]
    client.post(_shared(client, name), {"data": [{"guid": guid}]})
    ok()


def unshare_private_domain(org: str, name: str, force: Force = False) -> None:
    """Let an organization use a private domain no longer."""
    client = session()
    if not force and not confirmed(
        f"Really unshare private domain {name}?",
        otherwise=f"Domain {name} has not been unshared from organization {org}",
        before=(f"Warning: org {org} will no longer be able to access private domain {name}",),
    ):
        return
    client.call("DELETE", f"{_shared(client, name)}/{organization(client, org)['guid']}")
    ok()
