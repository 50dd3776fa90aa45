"""`meshnet cf ...`: the cf CLI's own words and flags (v7), over the public API."""

from __future__ import annotations

import json as json_module
from collections.abc import Callable
from typing import Annotated

import typer

from meshnet.cli import (
    cf_apps,
    cf_domains,
    cf_login,
    cf_logs,
    cf_orgs,
    cf_push,
    cf_routes,
    cf_users,
)
from meshnet.cli.cf_session import session
from meshnet.cli.client import dump
from meshnet.model.errors import InputError

app = typer.Typer(no_args_is_help=True, help="The cf CLI's words, over the public API.")


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
    cf_apps: "apps scale start stop restart restage delete rename env set-env unset-env"
    " buildpacks stacks",
    cf_logs: "logs",
    cf_domains: "domains create-shared-domain create-private-domain delete-shared-domain"
    " delete-private-domain share-private-domain unshare-private-domain",
    cf_routes: "routes create-route map-route unmap-route delete-route delete-orphaned-routes"
    " check-route add-network-policy remove-network-policy network-policies",
}
# A command's word is its function's name, but where Python or another command has that one.
_OTHER_NAMES: dict[str, Callable[..., None]] = {
    "push": cf_push.push,
    "app": cf_apps.show,
    "space": cf_orgs.show_space,
    "curl": curl,
    "create-org-quota": cf_orgs.create_quota,
}

for _module, _words in _MODULES.items():
    for _word in _words.split():
        app.command(_word)(getattr(_module, _word.replace("-", "_")))
for _word, _command in _OTHER_NAMES.items():
    app.command(_word)(_command)
