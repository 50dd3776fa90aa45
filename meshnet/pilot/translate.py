"""Istio's resources in, what proxies do out: one service at a time. Pure.

A proxy refuses a whole resource for one bad thing in it. So what a proxy would refuse (a host with
a line break, a route to nowhere, a VIP that is no address) is left out here.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Container, Iterable, Mapping
from typing import Any

from meshnet.proxy.config import (
    BY_HOST,
    Cluster,
    Host,
    HttpListener,
    ProxyConfig,
    Retries,
    RouteTable,
    Rule,
)
from meshnet.wire.gen import istio_networking_pb2 as istio

INTERNAL = "internal/"  # how the names of what is inside the mesh begin
_MAX_PORT = 65_535
EXTERNAL_RETRIES = Retries(2, "connect-failure,refused-stream,reset-before-request")
# Lower-case host to its ServiceEntry; a host without one is not in it.
Entries = Mapping[str, Any]


def edge(gateways: Mapping[str, Any]) -> ProxyConfig:
    """The ingress proxies' listeners: the gateways' HTTP and HTTPS ports, tables chosen by host."""
    servers = [one for _, gateway in sorted(gateways.items()) for one in gateway.servers]
    plain = {
        server.port.number: HttpListener(
            f"{server.port.name}-{server.port.number}", "0.0.0.0", server.port.number, BY_HOST,
            edge=True,
        )
        for server in servers
        if server.port.number and server.port.protocol.lower() == "http"
    }  # fmt: skip
    return ProxyConfig(listeners=(*plain.values(), *_secure(servers, plain)))


def _secure(servers: Iterable[Any], taken: Container[int]) -> Iterable[HttpListener]:
    """A listener for each HTTPS port, with the certificates of all its servers."""
    found: dict[int, list[str]] = {}
    for server in servers:
        port, directory = server.port.number, _certificate(server.tls)
        if server.port.protocol.lower() == "https" and port and port not in taken and directory:
            found.setdefault(port, []).append(directory)
    for port, directories in found.items():
        unique = tuple(dict.fromkeys(directories))
        yield HttpListener(
            f"https-{port}", "0.0.0.0", port, BY_HOST, edge=True, certificates=unique
        )


def _certificate(tls: Any) -> str:
    """The directory that a server's certificate and key are in; empty where proxies take none."""
    directory, _, name = tls.server_certificate.rpartition("/")
    fits = (name, tls.private_key) == ("tls.crt", f"{directory}/tls.key")
    simple = tls.mode == istio.Server.TLSOptions.SIMPLE
    return directory if fits and simple and directory.isprintable() else ""


def external(service: Any, entries: Entries) -> ProxyConfig:
    """A VirtualService as ingress proxies serve it: a table for each of its hosts."""
    rules = _rules(service, EXTERNAL_RETRIES)
    tables = (RouteTable(name, (Host(name, rules),), of_host=True) for name in hosts(service))
    return ProxyConfig((), tuple(tables), _clusters(service, entries))


def internal(service: Any, entries: Entries) -> ProxyConfig:
    """A VirtualService as sidecars serve it: a listener and a table for each VIP and port of its
    first host; nothing where that has no VIP.
    """
    listeners, tables = {}, {}
    for host in hosts(service)[:1]:
        entry = entries.get(host)
        vips = [vip for vip in entry.addresses if _is_address(vip)] if entry else []
        for port in entry.ports if entry and vips else ():
            name = f"outbound|{port.number}||{host}"
            # The VIP says which host is meant; whatever the Host header says is for the app.
            tables[name] = RouteTable(name, (Host("*", _rules(service, None)),))
            for vip in vips:
                one = HttpListener(f"{vip}_{port.number}", vip, port.number, name, bound=False)
                listeners[one.name] = one
    if not listeners:
        return ProxyConfig()
    return ProxyConfig(
        tuple(listeners.values()), tuple(tables.values()), _clusters(service, entries)
    )


def hosts(service: Any) -> list[str]:
    """A VirtualService's hosts, lower case, each once, without what no proxy takes."""
    found = (host.lower() for host in service.hosts if host and host.isprintable())
    return list(dict.fromkeys(host for host in found if " " not in host))


def needs(service: Any) -> set[str]:
    """The hosts whose ServiceEntries a VirtualService depends on."""
    targets = (target for route in service.http for target in route.route)
    return {*hosts(service), *(target.destination.host.lower() for target in targets)}


def _is_address(text: str) -> bool:
    try:
        ipaddress.IPv4Address(text)
    except ValueError:
        return False
    return True


def _rules(service: Any, retries: Retries | None) -> tuple[Rule, ...]:
    rules = (_rule(route, retries) for route in service.http)
    return tuple(rule for rule in rules if rule.clusters)


def _rule(route: Any, retries: Retries | None) -> Rule:
    prefixes = [match.uri.prefix for match in route.match if match.uri.prefix]
    if route.HasField("retries") and route.retries.attempts > 0:
        retries = Retries(route.retries.attempts, route.retries.retry_on)
    timeout = None
    if route.HasField("timeout"):
        timeout = route.timeout.seconds + route.timeout.nanos / 1e9
    # A single destination needs no weight; among several, one without a weight gets nothing.
    alone = len(route.route) == 1
    clusters = tuple(
        (_cluster_name(target.destination), 100 if alone else target.weight)
        for target in route.route
        if alone or target.weight > 0
    )
    return Rule(prefixes[0] if prefixes else "/", clusters, timeout, retries)


def _cluster_name(destination: Any) -> str:
    host = destination.host.lower()
    return f"outbound|{destination.port.number}|{destination.subset}|{host}"


def _clusters(service: Any, entries: Entries) -> tuple[Cluster, ...]:
    clusters = []
    for target in (t for route in service.http for t in route.route):
        destination = target.destination
        entry = entries.get(destination.host.lower())
        endpoints = _endpoints(entry, destination.subset) if entry else ()
        clusters.append(Cluster(_cluster_name(destination), endpoints))
    return _unique(clusters)


def _endpoints(entry: Any, subset: str) -> tuple[tuple[str, int], ...]:
    """The entry's endpoints whose labels carry the subset's name (Copilot labels by process)."""
    name = entry.ports[0].name if entry.ports else "http"
    found = {
        (endpoint.address, endpoint.ports[name])
        for endpoint in entry.endpoints
        if subset in endpoint.labels.values()
        and 0 < endpoint.ports.get(name, 0) <= _MAX_PORT
        and _is_address(endpoint.address)
    }
    return tuple(sorted(found))


def _unique(clusters: Iterable[Cluster]) -> tuple[Cluster, ...]:
    return tuple({cluster.name: cluster for cluster in clusters}.values())
