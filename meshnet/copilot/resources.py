"""Routes, instances and policies in, Istio's resources out. Pure: equal input, equal output.

Names and contents are those of cloudfoundry/copilot snapshot/config.go, except where it was wrong:
a route without instances stays (503, not 404), weights sum to 100 whichever instances live, all
destinations of a host share one port, and a Sidecar names no host twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from google.protobuf.duration_pb2 import Duration

from meshnet.copilot.mesh import Mesh, Site
from meshnet.copilot.weights import percentages
from meshnet.model.routes import Backend, Route
from meshnet.wire import mcp
from meshnet.wire.gen import istio_networking_pb2 as istio

GATEWAY = "cloudfoundry-ingress"
DEFAULT_SIDECAR = "cloudfoundry-default-sidecar"
NOTHING = "~/*"  # the egress host of a Sidecar that sees nothing
DEFAULT_PORT = 8080
INTERNAL_TIMEOUT_SECONDS = 15
INTERNAL_ATTEMPTS = 3
INTERNAL_RETRY_ON = "5xx"
LABEL = "cfapp"
_HTTP = "http"

Resources = dict[str, dict[str, Any | None]]


def of_site(mesh: Mesh, site: Site) -> Resources:
    """A site's three resources; None for each where no route of it is mapped to anything."""
    host, prefix = site.host, "internal/" if site.internal else ""
    paths = _paths(mesh, site)
    # In the order of Copilot: by length of path, no path last; then by process.
    order = sorted(paths, key=lambda path: (not path, len(path), path))
    processes = list(dict.fromkeys(process for path in order for process in paths[path]))
    endpoints = {process: _endpoints(mesh, process, site.internal) for process in processes}
    port = next((one[2] for found in endpoints.values() for one in found), DEFAULT_PORT)
    # The longest prefix is tried first, the route without a path last.
    tried = [*reversed([path for path in order if path]), *([""] if "" in paths else [])]
    http = [_http_route(site, path, paths[path], endpoints, port) for path in tried]
    service = istio.VirtualService(
        hosts=[host], gateways=[] if site.internal else [GATEWAY], http=http
    )
    subsets = [istio.Subset(name=process, labels={LABEL: process}) for process in processes]
    rule = istio.DestinationRule(host=host, subsets=subsets)
    entry = _entry(site, mesh.vips.get(host), endpoints, port)
    return {
        mcp.VIRTUAL_SERVICES: {f"{prefix}copilot-service-for-{host}": service if paths else None},
        mcp.DESTINATION_RULES: {f"{prefix}copilot-rule-for-{host}": rule if paths else None},
        mcp.SERVICE_ENTRIES: {
            f"{prefix}copilot-service-entry-for-{host}": entry if paths else None
        },
    }


def of_policies(mesh: Mesh, app: str) -> dict[str, Any | None]:
    """The Sidecar of an app that may call others, None where it may not; "" is the default one.

    There is none before the policy server was heard, for it would hide what apps use.
    """
    if mesh.policies is None:
        return {}
    if not app:
        return {DEFAULT_SIDECAR: _sidecar([NOTHING])}
    callees = mesh.policies.get(app)
    if callees is None:
        return {app: None}
    hosts = {host for callee in callees for host in mesh.internal_hosts_of(callee)}
    sidecar = _sidecar([f"internal/{host}" for host in sorted(hosts)] or [NOTHING])
    sidecar.workload_selector.labels[LABEL] = app
    return {app: sidecar}


def gateway(certificates: Iterable[Sequence[str]]) -> dict[str, Any | None]:
    """The ingress gateway: port 80, and port 443 for each certificate, given by its DNS names."""
    server = istio.Server(port=istio.Port(number=80, protocol=_HTTP, name=_HTTP), hosts=["*"])
    return {GATEWAY: istio.Gateway(servers=[server, *map(_tls_server, certificates)])}


def everything(mesh: Mesh, certificates: Iterable[Sequence[str]] = ()) -> Resources:
    """All resources there are; every collection is in it, if only empty."""
    result: Resources = {collection: {} for collection in mcp.COLLECTIONS}
    result[mcp.GATEWAYS] = gateway(certificates)
    for site in mesh.sites():
        for collection, made in of_site(mesh, site).items():
            result[collection].update({k: v for k, v in made.items() if v is not None})
    for app in ("", *(mesh.policies or ())):
        result[mcp.SIDECARS].update(of_policies(mesh, app))
    return result


def _paths(mesh: Mesh, site: Site) -> dict[str, dict[str, int]]:
    """Path to process to weight. Internal routes are matched by host alone."""
    paths: dict[str, dict[str, int]] = {}
    for route in mesh.routes_at(site):
        weights = {p: mesh.mappings[route.guid, p] for p in mesh.processes_of(route.guid)}
        if weights:
            paths.setdefault(_path(route), {}).update(weights)
    return {path: dict(sorted(weights.items())) for path, weights in paths.items()}


def _path(route: Route) -> str:
    return "" if route.internal else route.path


def _endpoints(mesh: Mesh, process: str, internal: bool) -> list[tuple[str, int, int]]:
    """(address, port, container port) of a process's instances, by address."""
    found = {
        _reached(one, internal)
        for diego_guid in mesh.associations.get(process, ())
        for one in mesh.backends.get(diego_guid, ())
        if internal or one.host_port
    }
    return sorted(found)


def _reached(one: Backend, internal: bool) -> tuple[str, int, int]:
    if internal:
        return one.instance_address, one.container_port, one.container_port
    return one.address, one.host_port, one.container_port


def _http_route(
    site: Site,
    path: str,
    weights: Mapping[str, int],
    endpoints: Mapping[str, list[Any]],
    port: int,
) -> Any:
    alive = {process: weight for process, weight in weights.items() if endpoints[process]}
    route = istio.HTTPRoute(
        route=[
            istio.HTTPRouteDestination(
                destination=istio.Destination(
                    host=site.host, subset=process, port=istio.PortSelector(number=port)
                ),
                weight=share,
            )
            for process, share in percentages(alive or weights).items()
        ]
    )
    if path:
        route.match.append(istio.HTTPMatchRequest(uri=istio.StringMatch(prefix=path)))
    if site.internal:
        route.timeout.CopyFrom(Duration(seconds=INTERNAL_TIMEOUT_SECONDS))
        route.retries.attempts = INTERNAL_ATTEMPTS
        route.retries.retry_on = INTERNAL_RETRY_ON
    return route


def _entry(
    site: Site, vip: str | None, endpoints: Mapping[str, list[tuple[str, int, int]]], port: int
) -> Any:
    return istio.ServiceEntry(
        hosts=[site.host],
        addresses=[vip] if vip and site.internal else [],
        ports=[istio.Port(number=port, protocol=_HTTP, name=_HTTP)],
        location=istio.ServiceEntry.MESH_INTERNAL,
        resolution=istio.ServiceEntry.STATIC,
        endpoints=[
            istio.ServiceEntry.Endpoint(
                address=address, ports={_HTTP: number}, labels={LABEL: process}
            )
            for process, found in endpoints.items()
            for address, number, _ in found
        ],
    )


def _sidecar(hosts: Sequence[str]) -> Any:
    return istio.Sidecar(egress=[istio.IstioEgressListener(hosts=hosts)])


def _tls_server(names: Sequence[str]) -> Any:
    directory = f"/etc/istio/{names[0]}"
    return istio.Server(
        port=istio.Port(number=443, protocol="https", name=names[0]),
        hosts=names,
        tls=istio.Server.TLSOptions(
            mode=istio.Server.TLSOptions.SIMPLE,
            server_certificate=f"{directory}/tls.crt",
            private_key=f"{directory}/tls.key",
        ),
    )
