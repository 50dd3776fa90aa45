"""Istio's resources in, what proxies do out. Pure."""

from __future__ import annotations

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
EXTERNAL_RETRIES = Retries(2, "connect-failure,refused-stream,reset-before-request")
Collections = Mapping[str, Mapping[str, Any]]


def ingress(collections: Collections) -> ProxyConfig:
    """The ingress proxies: one route table with every external host, on the gateway's ports."""
    services = _services(collections, internal=False)
    entries = _entries(collections)
    hosts, clusters = [], []
    for service in services:
        for name in service.hosts:
            hosts.append(
                Host(name.lower(), tuple(_rule(r, EXTERNAL_RETRIES) for r in service.http))
            )
            clusters += _clusters(service, entries)
    listeners = tuple(
        HttpListener(
            f"{server.port.name}-{server.port.number}", "0.0.0.0", port, INGRESS_TABLE, edge=True
        )
        for gateway in collections[mcp.GATEWAYS].values()
        for server in gateway.servers
        if (port := server.port.number) and server.port.protocol.lower() == "http"
    )
    table = RouteTable(INGRESS_TABLE, tuple(hosts))
    return ProxyConfig(listeners, (table,), _unique(clusters))


def sidecars(collections: Collections) -> ProxyConfig:
    """What all sidecars share: the outbound listener, and a listener and table per VIP and port."""
    entries = _entries(collections)
    listeners: list[Any] = [Outbound()]
    tables, clusters = [], []
    for service in _services(collections, internal=True):
        host = service.hosts[0].lower()
        entry = entries.get(host)
        if entry is None or not entry.addresses:
            continue
        rules = tuple(_rule(route, None) for route in service.http)
        for port in entry.ports:
            name = f"outbound|{port.number}||{host}"
            # The VIP says which host is meant; whatever the Host header says is for the app.
            tables.append(RouteTable(name, (Host("*", rules),)))
            listeners += [
                HttpListener(f"{vip}_{port.number}", vip, port.number, name, bound=False)
                for vip in entry.addresses
            ]
        clusters += _clusters(service, entries)
    return ProxyConfig(tuple(listeners), tuple(tables), _unique(clusters))


def _services(collections: Collections, *, internal: bool) -> list[Any]:
    found = collections[mcp.VIRTUAL_SERVICES]
    return [vs for name, vs in sorted(found.items()) if name.startswith(INTERNAL) == internal]


def _entries(collections: Collections) -> dict[str, Any]:
    return {
        host.lower(): entry
        for entry in collections[mcp.SERVICE_ENTRIES].values()
        for host in entry.hosts
    }


def _rule(route: Any, retries: Retries | None) -> Rule:
    prefixes = [match.uri.prefix for match in route.match if match.uri.prefix]
    if route.HasField("retries") and route.retries.attempts:
        retries = Retries(route.retries.attempts, route.retries.retry_on)
    timeout = None
    if route.HasField("timeout"):
        timeout = route.timeout.seconds + route.timeout.nanos / 1e9
    clusters = tuple(
        (_cluster_name(target.destination), target.weight or 100) for target in route.route
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
        if subset in endpoint.labels.values() and name in endpoint.ports
    }
    return tuple(sorted(found))


def _unique(clusters: Iterable[Cluster]) -> tuple[Cluster, ...]:
    return tuple({cluster.name: cluster for cluster in clusters}.values())
