"""The Cloud Controller's records in the store: routes, and all tables."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from meshnet.capi import rolling
from meshnet.capi.app_records import App, Build, Deployments, Droplet, Package
from meshnet.capi.domains import Domains
from meshnet.capi.jobs import Jobs
from meshnet.capi.tables import Changes, Record, Table, new_guid
from meshnet.capi.tenancy_records import (
    DEFAULT_QUOTA,
    FeatureFlag,
    Organization,
    Quota,
    Roles,
    Space,
    User,
)
from meshnet.capi.uaa.directory import Directory
from meshnet.store import Store

log = logging.getLogger("meshnet")


@dataclass(frozen=True)
class Destination:
    """One app that a route leads to; weight None = all alike."""

    app: str
    guid: str = field(default_factory=new_guid)
    weight: int | None = None


@dataclass(frozen=True)
class Route(Record):
    """A route; `domain` is a domain's guid."""

    host: str = ""
    path: str = ""
    domain: str = ""
    space: str = ""
    destinations: tuple[Destination, ...] = ()


@dataclass(frozen=True)
class Departed(Record):
    """An app that was deleted and whose policies the policy server may still have."""


def route_key(route: Route) -> tuple[str, str, str]:
    """What no two routes have in common; hosts are alike whatever their case."""
    return route.domain, route.host.lower(), route.path


class Routes(Table[Route]):
    """Routes, found by what makes them unique and by the apps they lead to.

    Routes of a domain that the lab file names no longer stay in the store and are not seen.
    """

    def __init__(self, store: Store, domains: Domains) -> None:
        super().__init__(store, Route, "Route")
        self._by_key: dict[tuple[str, str, str], str] = {}
        self._by_app: dict[str, set[str]] = {}
        loaded, self._rows = self._rows, {}
        for route in loaded.values():
            if domains.find(route.domain):
                self._set(route)
            else:
                log.warning("route %s: the lab has its domain no longer; ignored", route.host)

    def same(self, route: Route) -> bool:
        """Whether there is a route of the same domain, host and path."""
        return route_key(route) in self._by_key

    def of_app(self, app_guid: str) -> list[Route]:
        """The routes that lead to an app, oldest first."""
        found = (self._rows[guid] for guid in self._by_app.get(app_guid, ()))
        return sorted(found, key=lambda r: (r.created_at, r.guid))

    def _set(self, record: Route) -> None:
        self._drop(record.guid)
        super()._set(record)
        self._by_key[route_key(record)] = record.guid
        for destination in record.destinations:
            self._by_app.setdefault(destination.app, set()).add(record.guid)

    def _drop(self, guid: str) -> None:
        if (old := self._rows.get(guid)) is None:
            return
        super()._drop(guid)
        self._by_key.pop(route_key(old), None)
        for destination in old.destinations:
            guids = self._by_app.get(destination.app, set())
            guids.discard(guid)
            if not guids:
                self._by_app.pop(destination.app, None)

    def _load(self, value: Mapping[str, Any]) -> Route:
        destinations = tuple(Destination(**d) for d in value["destinations"])
        return Route(**{**value, "destinations": destinations})


class Records:
    """All tables, and the domains."""

    def __init__(self, store: Store, domains: Iterable[Mapping[str, Any]]) -> None:
        self._store = store
        self.domains = Domains(store)
        self.domains.seed(domains)
        self.organizations = Table(store, Organization, "Organization")
        self.spaces = Table(store, Space, "Space")
        self.users = Table(store, User, "User")
        self.roles = Roles(store)
        self.organization_quotas = Table(store, Quota, "Organization quota")
        self.space_quotas = Table(store, Quota, "Space quota")
        self.feature_flags = Table(store, FeatureFlag, "Feature flag")
        self.uaa = Directory(store)
        self.apps = Table(store, App, "App")
        self.packages = Table(store, Package, "Package")
        self.builds = Table(store, Build, "Build")
        self.droplets = Table(store, Droplet, "Droplet")
        self.deployments = Deployments(store)
        self.jobs = Jobs(store)
        self.departed = Table(store, Departed, "Departed")
        self.routes = Routes(store, self.domains)

    @contextmanager
    def changes(self) -> Iterator[Changes]:
        """Writes that happen all together or not at all."""
        with self._store.transaction() as tx:
            changes = Changes(tx)
            yield changes
        for work in changes.then:
            work()

    def fqdn(self, route: Route) -> str:
        """A route's whole host name."""
        domain = self.domains.get(route.domain).name
        return f"{route.host}.{domain}" if route.host else domain

    def versions(self, app: App) -> list[App]:
        """The versions of an app that run where it is started, each with its instances."""
        return rolling.versions(app, self.deployments.active(app.guid))

    def routes_of(self, app_guid: str) -> list[Route]:
        """The routes that lead to an app."""
        return self.routes.of_app(app_guid)

    @property
    def default_quota(self) -> Quota:
        """What holds for an organization that was given no quota."""
        return next(q for q in self.organization_quotas if q.name == DEFAULT_QUOTA)

    def seed(self, organization: str, space: str) -> None:
        """Make the default quota, the first organization and its space where there is none."""
        with self.changes() as changes:
            if not any(q.name == DEFAULT_QUOTA for q in self.organization_quotas):
                self.organization_quotas.put(Quota(name=DEFAULT_QUOTA), changes)
            if not self.organizations.all():
                org = Organization(name=organization)
                self.organizations.put(org, changes)
                self.spaces.put(Space(name=space, organization=org.guid), changes)
