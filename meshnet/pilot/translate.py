"""Istio's resources in, what proxies do out. Pure.

A proxy refuses a whole table for one bad host in it, and then hears of no change of any other. So
what a proxy would refuse (a host twice or with a line break, a route to nowhere, a VIP that is no
address) is left out here.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping
from typing import Any

from meshnet.proxy.config import (
    Cluster,
    Host,
    HttpListener,
    Outbound,
    ProxyConfig,
    Retries,
    RouteTable,
    Rule,
)
from meshnet.wire import mcp

INTERNAL = "internal/"
INGRESS_TABLE = "ingress"
_MAX_PORT = 65_535
EXTERNAL_RETRIES = Retries(2, "connect-failure,refused-stream,reset-before-request")
Collections = Mapping[str, Mapping[str, Any]]


def ingress(collections: Collections) -> ProxyConfig:
    """The ingress proxies: one route table with every external host, on the gateway's ports."""
    entries = _entries(collections, internal=False)
    hosts: dict[str, Host] = {}
    clusters: list[Cluster] = []
    for service in _services(collections, internal=False):
        rules = _rules(service, EXTERNAL_RETRIES)
        for name in _hosts(service):
            hosts.setdefault(name, Host(name, rules))
        clusters += _clusters(service, entries)
    listeners = tuple(
        HttpListener(
            f"{server.port.name}-{server.port.number}", "0.0.0.0", port, INGRESS_TABLE, edge=True
        )
        for gateway in collections[mcp.GATEWAYS].values()
        for server in gateway.servers
        if (port := server.port.number) and server.port.protocol.lower() == "http"
    )
    table = RouteTable(INGRESS_TABLE, tuple(hosts.values()))
    return ProxyConfig(listeners, (table,), _unique(clusters))


def sidecars(collections: Collections) -> ProxyConfig:
    """What all sidecars share: the outbound listener, and a listener and table per VIP and port."""
    entries = _entries(collections, internal=True)
    listeners: dict[str, Any] = {"": Outbound()}
    tables, clusters = {}, []
    for service in _services(collections, internal=True):
        rules = _rules(service, None)
        for host in _hosts(service)[:1]:
            entry = entries.get(host)
            if entry is None or not (vips := [v for v in entry.addresses if _is_address(v)]):
                continue
            for port in entry.ports:
                name = f"outbound|{port.number}||{host}"
                # The VIP says which host is meant; whatever the Host header says is for the app.
                tables[name] = RouteTable(name, (Host("*", rules),))
                for vip in vips:
                    one = HttpListener(f"{vip}_{port.number}", vip, port.number, name, bound=False)
                    listeners.setdefault(one.name, one)
            clusters += _clusters(service, entries)
    return ProxyConfig(tuple(listeners.values()), tuple(tables.values()), _unique(clusters))


def _services(collections: Collections, *, internal: bool) -> list[Any]:
    found = collections[mcp.VIRTUAL_SERVICES]
    return [vs for name, vs in sorted(found.items()) if name.startswith(INTERNAL) == internal]


def _entries(collections: Collections, *, internal: bool) -> dict[str, Any]:
    return {
        host.lower(): entry
        for name, entry in sorted(collections[mcp.SERVICE_ENTRIES].items())
        if name.startswith(INTERNAL) == internal
        for host in entry.hosts
    }


def _hosts(service: Any) -> list[str]:
    return [host.lower() for host in service.hosts if host and host.isprintable()]


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
    if route.HasField("retries") and route.retries.attempts:
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


def _clusters(service: Any, entries: Mapping[str, Any]) -> list[Cluster]:
    clusters = []
    for target in (t for route in service.http for t in route.route):
        destination = target.destination
        entry = entries.get(destination.host.lower())
        endpoints = _endpoints(entry, destination.subset) if entry else ()
        clusters.append(Cluster(_cluster_name(destination), endpoints))
    return clusters


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
