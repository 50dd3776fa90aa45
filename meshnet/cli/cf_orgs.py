"""`meshnet cf ...`: organizations, spaces, quotas and feature flags."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer

from meshnet.cli import cf_config
from meshnet.cli.cf_config import Named
from meshnet.cli.cf_options import Force, Json, Org, confirmed, memory, ok
from meshnet.cli.cf_session import missing, organization, session, space
from meshnet.cli.client import Client, dump
from meshnet.cli.tables import one_line, table
from meshnet.model.errors import InputError, NotFound

_QUOTAS = "/v3/organization_quotas"


def existing(exc: InputError, *texts: str) -> None:
    """Say that what should be made is there already, as cf does; any other error goes on."""
    if not any(text in str(exc) for text in texts):
        raise exc
    print(one_line(str(exc)), file=sys.stderr)


def orgs(json: Json = False) -> None:
    """List organizations."""
    found = session().list("/v3/organizations", order_by="name")
    if json:
        return dump(found)
    table(("name",), ((o["name"],) for o in found))


def org(name: str, json: Json = False) -> None:
    """Show an organization: its quota, domains and spaces."""
    client = session()
    found = organization(client, name)
    guid = found["guid"]
    domains = [d["name"] for d in client.list(f"/v3/organizations/{guid}/domains")]
    spaces = [s["name"] for s in client.list("/v3/spaces", organization_guids=guid)]
    quotas = client.list(_QUOTAS, organization_guids=guid)
    if json:
        return dump({**found, "domains": domains, "spaces": spaces})
    print(f"name:      {name}")
    print(f"domains:   {', '.join(domains)}")
    print(f"quota:     {', '.join(q['name'] for q in quotas)}")
    print(f"spaces:    {', '.join(spaces)}")


def create_org(name: str, quota: Annotated[str, typer.Option("-q", help="Quota.")] = "") -> None:
    """Create an organization; one that is there already is no error, as in cf."""
    client = session()
    try:
        client.post("/v3/organizations", {"name": name})
    except InputError as exc:
        existing(exc, "already exists.")
    if quota:
        _assign(client, name, quota)
    ok()


def delete_org(name: str, force: Force = False) -> None:
    """Delete an organization with all that is in it; one that is not there is no error."""
    client = session()
    if not force and not confirmed(
        f"Really delete the org {name}, including its spaces, apps, service instances, routes,"
        " private domains and space-scoped service brokers?",
        otherwise=f"Organization '{name}' has not been deleted.",
    ):
        return
    try:
        guid = organization(client, name)["guid"]
    except NotFound as exc:
        missing(exc)
        return ok()
    client.job("DELETE", f"/v3/organizations/{guid}")
    _forget(guid)
    ok()


def rename_org(name: str, new: str) -> None:
    """Rename an organization."""
    client = session()
    client.call("PATCH", f"/v3/organizations/{organization(client, name)['guid']}", {"name": new})
    ok()


def spaces(json: Json = False) -> None:
    """List the spaces of the targeted organization."""
    client = session()
    found = client.list("/v3/spaces", organization_guids=client.organization, order_by="name")
    if json:
        return dump(found)
    table(("name",), ((s["name"],) for s in found))


def show_space(
    name: str,
    org: Org = "",
    guid: Annotated[bool, typer.Option("--guid", help="Print its guid only.")] = False,
    json: Json = False,
) -> None:
    """Show a space and the apps in it."""
    client = session()
    found = space(client, name, org)
    if guid:
        return print(found["guid"])
    apps = client.list("/v3/apps", space_guids=found["guid"], order_by="name")
    if json:
        return dump({**found, "apps": [a["name"] for a in apps]})
    print(f"name:   {name}")
    print(f"apps:   {', '.join(a['name'] for a in apps)}")


def create_space(name: str, org: Org = "") -> None:
    """Create a space, of which the user is manager and developer from then on."""
    client = session()
    owner = organization(client, org)
    relationship = {"organization": {"data": {"guid": owner["guid"]}}}
    try:
        made = client.post("/v3/spaces", {"name": name, "relationships": relationship})
    except InputError as exc:
        existing(exc, "Name must be unique per organization", "already exists")
        return ok()
    if user := client.user_guid():
        for kind, target in (
            ("organization_user", relationship),
            ("space_manager", {"space": {"data": {"guid": made["guid"]}}}),
            ("space_developer", {"space": {"data": {"guid": made["guid"]}}}),
        ):
            add_role(client, kind, target, {"guid": user})
    print(f"TIP: meshnet cf target -o {owner['name']} -s {name}", file=sys.stderr)
    ok()


def add_role(client: Client, kind: str, target: dict[str, Any], user: dict[str, Any]) -> None:
    """Give a user a role; one they have already is no error, as in cf."""
    body = {"type": kind, "relationships": {**target, "user": {"data": user}}}
    try:
        client.post("/v3/roles", body)
    except InputError as exc:
        existing(exc, "already has")


def delete_space(name: str, org: Org = "", force: Force = False) -> None:
    """Delete a space with all that is in it; one that is not there is no error."""
    client = session()
    if not force and not confirmed(
        f"Really delete the space {name}?",
        otherwise=f"'{name}' has not been deleted.",
        before=(
            "This action impacts all resources scoped to this space, including apps, service"
            " instances, and space-scoped service brokers.",
        ),
    ):
        return
    try:
        guid = space(client, name, org)["guid"]
    except NotFound as exc:
        missing(exc)
        return ok()
    client.job("DELETE", f"/v3/spaces/{guid}")
    _forget(guid)
    ok()


def rename_space(name: str, new: str) -> None:
    """Rename a space of the targeted organization."""
    client = session()
    client.call("PATCH", f"/v3/spaces/{space(client, name)['guid']}", {"name": new})
    ok()


def _forget(guid: str) -> None:
    """Target no longer what is gone."""
    config = cf_config.load()
    if config.organization.guid == guid:
        config.organization = config.space = Named()
    elif config.space.guid == guid:
        config.space = Named()
    else:
        return
    config.save()


def quotas(json: Json = False) -> None:
    """List organization quotas."""
    found = session().list(_QUOTAS, order_by="name")
    if json:
        return dump(found)
    columns = ("name", "total memory", "instance memory", "routes", "app instances")
    rows = (
        (
            q["name"],
            _most(q["apps"]["total_memory_in_mb"], "M"),
            _most(q["apps"]["per_process_memory_in_mb"], "M"),
            _most(q["routes"]["total_routes"]),
            _most(q["apps"]["total_instances"]),
        )
        for q in found
    )
    table(columns, rows)


def _most(limit: int | None, unit: str = "") -> str:
    return "unlimited" if limit is None else f"{limit}{unit}"


def _limit(value: int | None) -> int | None:
    return None if value == -1 else value


def create_quota(
    name: str,
    total: Annotated[str | None, typer.Option("-m", help="Memory of all apps, as 10G.")] = None,
    instance: Annotated[str | None, typer.Option("-i", help="Memory of one instance.")] = None,
    routes: Annotated[int | None, typer.Option("-r", help="Routes.")] = None,
    instances: Annotated[int | None, typer.Option("-a", help="App instances.")] = None,
    services: Annotated[int | None, typer.Option("-s", help="Service instances.")] = None,
    ports: Annotated[int | None, typer.Option("--reserved-route-ports", help="Ports.")] = None,
    paid: Annotated[bool, typer.Option("--allow-paid-service-plans", help="Kept.")] = False,
) -> None:
    """Create an organization quota; -1 is no limit, and so is what is not given."""
    given = {
        "apps": {
            "total_memory_in_mb": memory(total),
            "per_process_memory_in_mb": None if instance == "-1" else memory(instance),
            "total_instances": _limit(instances),
        },
        "services": {"total_service_instances": _limit(services), "paid_services_allowed": paid},
        "routes": {"total_routes": _limit(routes), "total_reserved_ports": _limit(ports)},
    }
    try:
        session().post(_QUOTAS, {"name": name, **given})
    except InputError as exc:
        existing(exc, "already exists.")
    ok()


def delete_quota(name: str, force: Force = False) -> None:
    """Delete an organization quota; one that is not there is no error."""
    client = session()
    if not force and not confirmed(
        f"Really delete the org quota {name}?",
        otherwise=f"Organization quota '{name}' has not been deleted.",
    ):
        return
    try:
        guid = client.one(_QUOTAS, f"Quota '{name}'", names=name)["guid"]
    except NotFound as exc:
        missing(exc)
        return ok()
    client.job("DELETE", f"{_QUOTAS}/{guid}")
    ok()


def set_quota(org: str, quota: str) -> None:
    """Assign a quota to an organization."""
    _assign(session(), org, quota)
    ok()


def _assign(client: Client, org: str, quota: str) -> None:
    guid = organization(client, org)["guid"]
    found = client.one(_QUOTAS, f"Quota '{quota}'", names=quota)["guid"]
    body = {"data": [{"guid": guid}]}
    client.post(f"{_QUOTAS}/{found}/relationships/organizations", body)


def feature_flags(json: Json = False) -> None:
    """List feature flags."""
    found = session().list("/v3/feature_flags")
    if json:
        return dump(found)
    table(("name", "state"), ((f["name"], _state(f)) for f in found))


def feature_flag(name: str, json: Json = False) -> None:
    """Show a feature flag."""
    found = session().get(f"/v3/feature_flags/{name}")
    if json:
        return dump(found)
    table(("name", "state"), [(found["name"], _state(found))])


def _state(flag: dict[str, Any]) -> str:
    return "enabled" if flag["enabled"] else "disabled"


def enable_feature_flag(name: str) -> None:
    """Enable a feature for everybody."""
    session().call("PATCH", f"/v3/feature_flags/{name}", {"enabled": True})
    ok()


def disable_feature_flag(name: str) -> None:
    """Disable a feature for all but administrators."""
    session().call("PATCH", f"/v3/feature_flags/{name}", {"enabled": False})
    ok()
