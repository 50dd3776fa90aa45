"""The arrow from Copilot to Pilot: Istio 1.2's Mesh Configuration Protocol, without I/O.

Source: istio.io/istio/pkg/mcp/{source,sink,snapshot}, release 1.2.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from google.protobuf.message import DecodeError

from meshnet.model.errors import InputError, PeerError
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


class UnsupportedCollection(InputError):
    """The sink asked for a collection that nobody serves."""


@dataclass(frozen=True)
class Collection:
    """One collection's state: its version (a hash of its content) and its messages, serialised."""

    version: str
    resources: tuple[Any, ...]


def collection(name: str, messages: Mapping[str, Any]) -> Collection:
    """Serialise a collection; equal messages give an equal version."""
    digest, resources = hashlib.sha256(), []
    for key in sorted(messages):
        body = messages[key].SerializeToString(deterministic=True)
        digest.update(f"{len(key)} {len(body)} {key}".encode() + body)
        resource = mcp_pb2.Resource()
        resource.metadata.name = key
        resource.metadata.version = hashlib.sha256(body).hexdigest()[:16]
        resource.body.type_url = f"type.googleapis.com/{messages[key].DESCRIPTOR.full_name}"
        resource.body.value = body
        resources.append(resource)
    return Collection(digest.hexdigest()[:16], tuple(resources))


@dataclass
class _Watch:
    sent: str = ""
    pending: str = ""  # nonce of the unanswered response


@dataclass
class SourceStream:
    """A source's half of one stream."""

    _watches: dict[str, _Watch] = field(default_factory=dict)
    _nonce: int = 0
    rejected: int = 0
    last_error: str = ""

    def receive(self, request: Any) -> None:
        """Take a request: a subscription, an ACK or a NACK; stale nonces are ignored.

        Raises:
            UnsupportedCollection: nobody serves what it names.
        """
        if request.collection not in COLLECTIONS:
            raise UnsupportedCollection(f"unsupported collection {request.collection!r}")
        watch = self._watches.setdefault(request.collection, _Watch())
        if request.response_nonce in ("", watch.pending):
            if request.HasField("error_detail"):
                self.rejected += 1
                self.last_error = f"{request.collection}: {request.error_detail.message}"
            watch.pending = ""

    def send(self, state: Mapping[str, Collection]) -> list[Any]:
        """The responses due now: each watched collection whose version was not sent yet."""
        due = []
        for name, watch in self._watches.items():
            current = state[name]
            if watch.pending or watch.sent == current.version:
                continue
            self._nonce += 1
            watch.sent, watch.pending = current.version, str(self._nonce)
            due.append(
                mcp_pb2.Resources(
                    system_version_info=current.version,
                    collection=name,
                    resources=current.resources,
                    nonce=watch.pending,
                )
            )
        return due


@dataclass
class SinkStream:
    """A sink's half of one stream: collects whole collections and answers each response."""

    node_id: str
    collections: tuple[str, ...] = tuple(MESSAGES)
    received: dict[str, dict[str, Any]] = field(default_factory=dict)

    def open(self) -> list[Any]:
        """The requests that subscribe to every collection."""
        return [self._request(name) for name in self.collections]

    def receive(self, response: Any) -> Any:
        """Take a response into `received`; the ACK or NACK to send."""
        request = self._request(response.collection, response.nonce)
        try:
            self.received[response.collection] = _decode(response)
        except PeerError as exc:
            request.error_detail.code = 3  # INVALID_ARGUMENT
            request.error_detail.message = str(exc)
        return request

    @property
    def synced(self) -> bool:
        """Whether every collection has arrived."""
        return set(self.collections) <= set(self.received)

    def _request(self, name: str, nonce: str = "") -> Any:
        node = mcp_pb2.SinkNode(id=self.node_id)
        return mcp_pb2.RequestResources(sink_node=node, collection=name, response_nonce=nonce)


def _decode(response: Any) -> dict[str, Any]:
    kind = MESSAGES.get(response.collection)
    if kind is None:
        raise PeerError(f"not subscribed to {response.collection!r}")
    messages = {}
    for resource in response.resources:
        message = kind()
        try:
            if not resource.body.Unpack(message):
                raise PeerError(f"{resource.metadata.name} is a {resource.body.type_url}")
        except DecodeError as exc:
            raise PeerError(f"{resource.metadata.name} does not parse: {exc}") from exc
        messages[resource.metadata.name] = message
    return messages
