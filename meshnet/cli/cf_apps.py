"""`meshnet cf ...`: apps."""

from __future__ import annotations

import json as json_module
import sys
from typing import Annotated

import typer

from meshnet.cli.cf_options import Force, Json, Name, confirmed, ok
from meshnet.cli.cf_options import memory as amount
from meshnet.cli.cf_session import session
from meshnet.cli.cf_show import leads_to, show
from meshnet.cli.cf_start import roll, wait
from meshnet.cli.client import Client, dump
from meshnet.cli.tables import one_line, table
from meshnet.model.errors import InputError, NotFound

NoWait = Annotated[bool, typer.Option("--no-wait", help="Do not wait for it.")]
Strategy = Annotated[str, typer.Option("--strategy", help="rolling: no downtime.")]


def scale(
    name: Name,
    instances: Annotated[int | None, typer.Option("-i", "--instances", help="Instances.")] = None,
    memory: Annotated[str | None, typer.Option("-m", "--memory", help="Memory; restarts.")] = None,
    disk: Annotated[str | None, typer.Option("-k", "--disk", help="Disk; restarts.")] = None,
    force: Force = False,
) -> None:
    """Change the number of instances, or the memory or disk limit."""
    client = session()
    guid = client.app(name)["guid"]
    limits = {"memory_in_mb": amount(memory), "disk_in_mb": amount(disk)}
    body = {"instances": instances, **limits}
    wanted = {k: v for k, v in body.items() if v is not None}
    if not wanted:
        return show(name)
    question = f"This will cause the app to restart. Are you sure you want to scale {name}?"
    restarts = bool(memory or disk)
    if restarts and not force and not confirmed(question, otherwise="Scaling cancelled"):
        return
    client.post(f"/v3/processes/{guid}/actions/scale", wanted)
    started = client.app(name)["state"] == "STARTED"
    if restarts and started:
        client.act(guid, "restart")
    if started:
        wait(client, guid, name)
    show(name)


def start(name: Name, no_wait: NoWait = False) -> None:
    """Start an app."""
    client = session()
    found = client.app(name)
    if found["state"] == "STARTED":
        print(f"App '{one_line(name)}' is already started.", file=sys.stderr)
        return ok()
    client.act(found["guid"], "start")
    _finish(client, found["guid"], name, no_wait)


def stop(name: Name) -> None:
    """Stop an app."""
    client = session()
    client.act(client.app(name)["guid"], "stop")
    ok()


def restart(name: Name, strategy: Strategy = "", no_wait: NoWait = False) -> None:
    """Stop and start an app; with --strategy rolling, instance by instance."""
    rolling = is_rolling(strategy)
    client = session()
    found = client.app(name)
    if rolling and found["state"] == "STARTED":
        roll(client, found["guid"], name, watch=not no_wait)
        return show(name)
    client.act(found["guid"], "restart")
    _finish(client, found["guid"], name, no_wait)


def _finish(client: Client, app_guid: str, name: str, no_wait: bool) -> None:
    if not no_wait:
        wait(client, app_guid, name)
    show(name)


def is_rolling(strategy: str) -> bool:
    """Whether `--strategy` is rolling. Raises InputError where it is unknown."""
    if strategy not in ("", "rolling"):
        raise InputError(f"--strategy {strategy}: rolling is the only one")
    return bool(strategy)


def cancel_deployment(name: Name) -> None:
    """Go back to what ran before a deployment that is under way."""
    client = session()
    guid = client.app(name)["guid"]
    deployment = client.active_deployment(guid)
    if deployment is None:
        raise NotFound(f"No active deployment found for app '{name}'.")
    client.post(f"/v3/deployments/{deployment['guid']}/actions/cancel")
    print(f"TIP: meshnet cf app {one_line(name)} shows how far it is", file=sys.stderr)
    ok()


_AT_STAKE = (
    "Deleting the app and associated routes will make apps with this route, in any org,"
    " unreachable.",
)


def delete(
    name: Name,
    force: Force = False,
    routes: Annotated[bool, typer.Option("-r", help="Its routes too.")] = False,
) -> None:
    """Delete an app; one that is not there is no error, as in cf."""
    client = session()
    if not force and not confirmed(
        f"Really delete the app {name}{' and associated routes' if routes else ''}?",
        otherwise=f"App '{name}' has not been deleted.",
        before=_AT_STAKE if routes else (),
    ):
        return
    try:
        guid = client.app(name)["guid"]
    except NotFound as exc:
        print(one_line(str(exc)), file=sys.stderr)
        return ok()
    mapped = [r for r in client.routes() if leads_to(r, guid)]
    if routes and any(len(r["destinations"]) > 1 for r in mapped):
        raise InputError(f"a route of {name} leads to other apps too; nothing was deleted")
    client.job("DELETE", f"/v3/apps/{guid}")
    for route in mapped if routes else ():
        client.job("DELETE", f"/v3/routes/{route['guid']}")
    ok()


def set_env(name: Name, key: str, value: str) -> None:
    """Set an environment variable; it reaches instances at the next restart."""
    client = session()
    path = f"/v3/apps/{client.app(name)['guid']}/environment_variables"
    client.call("PATCH", path, {"var": {key: value}})
    ok()
    _restage_tip(name)


def unset_env(name: Name, key: str) -> None:
    """Remove an environment variable; instances keep it until the next restart."""
    client = session()
    path = f"/v3/apps/{client.app(name)['guid']}/environment_variables"
    client.call("PATCH", path, {"var": {key: None}})
    ok()
    _restage_tip(name)


def _restage_tip(name: str) -> None:
    print(f"TIP: meshnet cf restart {one_line(name)} lets instances see it", file=sys.stderr)


def rename(name: Name, new: str) -> None:
    """Rename an app."""
    client = session()
    client.call("PATCH", f"/v3/apps/{client.app(name)['guid']}", {"name": new})
    ok()


def restage(name: Name, strategy: Strategy = "", no_wait: NoWait = False) -> None:
    """Make a droplet of the app's newest package once more, and restart with it."""
    rolling = is_rolling(strategy)
    client = session()
    app = client.app(name)
    guid = app["guid"]
    newest = {"order_by": "-created_at", "states": "READY", "per_page": "1"}
    found = client.get("/v3/packages", app_guids=guid, **newest)["resources"]
    if not found:
        raise InputError(f"{name} has no package to stage: push it")
    droplet = client.stage(found[0]["guid"])
    if rolling and app["state"] == "STARTED":
        roll(client, guid, name, droplet, watch=not no_wait)
        return show(name)
    client.use_droplet(guid, droplet)
    client.act(guid, "restart")
    _finish(client, guid, name, no_wait)


def buildpacks(json: Json = False) -> None:
    """List buildpacks."""
    _listed("/v3/buildpacks", "name", "stack", json)


def stacks(json: Json = False) -> None:
    """List stacks."""
    _listed("/v3/stacks", "name", "description", json)


def _listed(path: str, first: str, second: str, json: bool) -> None:
    found = session().list(path)
    if json:
        return dump(found)
    table((first, second), ((row[first], row[second] or "") for row in found))


_GROUPS = {
    "system_env_json": "System-Provided",
    "application_env_json": "",
    "environment_variables": "User-Provided",
    "running_env_json": "Running Environment Variable Groups",
    "staging_env_json": "Staging Environment Variable Groups",
}
_NONE = {
    "environment_variables": "No user-provided env variables have been set",
    "running_env_json": "No running env variables have been set",
    "staging_env_json": "No staging env variables have been set",
}


def env(name: Name, json: Json = False) -> None:
    """Show an app's environment variables."""
    client = session()
    found = client.get(f"/v3/apps/{client.app(name)['guid']}/env")
    if json:
        return dump(found)
    for key, title in _GROUPS.items():
        if not found.get(key) and key in _NONE:
            print(f"{_NONE[key]}\n")
            continue
        if title:
            print(f"{title}:")
        for variable, value in sorted(found.get(key, {}).items()):
            text = value if isinstance(value, str) else json_module.dumps(value, indent=1)
            print(f"{variable}: {text}")
        print()
