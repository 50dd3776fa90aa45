"""`meshnet cf ...`: domains, routes and network policies."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from meshnet.cli.cf_options import Force, Host, Json, Name, Path_, ok, rooted
from meshnet.cli.client import dump, from_environment
from meshnet.cli.tables import one_line, table
from meshnet.model.errors import InputError


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


def create_route(domain: str, hostname: Host = "", path: Path_ = "") -> None:
    """Create a route without mapping it."""
    client = from_environment()
    try:
        route = client.create_route(domain, hostname, rooted(path))
    except InputError as exc:
        if not str(exc).startswith("Route already exists"):
            raise
        print(one_line(str(exc)), file=sys.stderr)
        return ok()
    print(f"Route {route['url']} has been created.", file=sys.stderr)
    ok()


def map_route(name: Name, domain: str, hostname: Host = "", path: Path_ = "") -> None:
    """Map a route to an app; creates the route where needed."""
    client = from_environment()
    client.map_route(client.app(name)["guid"], domain, hostname, rooted(path))
    ok()


def unmap_route(name: Name, domain: str, hostname: Host = "", path: Path_ = "") -> None:
    """Unmap an app from a route."""
    client = from_environment()
    if not client.unmap_route(client.app(name)["guid"], domain, hostname, rooted(path)):
        print("Route to be unmapped is not currently mapped to the app.", file=sys.stderr)
    ok()


def delete_route(domain: str, hostname: Host = "", path: Path_ = "", force: Force = False) -> None:
    """Delete a route; one that is not there is no error, as in cf."""
    client = from_environment()
    if route := client.route(domain, hostname, rooted(path)):
        client.delete_route(route["guid"])
    else:
        print("Unable to delete: the route does not exist.", file=sys.stderr)
    ok()


def _ports(text: str) -> tuple[int, int]:
    first, _, last = text.partition("-")
    if not first.isdecimal() or (last and not last.isdecimal()):
        raise InputError(f"--port {text}: want a port or a range, as 8080 or 8080-8090")
    return int(first), int(last or first)


Protocol = Annotated[str, typer.Option("--protocol", help="tcp or udp.")]
Port = Annotated[str, typer.Option("--port", help="Port or range.")]


def add_network_policy(
    source: str, destination: str, protocol: Protocol = "tcp", port: Port = "8080"
) -> None:
    """Allow traffic from one app to another."""
    client = from_environment()
    ids = client.app(source)["guid"], client.app(destination)["guid"]
    client.allow(*ids, protocol=protocol, ports=_ports(port))
    ok()


def remove_network_policy(
    source: str, destination: str, protocol: Protocol = "tcp", port: Port = "8080"
) -> None:
    """Take a network policy away; connections it allowed are cut."""
    client = from_environment()
    ids = client.app(source)["guid"], client.app(destination)["guid"]
    if not client.deny(*ids, protocol=protocol, ports=_ports(port)):
        print("Policy does not exist.", file=sys.stderr)
    ok()


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
