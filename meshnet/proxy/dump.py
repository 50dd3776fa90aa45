"""A proxy's configuration for people: what Envoy says it has, and what Pilot wants it to have.

Source: envoyproxy.io/docs, admin interface, `GET /config_dump?include_eds` (admin/v3/config_dump).
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from google.protobuf.json_format import MessageToDict

from meshnet.proxy.xds import CLUSTERS, ENDPOINTS, LISTENERS, ROUTES, View

KINDS = {
    "clusters": CLUSTERS,
    "endpoints": ENDPOINTS,
    "listeners": LISTENERS,
    "routes": ROUTES,
}
# Where a dump keeps a kind: the section, and a row's field that is the resource.
_SECTIONS = {
    "clusters": ("ClustersConfigDump", "cluster"),
    "endpoints": ("EndpointsConfigDump", "endpoint_config"),
    "listeners": ("ListenersConfigDump", "listener"),
    "routes": ("RoutesConfigDump", "route_config"),
}
STATIC = "static"


@dataclass(frozen=True)
class Item:
    """One resource: its name, its version (STATIC for what the bootstrap or a listener brought),
    its state ("active", "warming" or "draining"), and its body as Envoy's JSON.
    """

    name: str
    version: str
    state: str
    body: dict[str, Any]


def has(dump: Mapping[str, Any], kind: str) -> list[Item]:
    """What a proxy has of a kind, by its `config_dump`, in order of names.

    A route table that only draining listeners ask for is draining with them: Envoy keeps both for
    its drain time, whatever becomes of the clusters meanwhile.

    Raises:
        KeyError, TypeError: it is no dump of an Envoy's.
    """
    found = _has(dump, kind)
    if kind == "routes":
        left = _only_draining(_has(dump, "listeners"))
        found = [replace(one, state="draining") if one.name in left else one for one in found]
    return sorted(found, key=lambda one: (one.name, one.state))


def _only_draining(listeners: list[Item]) -> set[str]:
    """The route tables that draining listeners ask for, and no others."""
    asked = {
        draining: {
            *_route_names([i.body for i in listeners if (i.state == "draining") is draining])
        }
        for draining in (True, False)
    }
    return asked[True] - asked[False]


def _has(dump: Mapping[str, Any], kind: str) -> list[Item]:
    section, field = _SECTIONS[kind]
    found: list[Item] = []
    for config in dump["configs"]:
        if not config["@type"].endswith(f".{section}"):
            continue
        for key, rows in config.items():
            if key.startswith(("static_", "dynamic_")):
                for row in rows:
                    found += _items(key, row, field)
    return found


def _items(key: str, row: Mapping[str, Any], field: str) -> Iterator[Item]:
    states = {name: row[f"{name}_state"] for name in ("active", "warming", "draining")
              if f"{name}_state" in row}  # fmt: skip
    for state, holder in (states or {"warming" if "warming" in key else "active": row}).items():
        if (body := holder.get(field)) is None:
            continue  # a listener that was refused has no body
        version = STATIC if key.startswith("static_") else holder.get("version_info", "")
        yield Item(body.get("name") or body.get("cluster_name", ""), version, state, body)


def wanted(view: View) -> dict[str, dict[str, Any]]:
    """Kind to name to body, as Pilot wants a proxy to have them."""
    from envoy.config.cluster.v3 import cluster_pb2
    from envoy.config.endpoint.v3 import endpoint_pb2
    from envoy.config.listener.v3 import listener_pb2
    from envoy.config.route.v3 import route_pb2

    messages: dict[str, Any] = {
        CLUSTERS: cluster_pb2.Cluster,
        ENDPOINTS: endpoint_pb2.ClusterLoadAssignment,
        LISTENERS: listener_pb2.Listener,
        ROUTES: route_pb2.RouteConfiguration,
    }
    return {
        kind: {
            name: MessageToDict(
                messages[url].FromString(one.body), preserving_proto_field_name=True
            )
            for name, one in view[url].items()
        }
        for kind, url in KINDS.items()
    }


def difference(pilot: Mapping[str, Any], dump: Mapping[str, Any]) -> dict[str, list[str]]:
    """Kind to the lines of a unified diff, from what Pilot wants to what the proxy has.

    Only what Pilot gives counts, and of endpoints their addresses, ports and weights: Envoy shows
    them with what it made of them. Left out is what nobody asks for: endpoints of no cluster, and
    routes that only a draining listener has, which Envoy keeps for minutes.
    """
    found = {}
    clusters = {one.name for one in has(dump, "clusters")}
    for kind in KINDS:
        left: dict[str, Any] = pilot[kind]
        right: dict[str, Any] = {
            one.name: one.body
            for one in has(dump, kind)
            if one.version != STATIC and one.state != "draining"
        }
        if kind == "endpoints":
            left = {n: endpoints(body) for n, body in left.items() if n in clusters}
            right = {n: endpoints(body) for n, body in right.items() if n in left}
        if kind == "routes":
            asked = {
                *_route_names([i.body for i in has(dump, "listeners") if i.state != "draining"])
            }
            right = {n: body for n, body in right.items() if n in left or n in asked}
        found[kind] = [*_lines(left, right)]
    return found


def _route_names(body: Any) -> Iterator[str]:
    """The names of route tables that listeners ask for."""
    if isinstance(body, dict):
        if name := body.get("route_config_name"):
            yield str(name)
        body = [*body.values()]
    for inner in body if isinstance(body, list) else ():
        yield from _route_names(inner)


def _lines(left: Mapping[str, Any], right: Mapping[str, Any]) -> Iterator[str]:
    for name in sorted(left.keys() | right.keys()):
        one, other = _text(left, name), _text(right, name)
        yield from difflib.unified_diff(
            one, other, f"pilot  {name}", f"proxy  {name}", lineterm="", n=2
        )


def _text(bodies: Mapping[str, Any], name: str) -> list[str]:
    if name not in bodies:
        return []
    return json.dumps(_typeless(bodies[name]), indent=2, sort_keys=True).splitlines()


def _typeless(body: Any) -> Any:
    """Without the outermost @type, which only a dump has."""
    return {k: v for k, v in body.items() if k != "@type"} if isinstance(body, dict) else body


def endpoints(body: Mapping[str, Any]) -> list[str]:
    """Of a ClusterLoadAssignment: "ADDRESS:PORT weight N" each, in order."""
    found: list[str] = []
    for group in body.get("endpoints", ()):
        for one in group.get("lb_endpoints", ()):
            found.append(f"{address(one['endpoint'])} weight {one.get('load_balancing_weight', 1)}")
    return sorted(found)


def address(holder: Mapping[str, Any]) -> str:
    """The address of a listener or an endpoint: "ADDRESS:PORT", or a unix socket's path."""
    where = holder.get("address", {})
    if "pipe" in where:
        return f"unix:{where['pipe'].get('path', '')}"
    spot = where.get("socket_address", {})
    return f"{spot.get('address', '')}:{spot.get('port_value', 0)}"
