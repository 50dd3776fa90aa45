"""ADS in its older form, state of the world: a response holds all there is of a type.

Source: envoyproxy.io/docs, «xDS REST and gRPC protocol», the four variants, resource hints.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any

from envoy.service.discovery.v3 import discovery_pb2

from meshnet.proxy.xds import CLUSTERS, LISTENERS, ORDER, SCOPES, Resource
from meshnet.wire.ads import WILDCARD, Stream
from meshnet.wire.ads_subscription import Subscription

_WHOLE = (CLUSTERS, LISTENERS, SCOPES)


class StateStream(Stream):
    """Clusters, listeners and scopes travel whole, and what is not among them goes; of endpoints
    and routes those that changed: a proxy drops them with what asked for them.
    """

    def __init__(self) -> None:
        super().__init__()
        self._bodies: dict[str, dict[str, Resource]] = {url: {} for url in ORDER}
        self._nonces: dict[str, str] = {}  # of the last response of a type
        self._before: dict[str, dict[str, Resource | None]] = {}  # what that response changed

    def receive(self, request: Any) -> None:
        """Take a request: all names that are subscribed to now, and an ACK or a NACK.

        One that answers an earlier response than the last of its type is stale, and ignored: its
        names are those of before, and the next request repeats whatever is new in them.
        """
        if request.type_url not in ORDER:
            return
        state = self._types.get(request.type_url)
        if state is None:
            state = self._types[request.type_url] = Subscription()
            state.wildcard = not request.resource_names and request.type_url in _WHOLE
            self._first(request.type_url, state)
        elif request.response_nonce != self._nonces.get(request.type_url, ""):
            return
        if request.response_nonce and request.response_nonce == state.pending:
            self._answered(request.type_url, request, state)
        # Whoever names something from then on wants no more than that.
        if request.resource_names and state.wildcard != (WILDCARD in request.resource_names):
            state.wildcard = not state.wildcard
            state.look_at(None)
        names = {name for name in request.resource_names if name != WILDCARD}
        for name in state.names - names:
            self._left(request.type_url, state, name)
            self._bodies[request.type_url].pop(name, None)
        state.look_at(names - state.names)
        state.missing &= names
        state.names = names

    def _message(
        self, type_url: str, nonce: str, changed: list[tuple[str, Resource]], removed: list[str]
    ) -> Any:
        bodies = self._bodies[type_url]
        self._before[type_url] = {name: bodies.get(name) for name, _ in changed}
        bodies.update(changed)
        for name in removed:
            bodies.pop(name, None)
        shown = bodies if type_url in _WHOLE else dict(changed)
        if not shown and type_url not in _WHOLE:
            return None
        self._nonces[type_url] = nonce
        response = discovery_pb2.DiscoveryResponse(
            type_url=type_url, nonce=nonce, version_info=_version(bodies)
        )
        for resource in shown.values():
            response.resources.add(type_url=type_url, value=resource.body)
        return response

    def _withdrawn(self, type_url: str, names: Iterable[str]) -> None:
        for name in names:
            before = self._before[type_url].get(name)
            if before is None:
                self._bodies[type_url].pop(name, None)
            else:
                self._bodies[type_url][name] = before


def _version(bodies: dict[str, Resource]) -> str:
    """Equal resources give an equal version."""
    text = "\n".join(f"{name} {one.version}" for name, one in sorted(bodies.items()))
    return hashlib.sha256(text.encode()).hexdigest()[:16]
