"""The arrow from Pilot to a proxy: xDS v3 over ADS, without I/O. What is due when; the delta form.

Source: envoyproxy.io/docs, «xDS REST and gRPC protocol», eventual consistency, incremental xDS.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from envoy.service.discovery.v3 import discovery_pb2

from meshnet.proxy.xds import (
    CLUSTERS,
    ENDPOINTS,
    LISTENERS,
    ORDER,
    ROUTES,
    SCOPES,
    SERVICES,
    Changes,
    Resource,
    View,
)
from meshnet.wire.ads_subscription import Subscription

WILDCARD = "*"


@dataclass(frozen=True)
class Refusal:
    """A resource that a proxy refused, alone, and what it said; "" for a removal."""

    service: str  # "CDS", ...
    name: str
    error: str


@dataclass
class Stream:
    """Pilot's half of one proxy's stream, whichever its form.

    Attributes:
        pushes: responses sent.
        refusals: of resources, in order, until somebody takes them away.
    """

    pushes: int = 0
    refusals: list[Refusal] = field(default_factory=list)
    _types: dict[str, Subscription] = field(default_factory=dict)
    _nonce: int = 0
    _clusters_sent: set[str] = field(default_factory=set)
    _bare: set[str] = field(default_factory=set)  # clusters that may lack their endpoints
    _view: View | None = None

    def receive(self, request: Any) -> None:
        """Take a request: what is subscribed to, and the ACK or NACK of a response."""
        raise NotImplementedError

    def _message(
        self, type_url: str, nonce: str, changed: list[tuple[str, Resource]], removed: list[str]
    ) -> Any:
        raise NotImplementedError

    def _withdrawn(self, type_url: str, names: Iterable[str]) -> None:
        """Some of what was sent last was refused: the proxy has what it had before."""

    def changed(self, changes: Changes) -> None:
        """Say what of the view differs; without a word of it only another view is looked at."""
        for type_url, names in changes.items():
            if state := self._types.get(type_url):
                state.look_at(names)

    def held_back(self) -> list[Refusal]:
        """What the proxy refused and is not sent again before it differs."""
        return [
            Refusal(SERVICES[type_url], name, error)
            for type_url, state in self._types.items()
            for name, error in sorted(state.rejected.items())
        ]

    def _answered(self, type_url: str, request: Any, state: Subscription) -> None:
        error = request.error_detail.message if request.HasField("error_detail") else None
        again = state.answered_by(error)
        if error is not None and not again:
            names = state.pending_names or ("",)
            self.refusals += [Refusal(SERVICES[type_url], name, error) for name in names]
        if error is not None:
            self._withdrawn(type_url, state.pending_names)
            if type_url == ENDPOINTS:
                self._bare.update(again)

    def send(self, view: View) -> list[Any]:
        """The responses due now.

        Make before break: routes and listeners wait until the proxy has every cluster with its
        endpoints; clusters, and the last endpoints of one, are taken away only when no route is
        outstanding.
        """
        due: list[Any] = []
        self._look_at(view)
        while self._round(view, due):
            pass
        return due

    def _look_at(self, view: View) -> None:
        if view is not self._view:
            self._view = view
            for state in self._types.values():
                state.look_at(None)

    def _round(self, view: View, due: list[Any]) -> bool:
        """Add what is due to `due`; whether something went without a word, so that more may be."""
        silent = False
        for type_url in ORDER:
            state = self._types.get(type_url)
            if state is None or state.pending:
                continue
            if type_url in (LISTENERS, SCOPES, ROUTES) and not self._clusters_ready(view):
                continue
            changed, removed = state.difference(view[type_url])
            if type_url in (CLUSTERS, ENDPOINTS) and not self._routes_settled(view):
                removed = [name for name in removed if name not in state.known]
                changed = [(n, r) for n, r in changed if not (r.vacant and n in state.known)]
            # A proxy waits for the first answer to a wildcard, if only to hear of nothing.
            if changed or removed or (state.wildcard and not state.answered):
                response = self._push(type_url, state, *state.batch(changed, removed))
                if response is None:
                    silent = True
                else:
                    due.append(response)
        return silent

    def in_step(self, view: View) -> bool:
        """Whether the proxy has acknowledged all of `view` that it subscribes to."""
        self._look_at(view)
        wanted = {CLUSTERS, LISTENERS}
        return wanted <= set(self._types) and all(
            state.in_step(view[type_url]) for type_url, state in self._types.items()
        )

    def steps(self, view: View) -> dict[str, str]:
        """Discovery service ("CDS", ...) to "in step", "stale", "rejected" or "not asked"."""
        self._look_at(view)
        found = {}
        for type_url, service in SERVICES.items():
            state = self._types.get(type_url)
            if state is None:
                found[service] = "not asked"
            elif state.rejected:
                found[service] = "rejected"
            else:
                found[service] = "in step" if state.in_step(view[type_url]) else "stale"
        return found

    def _clusters_ready(self, view: View) -> bool:
        clusters, endpoints = self._types.get(CLUSTERS), self._types.get(ENDPOINTS)
        if clusters is None or clusters.pending or clusters.difference(view[CLUSTERS])[0]:
            return False
        known = endpoints.known if endpoints else {}
        self._bare = {
            name
            for name in self._bare
            if name in clusters.known
            and name not in clusters.rejected
            and name in view[ENDPOINTS]
            and name not in known
        }
        return not self._bare and not (endpoints and endpoints.pending)

    def _routes_settled(self, view: View) -> bool:
        return all(
            state is None or (not state.pending and not any(state.difference(view[type_url])))
            for type_url in (LISTENERS, SCOPES, ROUTES)
            for state in (self._types.get(type_url),)
        )

    def _push(
        self,
        type_url: str,
        state: Subscription,
        changed: list[tuple[str, Resource]],
        removed: list[str],
    ) -> Any:
        """Note what is sent, and make the response; None where this form has nothing to say."""
        state.sent(changed, removed)
        if type_url == CLUSTERS:
            names = [name for name, _ in changed]
            self._clusters_sent.update(names)
            self._bare.update(names)
            if endpoints := self._types.get(ENDPOINTS):
                self._forget_endpoints(endpoints)
        nonce = str(self._nonce + 1)
        response = self._message(type_url, nonce, changed, removed)
        if response is not None:
            self._nonce += 1
            self.pushes += 1
            state.pending = nonce
            state.pending_names = tuple(name for name, _ in changed)
        return response

    def _first(self, type_url: str, state: Subscription) -> None:
        """A type is subscribed to for the first time on this stream."""
        if type_url == CLUSTERS:
            self._bare.update(state.known)
        if type_url == ENDPOINTS:
            self._forget_endpoints(state)

    def _forget_endpoints(self, endpoints: Subscription) -> None:
        """Have the endpoints of clusters just sent sent once more.

        A changed cluster starts without endpoints and does not ask for those its predecessor had:
        untold, it warms until Envoy's 15 s for a first answer are over, and all routes with it.
        """
        for name in self._clusters_sent:
            endpoints.forget(name)
        self._clusters_sent.clear()

    def _left(self, type_url: str, state: Subscription, name: str) -> None:
        """A name is subscribed to no longer."""
        state.names.discard(name)
        state.rejected.pop(name, None)
        self._forget(type_url, state, name)

    def _forget(self, type_url: str, state: Subscription, name: str) -> None:
        state.forget(name)
        if type_url == ENDPOINTS:
            self._bare.add(name)


class DeltaStream(Stream):
    """The incremental form: only what changed travels, and what goes is named."""

    def receive(self, request: Any) -> None:
        """Take a request: (un)subscriptions, and the ACK or NACK of a response."""
        type_url = request.type_url
        state = self._types.get(type_url)
        first = state is None
        if state is None:
            if type_url not in ORDER:
                return
            state = self._types[type_url] = Subscription()
            state.known.update(request.initial_resource_versions)
            self._first(type_url, state)
            state.wildcard = not request.resource_names_subscribe
        if request.response_nonce and request.response_nonce == state.pending:
            self._answered(type_url, request, state)
        for name in request.resource_names_subscribe:
            if name == WILDCARD:
                state.wildcard = True
                state.look_at(None)
                continue
            state.names.add(name)
            state.missing.discard(name)
            state.look_at([name])
            if not first:  # whoever subscribes anew wants it sent anew
                self._forget(type_url, state, name)
        for name in request.resource_names_unsubscribe:
            if name == WILDCARD:
                state.wildcard = False
                state.look_at(None)
            else:
                self._left(type_url, state, name)

    def _message(
        self, type_url: str, nonce: str, changed: list[tuple[str, Resource]], removed: list[str]
    ) -> Any:
        response = discovery_pb2.DeltaDiscoveryResponse(
            type_url=type_url, nonce=nonce, removed_resources=removed
        )
        for name, resource in changed:
            message = response.resources.add(name=name, version=resource.version)
            message.resource.type_url, message.resource.value = type_url, resource.body
        return response
