"""What Copilot was told, kept in the store: routes, mappings, associations, VIPs, policies."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

from meshnet.copilot.checks import check_association, check_mapping, check_route
from meshnet.copilot.mesh import Mesh, Pair
from meshnet.copilot.vips import Changes, VipPool
from meshnet.model.errors import InputError, NotFound
from meshnet.model.routes import Route
from meshnet.store import Store, Transaction

_ROUTE, _MAPPING, _ASSOCIATION, _VIP = "route", "mapping", "association", "vip"
_POLICIES, _POLICIES_KNOWN, _ALL = "policies", "policies_known", "all"


class State:
    """The mesh, durable. Each method commits before it returns, and costs what it changes."""

    def __init__(self, store: Store, vip_range: str) -> None:
        self._store, self.mesh = store, Mesh()
        for guid, value in store.list(_ROUTE).items():
            self.mesh.set_route(guid, Route(**value))
        for value in store.list(_MAPPING).values():
            self.mesh.set_mapping((value["route"], value["process"]), int(value["weight"]))
        for process, guids in store.list(_ASSOCIATION).items():
            self.mesh.set_association(process, guids)
        vips = store.list(_VIP)
        for host, vip in vips.items():
            self.mesh.set_vip(host, vip)
        self._pool = VipPool(vip_range, vips)
        if store.get(_POLICIES_KNOWN, _ALL):
            self.mesh.set_policies({a: frozenset(c) for a, c in store.list(_POLICIES).items()})

    @property
    def routes(self) -> Mapping[str, Route]:
        """By guid."""
        return self.mesh.routes

    @property
    def mappings(self) -> Mapping[Pair, int]:
        """(route guid, process guid) to weight."""
        return self.mesh.mappings

    @property
    def associations(self) -> Mapping[str, Iterable[str]]:
        """Process guid to Diego process guids."""
        return self.mesh.associations

    def upsert_route(self, route: Route, vip: str = "") -> None:
        """Add or replace a route; an internal host gets `vip`, or the lowest free one.

        Raises:
            InputError: guid, host, path or vip is not usable.
            Conflict: the VIP range is full.
        """
        check_route(route)
        asked = {route.host.lower(): vip} if vip and route.internal else {}
        vips = self._plan({route.guid: route}, asked)
        with self._store.transaction() as tx:
            tx.put(_ROUTE, route.guid, asdict(route))
            _write(tx, _VIP, vips)
        self._set_routes({route.guid: route}, vips)

    def delete_route(self, guid: str) -> None:
        """Forget a route; its mappings stay, as in Copilot, until they are unmapped or synced
        away. Unknown guids are no error. Raises InputError.
        """
        if not guid:
            raise InputError("route Guid is required")
        vips = self._plan({guid: None}, {})
        with self._store.transaction() as tx:
            tx.delete(_ROUTE, guid)
            _write(tx, _VIP, vips)
        self._set_routes({guid: None}, vips)

    def map_route(self, route: str, process: str, weight: int) -> None:
        """Map, or change the weight of a mapping. Raises InputError."""
        check_mapping(route, process, weight)
        self._store.put(_MAPPING, f"{route}/{process}", _mapping((route, process), weight))
        self.mesh.set_mapping((route, process), weight)

    def unmap_route(self, route: str, process: str, weight: int) -> None:
        """Unmap; a mapping that is not there is no error. Raises InputError."""
        check_mapping(route, process, weight)
        self._store.delete(_MAPPING, f"{route}/{process}")
        self.mesh.set_mapping((route, process), None)

    def associate(self, process: str, diego_guids: Iterable[str]) -> None:
        """Say which Diego processes run a process. Raises InputError."""
        guids = list(diego_guids)
        check_association(process, guids)
        self._store.put(_ASSOCIATION, process, guids)
        self.mesh.set_association(process, guids)

    def dissociate(self, process: str) -> None:
        """Forget a process; unknown ones are no error. Raises InputError."""
        if not process:
            raise InputError("CapiProcessGuid is required")
        self._store.delete(_ASSOCIATION, process)
        self.mesh.set_association(process, None)

    def replace(
        self,
        routes: Mapping[str, Route],
        mappings: Mapping[Pair, int],
        associations: Mapping[str, list[str]],
        asked: Mapping[str, str] | None = None,
    ) -> None:
        """Replace everything at once, or nothing where any of it is invalid. Raises InputError.

        Args:
            asked: host to VIP, where the Cloud Controller gave one.
        """
        new_routes = _differing(self.mesh.routes, routes)
        new_mappings = _differing(self.mesh.mappings, mappings)
        new_associations = _differing(self.mesh.associations, associations)
        _check(new_routes, new_mappings, new_associations)
        vips = self._plan(new_routes, {h.lower(): vip for h, vip in (asked or {}).items()})
        with self._store.transaction() as tx:
            _write(tx, _ROUTE, {guid: r and asdict(r) for guid, r in new_routes.items()})
            _write(
                tx,
                _MAPPING,
                {"/".join(p): w and _mapping(p, w) for p, w in new_mappings.items()},
            )
            _write(tx, _ASSOCIATION, new_associations)
            _write(tx, _VIP, vips)
        self._set_routes(new_routes, vips)
        for pair, new_weight in new_mappings.items():
            self.mesh.set_mapping(pair, new_weight)
        for process, new_guids in new_associations.items():
            self.mesh.set_association(process, new_guids)

    def set_policies(self, policies: Mapping[str, Iterable[str]]) -> None:
        """Take all policies (app guid to the apps it may call). They are kept, for without them
        a restart while the policy server is away would hide what apps use.
        """
        gone = (self.mesh.policies or {}).keys() - policies.keys()
        self.change_policies({**dict.fromkeys(gone, ()), **policies})

    def change_policies(self, policies: Mapping[str, Iterable[str]]) -> None:
        """Take what some apps may call from now on; empty: nothing."""
        known = self.mesh.policies or {}
        after = {app: frozenset(callees) for app, callees in policies.items()}
        changes = {app: c for app, c in after.items() if c != known.get(app, frozenset())}
        first = self.mesh.policies is None
        if not changes and not first:
            return
        with self._store.transaction() as tx:
            if first:
                tx.put(_POLICIES_KNOWN, _ALL, True)
            _write(tx, _POLICIES, {app: sorted(c) or None for app, c in changes.items()})
        self.mesh.change_policies(changes)

    def vip_of(self, fqdn: str) -> str:
        """The VIP of a host, "" for an external one; case and trailing dots do not matter.

        Raises:
            NotFound: no route has that host.
        """
        host = fqdn.rstrip(".").lower()
        if (vip := self.mesh.vips.get(host)) is None:
            if self.mesh.has_external(host):
                return ""
            raise NotFound(f"route doesn't exist: {fqdn}")
        return vip

    def _plan(self, routes: Mapping[str, Route | None], asked: Mapping[str, str]) -> Changes:
        """The change of VIPs that a change of routes brings. Raises InputError, Conflict.

        Args:
            asked: lower-case internal host to the VIP that the Cloud Controller gave it.
        """
        before = [self.mesh.routes[guid] for guid in routes if guid in self.mesh.routes]
        after = [route for route in routes.values() if route]
        wanted = {route.host.lower() for route in after if route.internal}
        wanted |= {host for host, vip in asked.items() if self.mesh.vips.get(host) != vip}
        lost = {route.host.lower() for route in before if route.internal} - wanted
        gone = {host for host in lost if not self.mesh.internal_routes(host) - routes.keys()}
        return self._pool.plan({host: asked.get(host, "") for host in wanted}, gone)

    def _set_routes(self, routes: Mapping[str, Route | None], vips: Changes) -> None:
        self._pool.apply(vips)
        for guid, route in routes.items():
            self.mesh.set_route(guid, route)
        for host, vip in vips.items():
            self.mesh.set_vip(host, vip)


def _check(
    routes: Mapping[str, Route | None],
    mappings: Mapping[Pair, int | None],
    associations: Mapping[str, list[str] | None],
) -> None:
    """Raise InputError where anything that is not to be removed is invalid."""
    for route in filter(None, routes.values()):
        check_route(route)
    for (route_guid, process), weight in mappings.items():
        if weight is not None:
            check_mapping(route_guid, process, weight)
    for process, guids in associations.items():
        if guids is not None:
            check_association(process, guids)


def _differing(before: Mapping[Any, Any], after: Mapping[Any, Any]) -> dict[Any, Any]:
    """What turns `before` into `after`; None for what is gone."""
    changes: dict[Any, Any] = dict.fromkeys(before.keys() - after.keys())
    changes.update({key: value for key, value in after.items() if before.get(key) != value})
    return changes


def _mapping(pair: Pair, weight: int) -> dict[str, object]:
    return {"route": pair[0], "process": pair[1], "weight": weight}


def _write(tx: Transaction, kind: str, changes: Mapping[str, Any]) -> None:
    for key, value in changes.items():
        if value is None:
            tx.delete(kind, key)
        else:
            tx.put(kind, key, value)
