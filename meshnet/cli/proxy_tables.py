"""A row or more for each resource of a proxy, as `meshnet proxy-config` shows it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from meshnet.proxy.dump import Item, address

_Row = tuple[Any, ...]


def _clusters(item: Item) -> Iterator[_Row]:
    body = item.body
    kind = body.get("type", "STATIC")
    yield item.name, kind, body.get("connect_timeout", ""), item.state, item.version


def _endpoints(item: Item) -> Iterator[_Row]:
    for group in item.body.get("endpoints", ()):
        for one in group.get("lb_endpoints", ()):
            health = one.get("health_status", "UNKNOWN").lower()
            yield address(one["endpoint"]), health, one.get("load_balancing_weight", 1), item.name


def _listeners(item: Item) -> Iterator[_Row]:
    chains = [*item.body.get("filter_chains", ())]
    if default := item.body.get("default_filter_chain"):
        chains.append(default)
    targets = dict.fromkeys(_target(f) for chain in chains for f in chain.get("filters", ()))
    yield item.name, address(item.body), ", ".join(targets), item.state, item.version


def _target(filter_: Mapping[str, Any]) -> str:
    """Where a network filter sends what it is given."""
    config = filter_.get("typed_config", {})
    if table := config.get("rds", {}).get("route_config_name"):
        return f"route {table}"
    if inline := config.get("route_config"):
        return f"inline route {inline.get('name', '')}".rstrip()
    if cluster := config.get("cluster"):
        return f"cluster {cluster}"
    return str(filter_.get("name", ""))


def _routes(item: Item) -> Iterator[_Row]:
    for host in item.body.get("virtual_hosts", ()):
        for route in host.get("routes", ()):
            hosts = ", ".join(host.get("domains", ()))
            match, to = _match(route.get("match", {})), _action(route)
            yield item.name, hosts, match, to, item.state, item.version


def _match(match: Mapping[str, Any]) -> str:
    for key, text in (("prefix", "{}*"), ("path", "{}"), ("path_separated_prefix", "{}/*")):
        if key in match:
            return text.format(match[key])
    return "*" if not match else ", ".join(match)


def _action(route: Mapping[str, Any]) -> str:
    if answer := route.get("direct_response"):
        return f"status {answer.get('status', '')}"
    if "redirect" in route:
        return "redirect"
    action = route.get("route", {})
    if weighted := action.get("weighted_clusters"):
        parts = weighted.get("clusters", ())
        return ", ".join(f"{one.get('weight', 0)}% {one.get('name', '')}" for one in parts)
    return str(action.get("cluster", ""))


def is_for(kind: str, item: Item, fqdn: str, port: int) -> bool:
    """Whether a resource is for a host (lower case) and a port; "" and 0: any."""
    if kind == "routes":
        hosts = [d for host in item.body.get("virtual_hosts", ()) for d in host.get("domains", ())]
        named = fqdn in (item.name, *hosts) or item.name.endswith(f"||{fqdn}")
        return (not fqdn or named) and (not port or item.name.startswith(f"outbound|{port}|"))
    if kind == "listeners":
        targets = [row[2].rpartition("|")[2] for row in _listeners(item)]
        numbered = address(item.body).rpartition(":")[2] == str(port)
        return (not fqdn or fqdn in targets) and (not port or numbered)
    parts = item.name.split("|")  # outbound|PORT|SUBSET|HOST
    return (not fqdn or parts[-1] == fqdn) and (not port or parts[1:2] == [str(port)])


TABLES: dict[str, tuple[tuple[str, ...], Callable[[Item], Iterator[_Row]]]] = {
    "clusters": (("cluster", "type", "connect timeout", "state", "version"), _clusters),
    "endpoints": (("endpoint", "health", "weight", "cluster"), _endpoints),
    "listeners": (("listener", "address", "to", "state", "version"), _listeners),
    "routes": (("route", "hosts", "match", "to", "state", "version"), _routes),
}
