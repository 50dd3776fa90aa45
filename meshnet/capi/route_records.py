"""Records of routes and of where they lead."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from meshnet.capi.app_records import WEB
from meshnet.capi.domains import Domains
from meshnet.capi.tables import Record, Table, new_guid
from meshnet.store import Store

log = logging.getLogger("meshnet")


@dataclass(frozen=True)
class Destination:
    """One process that a route leads to; weight None = all alike.

    Attributes:
        process: type of the app's process. Of any but `web` there is none; a route that leads to
            it answers 503, as one whose apps do not run.
    """

    app: str
    guid: str = field(default_factory=new_guid)
    weight: int | None = None
    process: str = WEB

    @property
    def process_guid(self) -> str:
        """The Cloud Controller's process guid; that of an app's web process is the app's."""
        return self.app if self.process == WEB else f"{self.app}-{self.process}"

    def same(self, other: Destination) -> bool:
        """Whether both lead to the same process."""
        return (self.app, self.process) == (other.app, other.process)


@dataclass(frozen=True)
class Route(Record):
    """A route; `domain` and `space` are guids. The host is kept as it was given."""

    host: str = ""
    path: str = ""
    domain: str = ""
    space: str = ""
    destinations: tuple[Destination, ...] = ()

    @property
    def weighted(self) -> bool:
        """Whether its destinations have weights: all of them or none."""
        return any(d.weight is not None for d in self.destinations)


Key = tuple[str, str, str]


def route_key(route: Route) -> Key:
    """What no two routes have in common; hosts are alike whatever their case."""
    return route.domain, route.host.lower(), route.path


class Routes(Table[Route]):
    """Routes, found by what makes them unique and by the apps they lead to.

    Routes of a domain that the lab file names no longer stay in the store and are not seen.
    """

    def __init__(self, store: Store, domains: Domains) -> None:
        super().__init__(store, Route, "Route")
        # domain -> host -> path -> guid
        self._by_key: dict[str, dict[str, dict[str, str]]] = {}
        self._by_app: dict[str, set[str]] = {}
        loaded, self._rows = self._rows, {}
        for route in loaded.values():
            if domains.find(route.domain):
                self._set(route)
            else:
                log.warning("route %s: the lab has its domain no longer; ignored", route.host)

    def at(self, domain: str, host: str) -> list[Route]:
        """The routes of a domain (guid) with a host, whatever their paths."""
        paths = self._by_key.get(domain, {}).get(host.lower(), {})
        return [self._rows[guid] for guid in paths.values()]

    def of_domain(self, domain: str) -> list[Route]:
        """The routes of a domain (guid)."""
        hosts = self._by_key.get(domain, {})
        return [self._rows[guid] for paths in hosts.values() for guid in paths.values()]

    def of_app(self, app_guid: str) -> list[Route]:
        """The routes that lead to an app, oldest first."""
        found = (self._rows[guid] for guid in self._by_app.get(app_guid, ()))
        return sorted(found, key=lambda r: (r.created_at, r.guid))

    def _set(self, record: Route) -> None:
        self._drop(record.guid)
        super()._set(record)
        domain, host, path = route_key(record)
        self._by_key.setdefault(domain, {}).setdefault(host, {})[path] = record.guid
        for destination in record.destinations:
            self._by_app.setdefault(destination.app, set()).add(record.guid)

    def _drop(self, guid: str) -> None:
        if (old := self._rows.get(guid)) is None:
            return
        super()._drop(guid)
        domain, host, path = route_key(old)
        paths = self._by_key[domain][host]
        paths.pop(path, None)
        if not paths:
            del self._by_key[domain][host]
        for destination in old.destinations:
            guids = self._by_app.get(destination.app, set())
            guids.discard(guid)
            if not guids:
                self._by_app.pop(destination.app, None)

    def _load(self, value: Mapping[str, Any]) -> Route:
        destinations = tuple(Destination(**d) for d in value["destinations"])
        return Route(**{**value, "destinations": destinations})
