"""`meshnet cf ...`: the cf CLI's own words and flags (v8), over the public API."""

from __future__ import annotations

import importlib.metadata
import json as json_module
from collections.abc import Callable
from typing import Annotated, Any

import typer

from meshnet.cli import (
    cf_apps,
    cf_domains,
    cf_events,
    cf_login,
    cf_logs,
    cf_manifest_file,
    cf_orgs,
    cf_push,
    cf_routes,
    cf_show,
    cf_users,
)
from meshnet.cli.cf_session import session
from meshnet.cli.client import dump
from meshnet.model.errors import InputError

app = typer.Typer(no_args_is_help=True)


def _say_version(wanted: bool = True) -> None:
    if wanted:
        print(f"meshnet cf version {importlib.metadata.version('meshnet')}")
        raise typer.Exit


@app.callback()
def top(
    version: Annotated[
        bool,
        typer.Option(
            "-v", "--version", callback=_say_version, is_eager=True, help="Print the version."
        ),
    ] = False,
) -> None:
    """The cf CLI's words, over the public API."""


def version() -> None:
    """Print the version."""
    _say_version()


def show_help(context: typer.Context, command: Annotated[str, typer.Argument()] = "") -> None:
    """Show what there is, or what a command does and takes.

    Example: meshnet cf help push
    """
    group: Any = context.parent
    if not command:
        return print(group.get_help())
    found = group.command.get_command(group, command)
    if found is None:
        raise InputError(f"'{command}' is not a registered command: meshnet cf help lists them")
    with type(context)(found, info_name=command, parent=group) as inner:
        print(found.get_help(inner))


def curl(
    path: str,
    method: Annotated[str, typer.Option("-X", help="Method.")] = "",
    data: Annotated[str, typer.Option("-d", help="JSON body.")] = "",
    header: Annotated[list[str] | None, typer.Option("-H", help="Header, as Name: value.")] = None,
    fail: Annotated[bool, typer.Option("-f", "--fail", help="Exit 22 on HTTP errors.")] = False,
) -> None:
    """Send a request to the API as the user.

    Example: meshnet cf curl /v3/apps
    """
    client = session()
    try:
        body = json_module.loads(data) if data else None
    except ValueError as exc:
        raise InputError(f"-d is not JSON: {exc}") from exc
    pairs = (line.partition(":") for line in header or ())
    headers = {name.strip(): value.strip() for name, _, value in pairs}
    verb = method or ("POST" if data else "GET")
    reply = client.request(verb, "/" + path.lstrip("/"), body, headers=headers)
    try:
        dump(reply.json())
    except ValueError:
        print(reply.text)
    raise typer.Exit(22 if fail and reply.status_code >= 400 else 0)


_MODULES = {
    cf_login: "api auth login logout target oauth-token",
    cf_orgs: "orgs org create-org delete-org rename-org"
    " spaces create-space delete-space rename-space"
    " quotas create-quota delete-quota set-quota"
    " feature-flags feature-flag enable-feature-flag disable-feature-flag",
    cf_users: "create-user delete-user org-users space-users"
    " set-org-role unset-org-role set-space-role unset-space-role",
    cf_show: "apps",
    cf_apps: "scale start stop restart restage cancel-deployment delete rename"
    " env set-env unset-env buildpacks stacks",
    cf_events: "events",
    cf_manifest_file: "create-app-manifest",
    cf_logs: "logs",
    cf_domains: "domains create-shared-domain create-private-domain delete-shared-domain"
    " delete-private-domain share-private-domain unshare-private-domain",
    cf_routes: "routes create-route map-route unmap-route delete-route delete-orphaned-routes"
    " check-route add-network-policy remove-network-policy network-policies",
}
# A command's word is its function's name, but where Python or another command has that one.
_OTHER_NAMES: dict[str, Callable[..., None]] = {
    "push": cf_push.push,
    "app": cf_show.show,
    "space": cf_orgs.show_space,
    "curl": curl,
    "version": version,
    "help": show_help,
    "create-org-quota": cf_orgs.create_quota,
}

for _module, _words in _MODULES.items():
    for _word in _words.split():
        app.command(_word)(getattr(_module, _word.replace("-", "_")))
for _word, _command in _OTHER_NAMES.items():
    app.command(_word)(_command)
