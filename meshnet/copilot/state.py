"""What Copilot was told, kept in the store: routes, mappings, associations, VIPs."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict

from meshnet.copilot import vips
from meshnet.model.errors import InputError, NotFound
from meshnet.model.routes import Route
from meshnet.store import Store, Transaction

_ROUTE, _MAPPING, _ASSOCIATION, _VIP = "route", "mapping", "association", "vip"
MIN_WEIGHT, MAX_WEIGHT = 1, 128
# Never stricter than the Cloud Controller: one refused route would fail every BulkSync.
_HOST = re.compile(r"(\*\.)?[\w-]{1,63}(\.[\w-]{1,63})*", re.ASCII)
_MAX_HOST = 253
_PATH = re.compile(r"/[!-~]*", re.ASCII)


class State:
    """Durable input of the snapshot. Each method commits before it returns."""

    def __init__(self, store: Store, vip_range: str) -> None:
        self._store, self._vip_range = store, vip_range
        self.routes = {guid: Route(**v) for guid, v in store.list(_ROUTE).items()}
        self.mappings = {
            (v["route"], v["process"]): int(v["weight"]) for v in store.list(_MAPPING).values()
        }
        self.associations: dict[str, list[str]] = dict(store.list(_ASSOCIATION))
        self.vips: dict[str, str] = dict(store.list(_VIP))

    def upsert_route(self, route: Route, vip: str = "") -> None:
        """Add or replace a route; an internal host gets `vip`, or the lowest free one.

        Raises:
            InputError: guid, host, path or vip is not usable.
            Conflict: the VIP range is full.
        """
        check_route(route)
        routes = {**self.routes, route.guid: route}
        asked = {route.host.lower(): vip} if route.internal else {}
        allocated = self._allocate(routes.values(), asked)
        with self._store.transaction() as tx:
            tx.put(_ROUTE, route.guid, asdict(route))
            self._put_vips(tx, allocated)
        self.routes, self.vips = routes, allocated

    def delete_route(self, guid: str) -> None:
        """Forget a route and its mappings; unknown guids are no error."""
        if not guid:
            raise InputError("route is invalid:\n guid is empty")
        routes = {key: route for key, route in self.routes.items() if key != guid}
        allocated = self._allocate(routes.values())
        gone = [pair for pair in self.mappings if pair[0] == guid]
        with self._store.transaction() as tx:
            tx.delete(_ROUTE, guid)
            for pair in gone:
                tx.delete(_MAPPING, "/".join(pair))
            self._put_vips(tx, allocated)
        self.routes, self.vips = routes, allocated
        for pair in gone:
            del self.mappings[pair]

    def map_route(self, route: str, process: str, weight: int) -> None:
        """Map, or change the weight of a mapping. Raises InputError."""
        check_mapping(route, process, weight)
        self._store.put(_MAPPING, f"{route}/{process}", _mapping(route, process, weight))
        self.mappings[route, process] = weight

    def unmap_route(self, route: str, process: str) -> None:
        """Unmap; a mapping that is not there is no error. Raises InputError."""
        check_mapping(route, process, MIN_WEIGHT)
        self._store.delete(_MAPPING, f"{route}/{process}")
        self.mappings.pop((route, process), None)

    def associate(self, process: str, diego_guids: Iterable[str]) -> None:
        """Say which Diego processes run a process. Raises InputError."""
        guids = list(diego_guids)
        if not process or not guids:
            what = "guid is empty" if not process else "no diego process guids"
            raise InputError(f"Capi/Diego Process Association is invalid:\n {what}")
        self._store.put(_ASSOCIATION, process, guids)
        self.associations[process] = guids

    def dissociate(self, process: str) -> None:
        """Forget a process; unknown ones are no error. Raises InputError."""
        if not process:
            raise InputError("capi process guid is empty")
        self._store.delete(_ASSOCIATION, process)
        self.associations.pop(process, None)

    def replace(
        self,
        routes: Mapping[str, Route],
        mappings: Mapping[tuple[str, str], int],
        associations: Mapping[str, list[str]],
        asked: Mapping[str, str] | None = None,
    ) -> None:
        """Replace everything at once, or nothing where any of it is invalid. Raises InputError.

        Args:
            asked: host to VIP, where the Cloud Controller gave one.
        """
        for route in routes.values():
            check_route(route)
        for (route_guid, process), weight in mappings.items():
            check_mapping(route_guid, process, weight)
        allocated = self._allocate(routes.values(), asked)
        with self._store.transaction() as tx:
            _sync(tx, _ROUTE, {guid: asdict(route) for guid, route in routes.items()})
            _sync(
                tx,
                _MAPPING,
                {f"{r}/{p}": _mapping(r, p, weight) for (r, p), weight in mappings.items()},
            )
            _sync(tx, _ASSOCIATION, associations)
            self._put_vips(tx, allocated)
        self.routes, self.mappings = dict(routes), dict(mappings)
        self.associations, self.vips = dict(associations), allocated

    def vip_of(self, fqdn: str) -> str:
        """The VIP of an internal host; case and trailing dots do not matter. Raises NotFound."""
        if (vip := self.vips.get(fqdn.rstrip(".").lower())) is None:
            raise NotFound(f"route doesn't exist: {fqdn}")
        return vip

    def _allocate(
        self, routes: Iterable[Route], asked: Mapping[str, str] | None = None
    ) -> dict[str, str]:
        hosts = (route.host.lower() for route in routes if route.internal)
        lower = {host.lower(): vip for host, vip in (asked or {}).items()}
        return vips.allocate(self._vip_range, hosts, self.vips, lower)

    def _put_vips(self, tx: Transaction, allocated: Mapping[str, str]) -> None:
        if allocated != self.vips:
            _sync(tx, _VIP, allocated)


def check_route(route: Route) -> None:
    """Raise InputError where the guid, the host or the path is missing or malformed.

    Strict, for one name that a proxy refuses would keep every other route's change from it.
    """
    if not route.guid or not route.host:
        what = "guid" if not route.guid else "host"
        raise InputError(f"Route {route.guid!r} is invalid:\n {what} is empty")
    if len(route.host) > _MAX_HOST or not _HOST.fullmatch(route.host):
        text = f"host {route.host[:_MAX_HOST]!r} is no DNS name"
        raise InputError(f"Route {route.guid!r} is invalid:\n {text}")
    if route.path and not _PATH.fullmatch(route.path):
        text = f"path {route.path!r} does not begin with / or is not printable ASCII without spaces"
        raise InputError(f"Route {route.guid!r} is invalid:\n {text}")


def check_mapping(route: str, process: str, weight: int) -> None:
    """Raise InputError where a guid is missing or the weight is not in 1..128."""
    if not route or not process:
        what = "route guid" if not route else "capi process guid"
        raise InputError(f"Route Mapping is invalid:\n {what} is empty")
    if not MIN_WEIGHT <= weight <= MAX_WEIGHT:
        raise InputError(
            f"Route Mapping is invalid:\n weight {weight} is not between "
            f"{MIN_WEIGHT} and {MAX_WEIGHT}"
        )


def _mapping(route: str, process: str, weight: int) -> dict[str, object]:
    return {"route": route, "process": process, "weight": weight}


def _sync(tx: Transaction, kind: str, wanted: Mapping[str, object]) -> None:
    present = tx.list(kind)
    for key in present.keys() - wanted.keys():
        tx.delete(kind, key)
    for key, value in wanted.items():
        if present.get(key) != value:
            tx.put(kind, key, value)
