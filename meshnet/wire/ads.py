"""The arrow from Pilot to a proxy: xDS v3 over ADS, without I/O. What is due when; the delta form.

Source: envoyproxy.io/docs, «xDS REST and gRPC protocol», eventual consistency, incremental xDS.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from envoy.service.discovery.v3 import discovery_pb2

from meshnet.proxy.xds import (
    CLUSTERS,
    ENDPOINTS,
    LISTENERS,
    ORDER,
    ROUTES,
    SERVICES,
    Resource,
    View,
)

WILDCARD = "*"


@dataclass
class Subscription:
    """What one resource type's subscription looks like, and what the proxy has."""

    wildcard: bool = False
    answered: bool = False
    names: set[str] = field(default_factory=set)
    known: dict[str, str] = field(default_factory=dict)  # name -> version, as last sent
    missing: set[str] = field(default_factory=set)  # subscribed, told that there is none
    pending: str = ""  # nonce of the unanswered response
    pending_names: tuple[str, ...] = ()
    rejected: set[str] = field(default_factory=set)


@dataclass
class Stream:
    """Pilot's half of one proxy's stream, whichever its form.

    Attributes:
        pushes: responses sent.
        nacks: responses the proxy refused.
        last_error: what it said last, with the resources' names.
    """

    pushes: int = 0
    nacks: int = 0
    last_error: str = ""
    _types: dict[str, Subscription] = field(default_factory=dict)
    _nonce: int = 0
    _clusters_sent: set[str] = field(default_factory=set)

    def receive(self, request: Any) -> None:
        """Take a request: what is subscribed to, and the ACK or NACK of a response."""
        raise NotImplementedError

    def _message(
        self, type_url: str, nonce: str, changed: list[tuple[str, Resource]], removed: list[str]
    ) -> Any:
        raise NotImplementedError

    def _answered(self, request: Any, state: Subscription) -> None:
        state.pending = ""
        if request.HasField("error_detail"):
            self.nacks += 1
            state.rejected.update(state.pending_names)
            names = ", ".join(state.pending_names[:5])
            self.last_error = f"{names}: {request.error_detail.message}"
        else:
            state.rejected.difference_update(state.pending_names)

    def send(self, view: View) -> list[Any]:
        """The responses due now.

        Make before break: routes and listeners wait until the proxy has every cluster with its
        endpoints; clusters, and the last endpoints of one, are taken away only when no route is
        outstanding.
        """
        due: list[Any] = []
        while self._round(view, due):
            pass
        return due

    def _round(self, view: View, due: list[Any]) -> bool:
        """Add what is due to `due`; whether something went without a word, so that more may be."""
        silent = False
        for type_url in ORDER:
            state = self._types.get(type_url)
            if state is None or state.pending:
                continue
            if type_url in (LISTENERS, ROUTES) and not self._clusters_ready(view):
                continue
            changed, removed = _difference(state, view[type_url])
            if type_url in (CLUSTERS, ENDPOINTS) and not self._routes_settled(view):
                removed = [name for name in removed if name not in state.known]
                changed = [(n, r) for n, r in changed if not (r.vacant and n in state.known)]
            # A proxy waits for the first answer to a wildcard, if only to hear of nothing.
            if changed or removed or (state.wildcard and not state.answered):
                response = self._push(type_url, state, changed, removed)
                if response is None:
                    silent = True
                else:
                    due.append(response)
        return silent

    def in_step(self, view: View) -> bool:
        """Whether the proxy has acknowledged all of `view` that it subscribes to."""
        wanted = {CLUSTERS, LISTENERS}
        return wanted <= set(self._types) and all(
            _in_step(state, view[type_url]) for type_url, state in self._types.items()
        )

    def steps(self, view: View) -> dict[str, str]:
        """Discovery service ("CDS", ...) to "in step", "stale", or "not asked"."""
        found = {}
        for type_url, service in SERVICES.items():
            state = self._types.get(type_url)
            found[service] = "not asked" if state is None else "stale"
            if state is not None and _in_step(state, view[type_url]):
                found[service] = "in step"
        return found

    def _clusters_ready(self, view: View) -> bool:
        clusters, endpoints = self._types.get(CLUSTERS), self._types.get(ENDPOINTS)
        if clusters is None or clusters.pending or any(_difference(clusters, view[CLUSTERS])[:1]):
            return False
        needed = view[ENDPOINTS].keys() & clusters.known.keys() - clusters.rejected
        if not needed:
            return True
        return endpoints is not None and not endpoints.pending and needed <= endpoints.known.keys()

    def _routes_settled(self, view: View) -> bool:
        return all(
            state is None or (not state.pending and not any(_difference(state, view[type_url])))
            for type_url in (LISTENERS, ROUTES)
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
        state.answered = True
        for name, resource in changed:
            state.known[name] = resource.version
        for name in removed:
            state.known.pop(name, None)
            if name in state.names:
                state.missing.add(name)
        if type_url == CLUSTERS:
            self._clusters_sent.update(name for name, _ in changed)
            if endpoints := self._types.get(ENDPOINTS):
                self._forget_endpoints(endpoints)
        nonce = str(self._nonce + 1)
        response = self._message(type_url, nonce, changed, removed)
        if response is not None:
            self._nonce += 1
            self.pushes += 1
            state.pending = nonce
            state.pending_names = (*(name for name, _ in changed), *removed)
        return response

    def _first(self, type_url: str, state: Subscription) -> None:
        """A type is subscribed to for the first time on this stream."""
        if type_url == ENDPOINTS:
            self._forget_endpoints(state)

    def _forget_endpoints(self, endpoints: Subscription) -> None:
        """Have the endpoints of clusters just sent sent once more.

        A changed cluster starts without endpoints and does not ask for those its predecessor had:
        untold, it warms until Envoy's 15 s for a first answer are over, and all routes with it.
        """
        for name in self._clusters_sent:
            endpoints.known.pop(name, None)
        self._clusters_sent.clear()


class DeltaStream(Stream):
    """The incremental form: only what changed travels, and what goes is named."""

    def receive(self, request: Any) -> None:
        """Take a request: (un)subscriptions, and the ACK or NACK of a response."""
        state = self._types.get(request.type_url)
        first = state is None
        if state is None:
            if request.type_url not in ORDER:
                return
            state = self._types[request.type_url] = Subscription()
            state.known.update(request.initial_resource_versions)
            self._first(request.type_url, state)
            state.wildcard = not request.resource_names_subscribe
        if request.response_nonce and request.response_nonce == state.pending:
            self._answered(request, state)
        for name in request.resource_names_subscribe:
            if name == WILDCARD:
                state.wildcard = True
                continue
            state.names.add(name)
            state.missing.discard(name)
            if not first:
                state.known.pop(name, None)  # whoever subscribes anew wants it sent anew
        for name in request.resource_names_unsubscribe:
            if name == WILDCARD:
                state.wildcard = False
            state.names.discard(name)
            state.known.pop(name, None)
            state.rejected.discard(name)

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


def _in_step(state: Subscription, resources: Mapping[str, Resource]) -> bool:
    return not state.pending and not state.rejected and not any(_difference(state, resources))


def _difference(
    state: Subscription, resources: Mapping[str, Resource]
) -> tuple[list[tuple[str, Resource]], list[str]]:
    """(resources to send, names to remove)."""
    wanted = (
        resources if state.wildcard else {n: resources[n] for n in state.names & resources.keys()}
    )
    changed = [(n, r) for n, r in wanted.items() if state.known.get(n) != r.version]
    gone = [name for name in state.known if name not in wanted]
    absent = [n for n in state.names if n not in resources and n not in state.missing]
    return changed, [*gone, *(name for name in absent if name not in state.known)]
