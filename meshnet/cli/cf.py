"""`meshnet cf ...`: the cf CLI's own words and flags (v7), over the public API."""

from __future__ import annotations

import json as json_module
import re
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from meshnet.cli.client import Client, dump, from_environment
from meshnet.cli.tables import table
from meshnet.model.errors import InputError, NotFound, PeerError

app = typer.Typer(no_args_is_help=True, help="The cf CLI's words, over the public API.")

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Name = Annotated[str, typer.Argument(metavar="APP")]
Host = Annotated[str, typer.Option("-n", "--hostname", help="Host in the domain.")]
Path_ = Annotated[str, typer.Option("--path", help="Context path, as /cart.")]
Force = Annotated[bool, typer.Option("-f", "--force", help="Accepted; nothing is asked.")]


def _ok() -> None:
    print("OK", file=sys.stderr)


def _memory(text: str | None) -> int | None:
    if text is None:
        return None
    found = re.fullmatch(r"(\d+)(M|MB|G|GB)?", text.upper())
    if not found:
        raise InputError(f"-m {text}: want a number with M or G, as 64M")
    return int(found[1]) * (1024 if (found[2] or "M").startswith("G") else 1)


def _path(text: str) -> str:
    return f"/{text}" if text and not text.startswith("/") else text


def _wait(client: Client, app_guid: str, name: str) -> None:
    last = (-1, -1)

    def seen(running: int, wanted: int) -> None:
        nonlocal last
        if (running, wanted) != last:
            last = (running, wanted)
            print(f"  instances: {running}/{wanted} running", file=sys.stderr)

    try:
        client.wait_running(app_guid, seen=seen)
    except PeerError as exc:
        raise PeerError(f"{exc} (its log: meshnet lab logs {name})") from exc


@app.command()
def push(
    name: Name,
    path: Annotated[Path, typer.Option("-p", "--path", help="The app's directory.")] = Path("."),
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
    print(f"Pushing app {name}...", file=sys.stderr)
    pushed = client.push(name, path, command, instances=instances, memory_mb=_memory(memory))
    if not no_route:
        domain = domain or _default_domain(client)
        client.map_route(pushed["guid"], domain, hostname or name.lower(), _path(route_path))
    if not no_start:
        client.act(pushed["guid"], "restart")
        _wait(client, pushed["guid"], name)
    show(name)


def _default_domain(client: Client) -> str:
    domains = client.get("/v3/domains")["resources"]
    return str(next(d["name"] for d in domains if not d["internal"]))


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
    _ok()


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
        print(exc, file=sys.stderr)
        return _ok()
    mapped = [r for r in client.routes() if _leads_to(r, guid)]
    if routes and any(len(r["destinations"]) > 1 for r in mapped):
        raise InputError(f"a route of {name} leads to other apps too; nothing was deleted")
    client.delete_app(guid)
    for route in mapped if routes else ():
        client.delete_route(route["guid"])
    _ok()


@app.command("set-env")
def set_env(name: Name, key: str, value: str) -> None:
    """Set an environment variable; it reaches instances at the next restart."""
    client = from_environment()
    path = f"/v3/apps/{client.app(name)['guid']}/environment_variables"
    client.call("PATCH", path, {"var": {key: value}})
    _ok()


@app.command()
def env(name: Name) -> None:
    """Show an app's environment variables."""
    client = from_environment()
    dump(client.get(f"/v3/apps/{client.app(name)['guid']}/env"))


@app.command()
def domains(json: Json = False) -> None:
    """List domains."""
    found = from_environment().get("/v3/domains")["resources"]
    if json:
        return dump(found)
    columns = ("name", "availability", "internal", "protocols")
    table(
        columns,
        ((d["name"], "shared", "true" if d["internal"] else "", "http") for d in found),
    )


@app.command()
def routes(json: Json = False) -> None:
    """List routes."""
    client = from_environment()
    found = client.routes()
    if json:
        return dump(found)
    names = {a["guid"]: a["name"] for a in client.apps()}
    rows = []
    for r in found:
        leads = (
            names.get(d["app"]["guid"], "?") + (f" ({d['weight']})" if d["weight"] else "")
            for d in r["destinations"]
        )
        rows.append(
            (r["host"], r["url"].split("/")[0].partition(".")[2], r["path"], ", ".join(leads))
        )
    table(("host", "domain", "path", "apps"), rows)


@app.command("create-route")
def create_route(domain: str, hostname: Host = "", path: Path_ = "") -> None:
    """Create a route without mapping it."""
    client = from_environment()
    try:
        route = client.create_route(domain, hostname, _path(path))
    except InputError as exc:
        if not str(exc).startswith("Route already exists"):
            raise
        print(exc, file=sys.stderr)
        return _ok()
    print(f"Route {route['url']} has been created.", file=sys.stderr)
    _ok()


@app.command("map-route")
def map_route(name: Name, domain: str, hostname: Host = "", path: Path_ = "") -> None:
    """Map a route to an app; creates the route where needed."""
    client = from_environment()
    client.map_route(client.app(name)["guid"], domain, hostname, _path(path))
    _ok()


@app.command("unmap-route")
def unmap_route(name: Name, domain: str, hostname: Host = "", path: Path_ = "") -> None:
    """Unmap an app from a route."""
    client = from_environment()
    if not client.unmap_route(client.app(name)["guid"], domain, hostname, _path(path)):
        print("Route to be unmapped is not currently mapped to the app.", file=sys.stderr)
    _ok()


@app.command("delete-route")
def delete_route(domain: str, hostname: Host = "", path: Path_ = "", force: Force = False) -> None:
    """Delete a route; one that is not there is no error, as in cf."""
    client = from_environment()
    if route := client.route(domain, hostname, _path(path)):
        client.delete_route(route["guid"])
    else:
        print("Unable to delete: the route does not exist.", file=sys.stderr)
    _ok()


def _ports(text: str) -> tuple[int, int]:
    first, _, last = text.partition("-")
    if not first.isdecimal() or (last and not last.isdecimal()):
        raise InputError(f"--port {text}: want a port or a range, as 8080 or 8080-8090")
    return int(first), int(last or first)


Protocol = Annotated[str, typer.Option("--protocol", help="tcp or udp.")]
Port = Annotated[str, typer.Option("--port", help="Port or range.")]


@app.command("add-network-policy")
def add_network_policy(
    source: str, destination: str, protocol: Protocol = "tcp", port: Port = "8080"
) -> None:
    """Allow traffic from one app to another."""
    client = from_environment()
    ids = client.app(source)["guid"], client.app(destination)["guid"]
    client.allow(*ids, protocol=protocol, ports=_ports(port))
    _ok()


@app.command("remove-network-policy")
def remove_network_policy(
    source: str, destination: str, protocol: Protocol = "tcp", port: Port = "8080"
) -> None:
    """Take a network policy away; connections it allowed are cut."""
    client = from_environment()
    ids = client.app(source)["guid"], client.app(destination)["guid"]
    if not client.deny(*ids, protocol=protocol, ports=_ports(port)):
        print("Policy does not exist.", file=sys.stderr)
    _ok()


@app.command("network-policies")
def network_policies(
    source: Annotated[str, typer.Option("--source", help="Of this app only.")] = "",
    json: Json = False,
) -> None:
    """List network policies."""
    client = from_environment()
    names = {a["guid"]: a["name"] for a in client.apps()}
    only = client.app(source)["guid"] if source else ""
    rows = []
    for policy in client.policies():
        if only not in ("", policy["source"]["id"]):
            continue
        ports, target = policy["destination"]["ports"], policy["destination"]
        end = f"-{ports['end']}" if ports["end"] != ports["start"] else ""
        pair = (names.get(policy["source"]["id"], "?"), names.get(target["id"], "?"))
        rows.append((*pair, target["protocol"], f"{ports['start']}{end}"))
    if json:
        keys = ("source", "destination", "protocol", "ports")
        return dump([dict(zip(keys, row, strict=True)) for row in rows])
    table(("source", "destination", "protocol", "ports"), sorted(rows))


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
