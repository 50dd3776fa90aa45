"""The arrow from Copilot to Pilot, Istio's Mesh Configuration Protocol: collections and resources.

The two halves of a stream are in mcp_source.py and mcp_sink.py; I/O is in mcp_server.py and
mcp_client.py. Source: istio.io/istio/pkg/mcp, releases 1.2 and 1.3.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from meshnet.wire.gen import istio_networking_pb2 as istio
from meshnet.wire.gen import mcp_pb2

_NETWORKING = "istio/networking/v1alpha3/"
GATEWAYS = _NETWORKING + "gateways"
VIRTUAL_SERVICES = _NETWORKING + "virtualservices"
DESTINATION_RULES = _NETWORKING + "destinationrules"
SERVICE_ENTRIES = _NETWORKING + "serviceentries"
SIDECARS = _NETWORKING + "sidecars"

# Message per collection; the others are served empty, for a Pilot of 1.2 waits for all of them.
MESSAGES: dict[str, Any] = {
    GATEWAYS: istio.Gateway,
    VIRTUAL_SERVICES: istio.VirtualService,
    DESTINATION_RULES: istio.DestinationRule,
    SERVICE_ENTRIES: istio.ServiceEntry,
    SIDECARS: istio.Sidecar,
}
COLLECTIONS = (
    *MESSAGES,
    _NETWORKING + "envoyfilters",
    "istio/config/v1alpha2/httpapispecs",
    "istio/config/v1alpha2/httpapispecbindings",
    "istio/mixer/v1/config/client/quotaspecs",
    "istio/mixer/v1/config/client/quotaspecbindings",
    "istio/authentication/v1alpha1/policies",
    "istio/authentication/v1alpha1/meshpolicies",
    "istio/rbac/v1alpha1/serviceroles",
    "istio/rbac/v1alpha1/servicerolebindings",
    "istio/rbac/v1alpha1/authorizationpolicies",
    "istio/rbac/v1alpha1/rbacconfigs",
    "istio/rbac/v1alpha1/clusterrbacconfigs",
)
MAX_MESSAGE_BYTES = 8 * 1024 * 1024
# For gRPC servers: our peers ping every 10 s, also on streams where nothing happens for hours.
PING_OPTIONS = (
    ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
    ("grpc.http2.max_ping_strikes", 0),
)


# Collection to resource name to message; None: the resource is gone.
Changes = Mapping[str, Mapping[str, Any | None]]


def resource(name: str, message: Any) -> Any:
    """An mcp Resource whose version is a hash of its content."""
    body = message.SerializeToString(deterministic=True)
    made = mcp_pb2.Resource()
    made.metadata.name = name
    made.metadata.version = hashlib.sha256(body).hexdigest()[:16]
    made.body.type_url = f"type.googleapis.com/{message.DESCRIPTOR.full_name}"
    made.body.value = body
    return made
