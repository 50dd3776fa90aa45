"""Who may use what: organizations, spaces, users, their roles, quotas and feature flags."""

from __future__ import annotations

from dataclasses import dataclass, field

from meshnet.capi.tables import Record, Table
from meshnet.store import Store

DEFAULT_QUOTA = "default"
Limits = dict[str, int | bool | None]


@dataclass(frozen=True)
class Organization(Record):
    """An organization; `quota` is the guid of its organization quota."""

    name: str = ""
    suspended: bool = False
    quota: str = ""


@dataclass(frozen=True)
class Space(Record):
    """A space of an organization (guid); `quota` is a space quota's guid, None = no limits."""

    name: str = ""
    organization: str = ""
    quota: str | None = None


@dataclass(frozen=True)
class Quota(Record):
    """Limits by CC's names; None = no limit. `organization` only where it is a space's quota."""

    name: str = ""
    organization: str = ""
    apps: Limits = field(default_factory=dict)
    services: Limits = field(default_factory=dict)
    routes: Limits = field(default_factory=dict)
    domains: Limits = field(default_factory=dict)


@dataclass(frozen=True)
class User(Record):
    """Somebody the Cloud Controller knows; UAA knows the name. A client's guid is its id."""


@dataclass(frozen=True)
class FeatureFlag(Record):
    """A feature flag that was set; its guid is its name."""

    enabled: bool = False
    error_message: str | None = None


@dataclass(frozen=True)
class Role(Record):
    """A user's role in a space or an organization; `target` is the guid of one or the other."""

    type: str = ""
    user: str = ""
    target: str = ""

    @property
    def in_space(self) -> bool:
        """Whether it is a space's role."""
        return self.type.startswith("space_")


class Roles(Table[Role]):
    """Roles, found by user and by what they are for."""

    def __init__(self, store: Store) -> None:
        self._by_user: dict[str, dict[str, dict[str, Role]]] = {}
        self._by_target: dict[str, set[str]] = {}
        super().__init__(store, Role, "Role")
        for role in self._rows.values():
            self._index(role)

    def of(self, user: str) -> dict[str, dict[str, Role]]:
        """A user's roles: guid of a space or organization -> type -> role."""
        return self._by_user.get(user, {})

    def types(self, user: str, target: str) -> frozenset[str]:
        """The types of roles that a user has in a space or organization."""
        return frozenset(self.of(user).get(target, ()))

    def at(self, target: str) -> list[Role]:
        """All roles in a space or organization."""
        return [self._rows[guid] for guid in self._by_target.get(target, ())]

    def _index(self, role: Role) -> None:
        self._by_user.setdefault(role.user, {}).setdefault(role.target, {})[role.type] = role
        self._by_target.setdefault(role.target, set()).add(role.guid)

    def _set(self, record: Role) -> None:
        self._drop(record.guid)
        super()._set(record)
        self._index(record)

    def _drop(self, guid: str) -> None:
        if (old := self._rows.get(guid)) is None:
            return
        super()._drop(guid)
        types = self._by_user[old.user][old.target]
        types.pop(old.type, None)
        if not types:
            del self._by_user[old.user][old.target]
        if not self._by_user[old.user]:
            del self._by_user[old.user]
        self._by_target[old.target].discard(guid)
        if not self._by_target[old.target]:
            del self._by_target[old.target]
