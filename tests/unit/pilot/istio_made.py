"""Istio's resources for tests, short."""

from __future__ import annotations

from typing import Any

from meshnet.wire.gen import istio_networking_pb2 as istio


def target(host: str, subset: str = "p", weight: int = 100) -> Any:
    destination = istio.Destination(host=host, subset=subset, port=istio.PortSelector(number=8080))
    return istio.HTTPRouteDestination(destination=destination, weight=weight)


def service(host: str, *targets: Any, prefix: str = "") -> Any:
    route = istio.HTTPRoute(route=targets or [target(host)])
    if prefix:
        route.match.append(istio.HTTPMatchRequest(uri=istio.StringMatch(prefix=prefix)))
    return istio.VirtualService(hosts=[host], http=[route])


def entry(host: str, *endpoints: tuple[str, int, str], vip: str = "") -> Any:
    return istio.ServiceEntry(
        hosts=[host],
        addresses=[vip] if vip else [],
        ports=[istio.Port(number=8080, protocol="http", name="http")],
        endpoints=[
            istio.ServiceEntry.Endpoint(address=a, ports={"http": p}, labels={"cfapp": s})
            for a, p, s in endpoints
        ],
    )
