"""All that Istio's resources depend on, with the indexes that say what a change touches.

Pure memory. Each setter costs what it changes, and notes the sites and sidecars to make anew.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import NamedTuple, TypeVar

from meshnet.model.routes import Backend, Route

K = TypeVar("K")
Pair = tuple[str, str]  # route guid, process guid


class Site(NamedTuple):
    """What one VirtualService, DestinationRule and ServiceEntry are about."""

    host: str  # lower case
    internal: bool


class Touched(NamedTuple):
    """What is to be made anew: sites, and apps whose Sidecar it is."""

    sites: set[Site]
    sidecars: set[str]


def site_of(route: Route) -> Site:
    """The site that a route belongs to."""
    return Site(route.host.lower(), route.internal)


class Mesh:
    """Inputs by key; read them as you like, change them by the setters only.

    Attributes:
        routes: by guid.
        mappings: (route guid, process guid) to weight.
        associations: process guid to Diego process guids.
        backends: Diego process guid to its running instances.
        vips: lower-case host of an internal route to its VIP.
        policies: app guid to the apps it may call; None until the policy server was heard.
    """

    def __init__(self) -> None:
        self.routes: dict[str, Route] = {}
        self.mappings: dict[Pair, int] = {}
        self.associations: dict[str, Sequence[str]] = {}
        self.backends: dict[str, Sequence[Backend]] = {}
        self.vips: dict[str, str] = {}
        self.policies: dict[str, frozenset[str]] | None = None
        self._routes_of_site: defaultdict[Site, set[str]] = defaultdict(set)
        self._processes_of_route: defaultdict[str, set[str]] = defaultdict(set)
        self._routes_of_process: defaultdict[str, set[str]] = defaultdict(set)
        self._processes_of_diego: defaultdict[str, set[str]] = defaultdict(set)
        self._sources_of_app: defaultdict[str, set[str]] = defaultdict(set)
        self._touched = Touched(set(), set())

    # --- what is asked of it ---

    def take_touched(self) -> Touched:
        """What was touched since the last call."""
        touched, self._touched = self._touched, Touched(set(), set())
        return touched

    def sites(self) -> list[Site]:
        """Every site that a route is about."""
        return sorted(self._routes_of_site)

    def routes_at(self, site: Site) -> list[Route]:
        """A site's routes by guid."""
        return [self.routes[guid] for guid in sorted(self._routes_of_site.get(site, ()))]

    def internal_routes(self, host: str) -> set[str]:
        """The guids of the internal routes of a lower-case host."""
        return self._routes_of_site.get(Site(host, True), set())

    def has_external(self, host: str) -> bool:
        """Whether a lower-case host has an external route."""
        return Site(host, False) in self._routes_of_site

    def processes_of(self, route_guid: str) -> list[str]:
        """The processes that a route is mapped to."""
        return sorted(self._processes_of_route.get(route_guid, ()))

    def internal_hosts_of(self, process: str) -> set[str]:
        """The hosts of the internal routes that are mapped to a process."""
        guids = self._routes_of_process.get(process, ())
        routes = (self.routes.get(guid) for guid in guids)
        return {route.host.lower() for route in routes if route and route.internal}

    # --- setters; None removes ---

    def set_route(self, guid: str, route: Route | None) -> None:
        """Add, replace or remove a route; its mappings are left as they are."""
        before = self.routes.pop(guid, None)
        if before:
            _discard(self._routes_of_site, site_of(before), guid)
        if route:
            self.routes[guid] = route
            self._routes_of_site[site_of(route)].add(guid)
        for one in (before, route):
            self._touch_route(guid, one)

    def set_mapping(self, pair: Pair, weight: int | None) -> None:
        """Map, change a weight, or unmap."""
        guid, process = pair
        if weight is None:
            self.mappings.pop(pair, None)
            _discard(self._processes_of_route, guid, process)
            _discard(self._routes_of_process, process, guid)
        else:
            self.mappings[pair] = weight
            self._processes_of_route[guid].add(process)
            self._routes_of_process[process].add(guid)
        if route := self.routes.get(guid):
            self._touched.sites.add(site_of(route))
            self._touch_callers(route, process)

    def set_association(self, process: str, diego_guids: Sequence[str] | None) -> None:
        """Say which Diego processes run a process."""
        for diego_guid in self.associations.pop(process, ()):
            _discard(self._processes_of_diego, diego_guid, process)
        if diego_guids:
            self.associations[process] = diego_guids
            for diego_guid in diego_guids:
                self._processes_of_diego[diego_guid].add(process)
        self._touch_process(process)

    def set_backends(self, diego_guid: str, backends: Sequence[Backend]) -> None:
        """Say which instances of a Diego process run."""
        if backends:
            self.backends[diego_guid] = backends
        else:
            self.backends.pop(diego_guid, None)
        for process in self._processes_of_diego.get(diego_guid, ()):
            self._touch_process(process)

    def set_vip(self, host: str, vip: str | None) -> None:
        """Give a host a VIP, or take it away."""
        if vip is None:
            self.vips.pop(host, None)
        else:
            self.vips[host] = vip
        self._touched.sites.add(Site(host, True))

    def set_policies(self, after: Mapping[str, frozenset[str]]) -> None:
        """Take all policies: app guid to the apps, at least one, that it may call."""
        gone = (self.policies or {}).keys() - after.keys()
        self.change_policies({**dict.fromkeys(gone, frozenset[str]()), **after})

    def change_policies(self, after: Mapping[str, frozenset[str]]) -> None:
        """Say what some apps may call from now on; empty: nothing."""
        if self.policies is None:
            self.policies = {}
            self._touched.sidecars.add("")
        for app, new in after.items():
            old = self.policies.pop(app, frozenset[str]())
            if new:
                self.policies[app] = new
            for callee in old - new:
                _discard(self._sources_of_app, callee, app)
            for callee in new - old:
                self._sources_of_app[callee].add(app)
            if old != new:
                self._touched.sidecars.add(app)

    # --- what a change touches ---

    def _touch_route(self, guid: str, route: Route | None) -> None:
        if route:
            self._touched.sites.add(site_of(route))
            for process in self._processes_of_route.get(guid, ()):
                self._touch_callers(route, process)

    def _touch_process(self, process: str) -> None:
        for guid in self._routes_of_process.get(process, ()):
            if route := self.routes.get(guid):
                self._touched.sites.add(site_of(route))

    def _touch_callers(self, route: Route, process: str) -> None:
        if route.internal:
            self._touched.sidecars.update(self._sources_of_app.get(process, ()))


def _discard(sets: defaultdict[K, set[str]], key: K, value: str) -> None:
    if found := sets.get(key):
        found.discard(value)
        if not found:
            del sets[key]
