"""`meshnet cf ...`: domains, routes and network policies."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from meshnet.cli.cf_options import Force, Host, Json, Name, Path_, confirmed, ok, rooted
from meshnet.cli.cf_session import session
from meshnet.cli.client import dump
from meshnet.cli.tables import one_line, table
from meshnet.model.errors import InputError


def routes(json: Json = False) -> None:
    """List routes."""
    client = session()
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
    client = session()
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
    client = session()
    client.map_route(client.app(name)["guid"], domain, hostname, rooted(path))
    ok()


def unmap_route(name: Name, domain: str, hostname: Host = "", path: Path_ = "") -> None:
    """Unmap an app from a route."""
    client = session()
    if not client.unmap_route(client.app(name)["guid"], domain, hostname, rooted(path)):
        print("Route to be unmapped is not currently mapped to the app.", file=sys.stderr)
    ok()


def delete_route(domain: str, hostname: Host = "", path: Path_ = "", force: Force = False) -> None:
    """Delete a route; one that is not there is no error, as in cf."""
    client = session()
    url = (f"{hostname}.{domain}" if hostname else domain) + rooted(path)
    if not force and not confirmed(
        f"Really delete the route {url}?",
        otherwise=f"'{url}' has not been deleted.",
        before=(
            "This action impacts all apps using this route.",
            "Deleting this route will make apps unreachable via this route.",
        ),
    ):
        return
    if route := client.route(domain, hostname, rooted(path)):
        client.delete_route(route["guid"])
    else:
        print("Unable to delete: the route does not exist.", file=sys.stderr)
    ok()


def check_route(domain: str, hostname: Host = "", path: Path_ = "") -> None:
    """Say whether there is a route, in whatever space."""
    client = session()
    guid = client.domain(domain)["guid"]
    query = {"host": hostname, "path": rooted(path)}
    found = client.get(f"/v3/domains/{guid}/route_reservations", **query)["matching_route"]
    name = f"{hostname}.{domain}" if hostname else domain
    print(f"Route {name}{rooted(path)} {'does' if found else 'does not'} exist.", file=sys.stderr)
    ok()


def delete_orphaned_routes(force: Force = False) -> None:
    """Delete the routes of the space that lead to no app."""
    client = session()
    if not force and not confirmed(
        "Really delete orphaned routes?", otherwise="Routes have not been deleted."
    ):
        return
    client.job("DELETE", f"/v3/spaces/{client.space}/routes?unmapped=true")
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
    client = session()
    ids = client.app(source)["guid"], client.app(destination)["guid"]
    client.allow(*ids, protocol=protocol, ports=_ports(port))
    ok()


def remove_network_policy(
    source: str, destination: str, protocol: Protocol = "tcp", port: Port = "8080"
) -> None:
    """Take a network policy away; connections it allowed are cut."""
    client = session()
    ids = client.app(source)["guid"], client.app(destination)["guid"]
    if not client.deny(*ids, protocol=protocol, ports=_ports(port)):
        print("Policy does not exist.", file=sys.stderr)
    ok()


def network_policies(
    source: Annotated[str, typer.Option("--source", help="Of this app only.")] = "",
    json: Json = False,
) -> None:
    """List network policies."""
    client = session()
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
