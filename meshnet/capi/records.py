"""The Cloud Controller's records in the store: routes, and all tables."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from meshnet.capi import audit, rolling
from meshnet.capi.app_records import (
    WEB,
    App,
    Build,
    Deployments,
    Droplet,
    Package,
    old_process,
)
from meshnet.capi.domains import Domains
from meshnet.capi.jobs import Jobs
from meshnet.capi.route_records import Route, Routes
from meshnet.capi.tables import Changes, Record, Table
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
class Departed(Record):
    """An app that was deleted and whose policies the policy server may still have."""


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
        self.events = audit.Events(store)
        self.apps.watch = partial(self._watched, audit.of_app)
        self.routes.watch = partial(self._watched, audit.of_route)
        self.deployments.watch = partial(self._watched, audit.of_deployment)
        self.packages.watch = partial(self._watched, audit.of_package)
        self.builds.watch = partial(self._watched, audit.of_build)

    def _watched(self, told: Any, before: Any, after: Any, changes: Changes) -> None:
        for kind, guid, data in told(before, after):
            written = changes.written.get(guid)
            app = written if isinstance(written, App) else self.apps.find(guid)
            if app:  # one that is gone has said so itself
                self.say(kind, app, data, changes=changes)

    def crashed(self, app_guid: str, data: dict[str, Any]) -> None:
        """Record that an instance of an app crashed."""
        if app := self.apps.find(app_guid):
            actor = {"guid": app.guid, "type": "process", "name": WEB}
            self.say("audit.app.process.crash", app, data, actor=actor)

    def say(self, kind: str, app: App, data: dict[str, Any] | None = None, **more: Any) -> None:
        """Record an audit event of an app; the rest as of `Events.say`."""
        space = self.spaces.find(app.space)
        self.events.say(kind, app, space.organization if space else "", data, **more)

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

    def processes(self, app: App) -> list[App]:
        """An app's web processes: its own, and those of versions that a deployment takes away."""
        deployment = self.deployments.active(app.guid)
        since = deployment.created_at if deployment else ""
        return [app, *(old_process(version, since) for version in self.versions(app)[1:])]

    def old_process(self, guid: str) -> App | None:
        """The process of a version that leaves, by its guid."""
        apps = (self.apps.find(d.app) for d in self.deployments.all_active())
        found = (p for app in apps if app for p in self.processes(app)[1:])
        return next((p for p in found if p.guid == guid), None)

    def routes_of(self, app_guid: str) -> list[Route]:
        """The routes that lead to an app."""
        return self.routes.of_app(app_guid)

    @property
    def default_quota(self) -> Quota:
        """What holds for a new organization."""
        return next(q for q in self.organization_quotas if q.name == DEFAULT_QUOTA)

    def seed(self, organization: str, space: str) -> None:
        """Make the default quota, the first organization and its space where there is none."""
        with self.changes() as changes:
            if not any(q.name == DEFAULT_QUOTA for q in self.organization_quotas):
                self.organization_quotas.put(Quota(name=DEFAULT_QUOTA), changes)
        quota = self.default_quota.guid
        with self.changes() as changes:
            for old in (o for o in self.organizations if not o.quota):
                self.organizations.put(replace(old, quota=quota), changes)
            if not self.organizations.all():
                org = Organization(name=organization, quota=quota)
                self.organizations.put(org, changes)
                self.spaces.put(Space(name=space, organization=org.guid), changes)
