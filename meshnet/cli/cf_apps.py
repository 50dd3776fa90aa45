"""`meshnet cf ...`: apps."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer

from meshnet.cli.cf_options import Force, Json, Name, ok
from meshnet.cli.cf_options import memory as amount
from meshnet.cli.cf_session import session
from meshnet.cli.client import Client, dump
from meshnet.cli.tables import one_line, table
from meshnet.cli.waiting import NotPlaced
from meshnet.model.errors import InputError, NotFound, PeerError


def wait(client: Client, app_guid: str, name: str) -> None:
    """Wait until an app's instances run, and say how many do as they come."""
    last = (-1, -1)

    def seen(running: int, wanted: int) -> None:
        nonlocal last
        if (running, wanted) != last:
            last = (running, wanted)
            print(f"  instances: {running}/{wanted} running", file=sys.stderr)

    try:
        client.wait_running(app_guid, seen=seen)
    except NotPlaced:
        show(name)
        raise
    except PeerError as exc:
        raise PeerError(f"{exc} (its log: meshnet lab logs {name})") from exc


def apps(json: Json = False) -> None:
    """List apps."""
    client = session()
    found = client.apps()
    routes = client.routes()
    rows = []
    for one in found:
        states = [row["state"] for row in client.stats(one["guid"])]
        running = f"web:{states.count('RUNNING')}/{len(states)}"
        rows.append(
            {"name": one["name"], "state": one["state"].lower(), "processes": running,
             "routes": [r["url"] for r in routes if _leads_to(r, one["guid"])]}
        )  # fmt: skip
    if json:
        return dump(rows)
    columns = ("name", "requested state", "processes", "routes")
    table(columns, ((r["name"], r["state"], r["processes"], ", ".join(r["routes"])) for r in rows))


def _leads_to(route: dict[str, Any], app_guid: str) -> bool:
    return any(d["app"]["guid"] == app_guid for d in route["destinations"])


def show(name: Name, json: Json = False) -> None:
    """Show an app and its instances."""
    client = session()
    found = client.app(name)
    process = client.process(found["guid"])
    rows = client.stats(found["guid"])
    urls = [r["url"] for r in client.routes() if _leads_to(r, found["guid"])]
    if json:
        return dump({**found, "process": process, "stats": rows, "routes": urls})
    print(f"name:              {name}")
    print(f"requested state:   {found['state'].lower()}")
    print(f"routes:            {', '.join(urls)}")
    print(f"start command:     {process['command']}")
    print(f"memory usage:      {process['memory_in_mb']}M\n")
    table(
        ("", "state", "ready", "since", "cell", "address", "details"),
        (
            (
                f"#{row['index']}",
                row["state"].lower(),
                str(row.get("routable", "")).lower(),
                f"{row['uptime']} s",
                row.get("cell_id", ""),
                row.get("instance_internal_ip", ""),
                row["details"] or "",
            )
            for row in rows
        ),
    )


def scale(
    name: Name,
    instances: Annotated[int | None, typer.Option("-i", help="Instances.")] = None,
    memory: Annotated[str | None, typer.Option("-m", help="Memory; restarts.")] = None,
    force: Force = False,
) -> None:
    """Change the number of instances, or the memory limit."""
    client = session()
    guid = client.app(name)["guid"]
    body = {"instances": instances, "memory_in_mb": amount(memory)}
    wanted = {k: v for k, v in body.items() if v is not None}
    if not wanted:
        return show(name)
    client.post(f"/v3/processes/{guid}/actions/scale", wanted)
    started = client.app(name)["state"] == "STARTED"
    if memory and started:
        client.act(guid, "restart")
    if started:
        wait(client, guid, name)
    show(name)


def _act(name: str, action: str) -> None:
    client = session()
    guid = client.app(name)["guid"]
    client.act(guid, action)
    if action != "stop":
        wait(client, guid, name)
    ok()


def start(name: Name) -> None:
    """Start an app."""
    _act(name, "start")


def stop(name: Name) -> None:
    """Stop an app."""
    _act(name, "stop")


def restart(name: Name) -> None:
    """Stop and start an app."""
    _act(name, "restart")


def delete(
    name: Name,
    force: Force = False,
    routes: Annotated[bool, typer.Option("-r", help="Its routes too.")] = False,
) -> None:
    """Delete an app; one that is not there is no error, as in cf."""
    client = session()
    try:
        guid = client.app(name)["guid"]
    except NotFound as exc:
        print(one_line(str(exc)), file=sys.stderr)
        return ok()
    mapped = [r for r in client.routes() if _leads_to(r, guid)]
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


def unset_env(name: Name, key: str) -> None:
    """Remove an environment variable; instances keep it until the next restart."""
    client = session()
    path = f"/v3/apps/{client.app(name)['guid']}/environment_variables"
    client.call("PATCH", path, {"var": {key: None}})
    ok()


def rename(name: Name, new: str) -> None:
    """Rename an app."""
    client = session()
    client.call("PATCH", f"/v3/apps/{client.app(name)['guid']}", {"name": new})
    ok()


def restage(name: Name) -> None:
    """Make a droplet of the app's newest package once more, and restart with it."""
    client = session()
    guid = client.app(name)["guid"]
    path = f"/v3/packages?app_guids={guid}&order_by=-created_at&states=READY&per_page=1"
    found = client.get(path)["resources"]
    if not found:
        raise InputError(f"{name} has no package to stage: push it")
    client.use_droplet(guid, client.stage(found[0]["guid"]))
    client.act(guid, "restart")
    wait(client, guid, name)
    show(name)


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


def env(name: Name) -> None:
    """Show an app's environment variables."""
    client = session()
    dump(client.get(f"/v3/apps/{client.app(name)['guid']}/env"))
