"""xDS resources as Pilot keeps them: serialised once, versioned by content."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

_TYPE = "type.googleapis.com/envoy.config."
CLUSTERS = _TYPE + "cluster.v3.Cluster"
ENDPOINTS = _TYPE + "endpoint.v3.ClusterLoadAssignment"
LISTENERS = _TYPE + "listener.v3.Listener"
SCOPES = _TYPE + "route.v3.ScopedRouteConfiguration"
ROUTES = _TYPE + "route.v3.RouteConfiguration"
SERVICES = {CLUSTERS: "CDS", ENDPOINTS: "EDS", LISTENERS: "LDS", SCOPES: "SRDS", ROUTES: "RDS"}
# What a route needs is sent before the route: make before break.
ORDER = (CLUSTERS, ENDPOINTS, LISTENERS, SCOPES, ROUTES)


@dataclass(frozen=True)
class Resource:
    """A serialised resource and its version, a hash of the content.

    Attributes:
        vacant: endpoints of which none is left: sent only after the routes that go elsewhere.
    """

    version: str
    body: bytes
    vacant: bool = False


Resources = dict[str, dict[str, Resource]]
View = Mapping[str, Mapping[str, Resource]]
# Type URL to the names of what differs from before.
Changes = Mapping[str, Iterable[str]]


def resource(message: Any, *, vacant: bool = False) -> Resource:
    """Serialise a message; equal messages give equal versions."""
    body = message.SerializeToString(deterministic=True)
    return Resource(hashlib.sha256(body).hexdigest()[:16], body, vacant)
