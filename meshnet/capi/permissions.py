"""Who may see and do what: the Cloud Controller's roles and scopes.

Every handler takes `user: User`, which is a `Permissions`: who asks (`guid`, `name`, `admin`) and
what they may do. The dependency has answered 401 (no token, a bad one) and 403 (the token's scopes
allow no read, or no write for anything but GET) already. What is left to a handler:

    app = user.app(guid)           one app; 404 "App not found" where it is not theirs to see
    space = user.space(guid)       one space; 404 "Space not found"
    user.write(app.space)          403 where they see the space and may not change what is in it
    user.operate(app.space)        the same; a space_supporter may: start, stop, scale, map
    user.see_secrets(app.space)    the same, for the bits of droplets; `flags.see_environment`
    rows = (a for a in apps if user.sees(a.space))       lists hold only what one may see

Where a resource of another kind belongs to a space: `user.require_read(space_guid, "Droplet")`
raises 404 "Droplet not found". Writing into a space one may not see: look it up with
`user.visible_space(guid)`, which gives None, and answer 422 as CC does. Organizations have the
same with `sees_org`, `org`, `write_org`; what only an administrator may do begins with
`user.require_admin()`.

What is forbidden to everybody: `flags.require(user, "app_scaling")`, `quotas.check_app(...)`.

Rules: cloud_controller_ng, `lib/cloud_controller/permissions.rb`.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from meshnet.capi.app_records import App
from meshnet.capi.errors import not_authorized, not_found, suspended
from meshnet.capi.records import Records
from meshnet.capi.tenancy_records import Organization, Space

ADMIN = "cloud_controller.admin"
READ_ONLY = "cloud_controller.admin_read_only"
AUDITOR = "cloud_controller.global_auditor"
READ, WRITE = "cloud_controller.read", "cloud_controller.write"

ORGANIZATION_ROLES = (
    *("organization_user", "organization_manager"),
    *("organization_billing_manager", "organization_auditor"),
)
SPACE_ROLES = ("space_developer", "space_manager", "space_auditor", "space_supporter")
_SPACE_READERS = frozenset(SPACE_ROLES)
_EVENT_READERS = _SPACE_READERS - {"space_manager"}
_NOBODY: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Permissions:
    """Somebody with a good token. Methods that raise: ApiError 404, 403."""

    records: Records = field(repr=False)
    guid: str
    name: str
    scopes: frozenset[str]
    client_id: str = ""

    @property
    def admin(self) -> bool:
        """Whether they may do everything."""
        return ADMIN in self.scopes

    @property
    def sees_all(self) -> bool:
        """Whether they may see everything."""
        return bool(self.scopes & {ADMIN, READ_ONLY, AUDITOR})

    def require_scope(self, method: str) -> None:
        """What the token allows at all, by the request's method. Raises ApiError 403."""
        reading = method in ("GET", "HEAD")
        if self.admin or (reading and self.sees_all):
            return
        if (READ if reading else WRITE) not in self.scopes:
            raise not_authorized()

    def require_admin(self) -> None:
        """Only administrators."""
        if not self.admin:
            raise not_authorized()

    # --- spaces and what is in them ---

    def sees(self, space: str) -> bool:
        """Whether they may see a space and what is in it."""
        if self.sees_all:
            return True
        return bool(self._in(space) & _SPACE_READERS) or self._manages_org_of(space)

    def sees_routes(self, space: str) -> bool:
        """Whether they may see a space's routes: an auditor of the organization may, too."""
        return self.sees(space) or "organization_auditor" in self._in(self._org_of(space))

    def sees_events(self, space: str, organization: str) -> bool:
        """Whether they may see what was done in a space: its managers may not, as in CC."""
        here, above = self._in(space), self._in(organization)
        return self.sees_all or bool(here & _EVENT_READERS) or "organization_auditor" in above

    def may_write(self, space: str) -> bool:
        """Whether they may change what is in a space."""
        return self.admin or "space_developer" in self._in(space)

    def may_operate(self, space: str) -> bool:
        """Whether they may start, stop, scale and map what is in a space."""
        return self.may_write(space) or "space_supporter" in self._in(space)

    def sees_secrets(self, space: str) -> bool:
        """Whether they may see the bits of droplets and what services tell an app."""
        return self.may_write(space) or READ_ONLY in self.scopes

    def sees_environment(self, space: str) -> bool:
        """Whether they may see the environment variables of a space's apps."""
        return self.may_operate(space) or READ_ONLY in self.scopes

    def may_manage(self, space: str) -> bool:
        """Whether they may change the space itself and the roles in it."""
        return self.admin or "space_manager" in self._in(space) or self._manages_org_of(space)

    def require_read(self, space: str, what: str) -> None:
        """404 "`what` not found" where they may not see the space it is in."""
        if not self.sees(space):
            raise not_found(what)

    def write(self, space: str) -> None:
        """403 where they may not change what is in a space."""
        self._active(self.may_write(space), self._org_of(space))

    def operate(self, space: str) -> None:
        """403 where they may not start, stop, scale and map what is in a space."""
        self._active(self.may_operate(space), self._org_of(space))

    def see_secrets(self, space: str) -> None:
        """403 where they may not see the bits of droplets."""
        if not self.sees_secrets(space):
            raise not_authorized()

    def manage(self, space: str) -> None:
        """403 where they may not change the space itself and the roles in it."""
        self._active(self.may_manage(space), self._org_of(space))

    def space(self, guid: str) -> Space:
        """One space that they may see."""
        space = self.records.spaces.get(guid)
        self.require_read(guid, "Space")
        return space

    def visible_space(self, guid: str) -> Space | None:
        """One space, None where there is none that they may see."""
        return self.records.spaces.find(guid) if self.sees(guid) else None

    def app(self, guid: str) -> App:
        """One app that they may see."""
        app = self.records.apps.get(guid)
        self.require_read(app.space, "App")
        return app

    # --- organizations ---

    def sees_org(self, guid: str) -> bool:
        """Whether they may see an organization: any role in it will do."""
        return self.sees_all or bool(self._in(guid))

    def may_write_org(self, guid: str) -> bool:
        """Whether they may change an organization."""
        return self.admin or "organization_manager" in self._in(guid)

    def write_org(self, guid: str) -> None:
        """403 where they may not change an organization."""
        self._active(self.may_write_org(guid), guid)

    def org(self, guid: str) -> Organization:
        """One organization that they may see."""
        org = self.records.organizations.get(guid)
        if not self.sees_org(guid):
            raise not_found("Organization")
        return org

    def visible_org(self, guid: str) -> Organization | None:
        """One organization, None where there is none that they may see."""
        return self.records.organizations.find(guid) if self.sees_org(guid) else None

    # --- looking up ---

    def _in(self, target: str) -> frozenset[str]:
        return self.records.roles.types(self.guid, target) if target else _NOBODY

    def _org_of(self, space: str) -> str:
        found = self.records.spaces.find(space)
        return found.organization if found else ""

    def _manages_org_of(self, space: str) -> bool:
        return "organization_manager" in self._in(self._org_of(space))

    def _active(self, allowed: bool, org: str) -> None:
        """What somebody may do stays forbidden while the organization is suspended."""
        if not allowed:
            raise not_authorized()
        found = self.records.organizations.find(org)
        if found and found.suspended and not self.admin:
            raise suspended()
