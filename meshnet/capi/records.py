"""The Cloud Controller's records in the store: organizations, spaces, apps, droplets, routes."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Generic, TypeVar

from meshnet.capi.errors import not_found
from meshnet.store import Store, Transaction

STARTED, STOPPED = "STARTED", "STOPPED"


def new_guid() -> str:
    """A fresh random guid."""
    return str(uuid.uuid4())


def now() -> str:
    """This second as CC writes it: RFC 3339, UTC."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass(frozen=True)
class Record:
    """What every record has."""

    guid: str = field(default_factory=new_guid)
    created_at: str = field(default_factory=now)


@dataclass(frozen=True)
class Organization(Record):
    """An organization."""

    name: str = ""


@dataclass(frozen=True)
class Space(Record):
    """A space of an organization (guid)."""

    name: str = ""
    organization: str = ""


@dataclass(frozen=True)
class App(Record):
    """An app with its one process, `web`, whose guid is the app's.

    Attributes:
        version: changes when running instances must be replaced; part of the Diego process guid.
    """

    name: str = ""
    space: str = ""
    state: str = STOPPED
    env: dict[str, str] = field(default_factory=dict)
    droplet: str | None = None
    version: str = field(default_factory=new_guid)
    command: str | None = None
    instances: int = 1
    memory_in_mb: int = 256
    disk_in_mb: int = 1024

    @property
    def process_guid(self) -> str:
        """The Diego process guid."""
        return f"{self.guid}-{self.version}"

    def renewed(self) -> App:
        """The same app, whose instances are to be replaced."""
        return replace(self, version=new_guid())


@dataclass(frozen=True)
class Droplet(Record):
    """A droplet of an app; `sha256` is None until its bits are uploaded."""

    app: str = ""
    sha256: str | None = None


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


R = TypeVar("R", bound=Record)


class Table(Generic[R]):
    """Typed access to the records of one kind."""

    def __init__(self, store: Store, kind: type[R], what: str) -> None:
        self._store, self._kind, self._what = store, kind, what

    def get(self, guid: str) -> R:
        """One record. Raises ApiError 404."""
        if (value := self._store.get(self._what, guid)) is None:
            raise not_found(self._what)
        return self._load(value)

    def find(self, guid: str) -> R | None:
        """One record, or None."""
        value = self._store.get(self._what, guid)
        return None if value is None else self._load(value)

    def all(self) -> list[R]:
        """Every record, oldest first."""
        records = [self._load(v) for v in self._store.list(self._what).values()]
        return sorted(records, key=lambda r: (r.created_at, r.guid))

    def put(self, record: R, tx: Transaction | None = None) -> R:
        """Write a record; returns it."""
        (tx or self._store).put(self._what, record.guid, asdict(record))
        return record

    def delete(self, guid: str, tx: Transaction | None = None) -> None:
        """Remove a record."""
        (tx or self._store).delete(self._what, guid)

    def _load(self, value: Mapping[str, Any]) -> R:
        if self._kind is Route:
            destinations = tuple(Destination(**d) for d in value["destinations"])
            return self._kind(**{**value, "destinations": destinations})
        return self._kind(**value)


@dataclass(frozen=True)
class Domain:
    """A shared domain, from the lab file; `istio` ones are served by the mesh."""

    name: str
    internal: bool
    istio: bool

    @property
    def guid(self) -> str:
        """Derived from the name, so that it is the same after every restart."""
        return str(uuid.uuid5(uuid.NAMESPACE_DNS, self.name))


class Records:
    """All tables, and the domains."""

    def __init__(self, store: Store, domains: Iterable[Mapping[str, Any]]) -> None:
        self.store = store
        self.organizations = Table(store, Organization, "Organization")
        self.spaces = Table(store, Space, "Space")
        self.apps = Table(store, App, "App")
        self.droplets = Table(store, Droplet, "Droplet")
        self.routes = Table(store, Route, "Route")
        self.domains = {d.guid: d for d in (Domain(**value) for value in domains)}

    def domain(self, guid: str) -> Domain:
        """One domain. Raises ApiError 404."""
        if guid not in self.domains:
            raise not_found("Domain")
        return self.domains[guid]

    def fqdn(self, route: Route) -> str:
        """A route's whole host name."""
        domain = self.domain(route.domain).name
        return f"{route.host}.{domain}" if route.host else domain

    def routes_of(self, app_guid: str) -> list[Route]:
        """The routes that lead to an app."""
        return [r for r in self.routes.all() if any(d.app == app_guid for d in r.destinations)]

    def seed(self, organization: str, space: str) -> None:
        """Make the first organization and space where there is none."""
        if not self.organizations.all():
            org = self.organizations.put(Organization(name=organization))
            self.spaces.put(Space(name=space, organization=org.guid))
