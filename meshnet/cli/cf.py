"""`meshnet cf ...`: the cf CLI's own words and flags (v7), over the public API."""

from __future__ import annotations

import json as json_module
import re
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from meshnet.cli import cf_routes
from meshnet.cli.cf_options import Force, Host, Json, Name, ok, rooted
from meshnet.cli.cf_push import default_domain, host_of, undone_on_failure
from meshnet.cli.client import Client, dump, from_environment
from meshnet.cli.tables import one_line, table
from meshnet.cli.waiting import NotPlaced
from meshnet.model.errors import InputError, NotFound, PeerError

app = typer.Typer(no_args_is_help=True, help="The cf CLI's words, over the public API.")


def _memory(text: str | None) -> int | None:
    if text is None:
        return None
    found = re.fullmatch(r"(\d+)(M|MB|G|GB)?", text.upper())
    if not found:
        raise InputError(f"-m {text}: want a number with M or G, as 64M")
    return int(found[1]) * (1024 if (found[2] or "M").startswith("G") else 1)


def _wait(client: Client, app_guid: str, name: str) -> None:
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


@app.command()
def push(
    name: Name,
    path: Annotated[str, typer.Option("-p", "--path", help="The app's directory.")] = ".",
    command: Annotated[str, typer.Option("-c", help="Start command; default: as it is.")] = "",
    instances: Annotated[int | None, typer.Option("-i", help="Instances.")] = None,
    memory: Annotated[str | None, typer.Option("-m", help="Memory, as 64M.")] = None,
    domain: Annotated[str, typer.Option("-d", help="Domain; default: the first one.")] = "",
    hostname: Host = "",
    route_path: Annotated[str, typer.Option("--route-path", help="Context path.")] = "",
    no_route: Annotated[bool, typer.Option("--no-route", help="Map no route.")] = False,
    no_start: Annotated[bool, typer.Option("--no-start", help="Do not start it.")] = False,
) -> None:
    """Push a directory as an app, map its route and start it.

    Example: meshnet cf push hello -p netns_lab/apps/hello -c "python3 app.py" -i 2
    """
    client = from_environment()
    memory_mb = _memory(memory)
    if not path:
        raise InputError("-p is empty: name the app's directory")
    host = "" if no_route else hostname or host_of(name)
    print(f"Pushing app {one_line(name)}...", file=sys.stderr)
    with undone_on_failure(client, name) as undo:
        if not no_route:
            route = (domain or default_domain(client), host, rooted(route_path))
            if client.route(*route) is None:
                undo.append(client.create_route(*route)["guid"])
        guid = client.push(name, Path(path), command, instances=instances, memory_mb=memory_mb)[
            "guid"
        ]
        if not no_route:
            client.map_route(guid, *route)
    if not no_start:
        client.act(guid, "restart")
        _wait(client, guid, name)
    show(name)


@app.command()
def apps(json: Json = False) -> None:
    """List apps."""
    client = from_environment()
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


@app.command("app")
def show(name: Name, json: Json = False) -> None:
    """Show an app and its instances."""
    client = from_environment()
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
        ("", "state", "since", "cell", "address", "details"),
        (
            (
                f"#{row['index']}",
                row["state"].lower(),
                f"{row['uptime']} s",
                row.get("cell_id", ""),
                row.get("instance_internal_ip", ""),
                row["details"] or "",
            )
            for row in rows
        ),
    )


@app.command()
def scale(
    name: Name,
    instances: Annotated[int | None, typer.Option("-i", help="Instances.")] = None,
    memory: Annotated[str | None, typer.Option("-m", help="Memory; restarts.")] = None,
    force: Force = False,
) -> None:
    """Change the number of instances, or the memory limit."""
    client = from_environment()
    guid = client.app(name)["guid"]
    body = {"instances": instances, "memory_in_mb": _memory(memory)}
    wanted = {k: v for k, v in body.items() if v is not None}
    if not wanted:
        return show(name)
    client.post(f"/v3/processes/{guid}/actions/scale", wanted)
    started = client.app(name)["state"] == "STARTED"
    if memory and started:
        client.act(guid, "restart")
    if started:
        _wait(client, guid, name)
    show(name)


def _act(name: str, action: str) -> None:
    client = from_environment()
    guid = client.app(name)["guid"]
    client.act(guid, action)
    if action != "stop":
        _wait(client, guid, name)
    ok()


@app.command()
def start(name: Name) -> None:
    """Start an app."""
    _act(name, "start")


@app.command()
def stop(name: Name) -> None:
    """Stop an app."""
    _act(name, "stop")


@app.command()
def restart(name: Name) -> None:
    """Stop and start an app."""
    _act(name, "restart")


@app.command()
def delete(
    name: Name,
    force: Force = False,
    routes: Annotated[bool, typer.Option("-r", help="Its routes too.")] = False,
) -> None:
    """Delete an app; one that is not there is no error, as in cf."""
    client = from_environment()
    try:
        guid = client.app(name)["guid"]
    except NotFound as exc:
        print(one_line(str(exc)), file=sys.stderr)
        return ok()
    mapped = [r for r in client.routes() if _leads_to(r, guid)]
    if routes and any(len(r["destinations"]) > 1 for r in mapped):
        raise InputError(f"a route of {name} leads to other apps too; nothing was deleted")
    client.delete_app(guid)
    for route in mapped if routes else ():
        client.delete_route(route["guid"])
    ok()


@app.command("set-env")
def set_env(name: Name, key: str, value: str) -> None:
    """Set an environment variable; it reaches instances at the next restart."""
    client = from_environment()
    path = f"/v3/apps/{client.app(name)['guid']}/environment_variables"
    client.call("PATCH", path, {"var": {key: value}})
    ok()


@app.command()
def env(name: Name) -> None:
    """Show an app's environment variables."""
    client = from_environment()
    dump(client.get(f"/v3/apps/{client.app(name)['guid']}/env"))


@app.command()
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
    client = from_environment()
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


for _name, _command in (
    ("domains", cf_routes.domains),
    ("routes", cf_routes.routes),
    ("create-route", cf_routes.create_route),
    ("map-route", cf_routes.map_route),
    ("unmap-route", cf_routes.unmap_route),
    ("delete-route", cf_routes.delete_route),
    ("add-network-policy", cf_routes.add_network_policy),
    ("remove-network-policy", cf_routes.remove_network_policy),
    ("network-policies", cf_routes.network_policies),
):
    app.command(_name)(_command)
