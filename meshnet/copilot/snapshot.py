"""Routes and running instances in, Istio's resources out. Pure: equal input, equal output.

Names and contents are those of cloudfoundry/copilot snapshot/config.go, except where it was wrong:
a route without instances stays (503, not 404) and weights sum to 100 whichever instances live.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from google.protobuf.duration_pb2 import Duration

from meshnet.copilot.weights import percentages
from meshnet.model.routes import Backend, Route
from meshnet.wire import mcp
from meshnet.wire.gen import istio_networking_pb2 as istio

GATEWAY = "cloudfoundry-ingress"
DEFAULT_PORT = 8080
INTERNAL_TIMEOUT_SECONDS = 15
INTERNAL_ATTEMPTS = 3
INTERNAL_RETRY_ON = "5xx"
LABEL = "cfapp"

Snapshot = dict[str, dict[str, Any]]


@dataclass(frozen=True)
class Mesh:
    """All that a snapshot depends on.

    Attributes:
        routes: by guid.
        mappings: (route guid, process guid) to weight.
        associations: process guid to Diego process guids.
        backends: Diego process guid to its running instances.
        vips: lower-case host of an internal route to its VIP.
    """

    routes: Mapping[str, Route] = field(default_factory=dict)
    mappings: Mapping[tuple[str, str], int] = field(default_factory=dict)
    associations: Mapping[str, Sequence[str]] = field(default_factory=dict)
    backends: Mapping[str, Iterable[Backend]] = field(default_factory=dict)
    vips: Mapping[str, str] = field(default_factory=dict)


def snapshot(mesh: Mesh) -> Snapshot:
    """Collection to resource name to message; every collection is there, if only empty."""
    result: Snapshot = {collection: {} for collection in mcp.COLLECTIONS}
    result[mcp.GATEWAYS][GATEWAY] = _gateway()
    hosts: dict[tuple[str, bool], dict[str, dict[str, int]]] = defaultdict(
        lambda: defaultdict(dict)
    )
    for (route_guid, process), weight in sorted(mesh.mappings.items()):
        if route := mesh.routes.get(route_guid):
            hosts[route.host.lower(), route.internal][_path(route)][process] = weight
    for (host, internal), paths in sorted(hosts.items()):
        _add_host(result, mesh, host, internal, paths)
    return result


def _path(route: Route) -> str:
    return "" if route.internal else route.path


def _add_host(
    result: Snapshot, mesh: Mesh, host: str, internal: bool, paths: Mapping[str, Mapping[str, int]]
) -> None:
    processes = sorted({process for weights in paths.values() for process in weights})
    backends = {process: _backends(mesh, process, internal) for process in processes}
    live = [b for process in processes for b in backends[process]]
    port = live[0].container_port if live else DEFAULT_PORT
    prefix = "internal/" if internal else ""
    # Longest path first, the route without a path last: prefixes are tried in this order.
    routes = [
        _http_route(host, path, paths[path], backends, port, internal)
        for path in sorted(paths, key=lambda path: (-len(path), path))
    ]
    result[mcp.VIRTUAL_SERVICES][f"{prefix}copilot-service-for-{host}"] = istio.VirtualService(
        hosts=[host], gateways=[] if internal else [GATEWAY], http=routes
    )
    subsets = [istio.Subset(name=process, labels={LABEL: process}) for process in processes]
    result[mcp.DESTINATION_RULES][f"{prefix}copilot-rule-for-{host}"] = istio.DestinationRule(
        host=host, subsets=subsets
    )
    result[mcp.SERVICE_ENTRIES][f"{prefix}copilot-service-entry-for-{host}"] = _entry(
        mesh, host, internal, backends, port
    )


def _backends(mesh: Mesh, process: str, internal: bool) -> list[Backend]:
    found = {
        backend
        for diego_guid in mesh.associations.get(process, ())
        for backend in mesh.backends.get(diego_guid, ())
        if internal or backend.host_port
    }
    return sorted(found)


def _http_route(
    host: str,
    path: str,
    weights: Mapping[str, int],
    backends: Mapping[str, list[Backend]],
    port: int,
    internal: bool,
) -> Any:
    alive = {p: w for p, w in weights.items() if backends[p]}
    shares = percentages(alive or weights)
    route = istio.HTTPRoute(
        route=[
            istio.HTTPRouteDestination(
                destination=istio.Destination(
                    host=host, subset=process, port=istio.PortSelector(number=port)
                ),
                weight=share,
            )
            for process, share in shares.items()
        ]
    )
    if path:
        route.match.append(istio.HTTPMatchRequest(uri=istio.StringMatch(prefix=path)))
    if internal:
        route.timeout.CopyFrom(Duration(seconds=INTERNAL_TIMEOUT_SECONDS))
        route.retries.attempts = INTERNAL_ATTEMPTS
        route.retries.retry_on = INTERNAL_RETRY_ON
    return route


def _entry(
    mesh: Mesh, host: str, internal: bool, backends: Mapping[str, list[Backend]], port: int
) -> Any:
    endpoints = [
        istio.ServiceEntry.Endpoint(
            address=backend.instance_address if internal else backend.address,
            ports={"http": backend.container_port if internal else backend.host_port},
            labels={LABEL: process},
        )
        for process, found in backends.items()
        for backend in found
    ]
    vip = mesh.vips.get(host) if internal else None
    return istio.ServiceEntry(
        hosts=[host],
        addresses=[vip] if vip else [],
        ports=[istio.Port(number=port, protocol="http", name="http")],
        location=istio.ServiceEntry.MESH_INTERNAL,
        resolution=istio.ServiceEntry.STATIC,
        endpoints=endpoints,
    )


def _gateway() -> Any:
    server = istio.Server(port=istio.Port(number=80, protocol="http", name="http"), hosts=["*"])
    return istio.Gateway(servers=[server])
