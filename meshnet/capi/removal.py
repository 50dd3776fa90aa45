"""Deletions, with everything that goes along: an app's droplets, a space's apps, a user's roles.

What goes is found first (`of_app`, `of_space`, ...), then leaves the store in one transaction, and
then the peers are told. A crash between the two is healed as any other: BBS and Copilot are told
the whole state at the next start, and the policy server of apps that left (`Departed`).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from meshnet.capi.app_records import App, Build, Deployment, Droplet, Package
from meshnet.capi.domains import Domain
from meshnet.capi.jobs import Job
from meshnet.capi.records import Departed, Records
from meshnet.capi.route_records import Route
from meshnet.capi.service import Service
from meshnet.capi.tables import Changes
from meshnet.capi.tenancy_records import Organization, Quota, Role, Space, User


@dataclass
class Removal:
    """What goes. Routes in `routes` go; others only lose what leads to an app that goes."""

    apps: list[App] = field(default_factory=list)
    routes: list[Route] = field(default_factory=list)
    spaces: list[Space] = field(default_factory=list)
    organizations: list[Organization] = field(default_factory=list)
    roles: list[Role] = field(default_factory=list)
    users: list[User] = field(default_factory=list)
    space_quotas: list[Quota] = field(default_factory=list)
    domains: list[Domain] = field(default_factory=list)


def of_app(records: Records, app: App) -> Removal:
    """An app; its routes stay."""
    return Removal(apps=[app])


def of_space(records: Records, space: Space) -> Removal:
    """A space with its apps, routes and roles."""
    return _of_spaces(records, [space])


def of_organization(records: Records, organization: Organization) -> Removal:
    """An organization with its spaces and all that is in them, its roles, quotas and domains."""
    guid = organization.guid
    found = _of_spaces(records, [s for s in records.spaces if s.organization == guid])
    found.organizations = [organization]
    found.roles += records.roles.at(guid)
    found.space_quotas = [q for q in records.space_quotas if q.organization == guid]
    found.domains = [d for d in records.domains if d.organization == guid]
    # Other organizations that a domain was shared with may have routes in it.
    known = {route.guid for route in found.routes}
    found.routes += [r for r in _in_domains(records, found.domains) if r.guid not in known]
    return found


def of_domain(records: Records, domain: Domain) -> Removal:
    """A domain with its routes."""
    return Removal(domains=[domain], routes=_in_domains(records, [domain]))


def _in_domains(records: Records, domains: list[Domain]) -> list[Route]:
    return [route for domain in domains for route in records.routes.of_domain(domain.guid)]


def of_user(records: Records, user: User) -> Removal:
    """A user with all roles."""
    roles = [role for types in records.roles.of(user.guid).values() for role in types.values()]
    return Removal(users=[user], roles=roles)


def _of_spaces(records: Records, spaces: list[Space]) -> Removal:
    guids = {space.guid for space in spaces}
    return Removal(
        apps=[app for app in records.apps if app.space in guids],
        routes=[route for route in records.routes if route.space in guids],
        spaces=spaces,
        roles=[role for guid in guids for role in records.roles.at(guid)],
    )


async def carry_out(service: Service, removal: Removal, operation: str) -> Job:
    """Remove it all, and record the job: `operation` as CC names it, "space.delete"."""
    records = service.records
    apps = {app.guid for app in removal.apps}
    routes = {route.guid: route for route in removal.routes}
    unmapped = {
        route.guid: route
        for guid in apps
        for route in records.routes_of(guid)
        if route.guid not in routes
    }
    after = {guid: _without(route, apps) for guid, route in unmapped.items()}
    running = {app.guid: records.versions(app) for app in removal.apps}
    packages, builds, droplets, deployments = _made_for(records, apps)
    with records.changes() as changes:
        job = records.jobs.done(operation, changes)
        for route in after.values():
            records.routes.put(route, changes)
        for guid in routes:
            records.routes.delete(guid, changes)
        for guid in sorted(apps):
            records.departed.put(Departed(guid=guid), changes)
            records.apps.delete(guid, changes)
        for package in packages:
            records.packages.delete(package.guid, changes)
        for build in builds:
            records.builds.delete(build.guid, changes)
        for droplet in droplets:
            records.droplets.delete(droplet.guid, changes)
        for deployment in deployments:
            records.deployments.delete(deployment.guid, changes)
        _tenancy(records, removal, changes)
    sync = service.sync
    await sync.together(
        *(sync.route_changed(route, None) for route in removal.routes),
        *(sync.route_changed(route, after[guid]) for guid, route in unmapped.items()),
        *(sync.app_deleted(app, running[app.guid]) for app in removal.apps),
    )
    for bits in (*packages, *droplets):
        service.bits.remove(bits.guid)
    return job


def _without(route: Route, apps: set[str]) -> Route:
    return replace(route, destinations=tuple(d for d in route.destinations if d.app not in apps))


def _made_for(
    records: Records, apps: set[str]
) -> tuple[list[Package], list[Build], list[Droplet], list[Deployment]]:
    return (
        [package for package in records.packages if package.app in apps],
        [build for build in records.builds if build.app in apps],
        [droplet for droplet in records.droplets if droplet.app in apps],
        [deployment for deployment in records.deployments if deployment.app in apps],
    )


def _tenancy(records: Records, removal: Removal, changes: Changes) -> None:
    for role in removal.roles:
        records.roles.delete(role.guid, changes)
    for user in removal.users:
        records.users.delete(user.guid, changes)
    for quota in removal.space_quotas:
        records.space_quotas.delete(quota.guid, changes)
    for domain in removal.domains:
        records.domains.delete(domain.guid, changes)
    for space in removal.spaces:
        records.spaces.delete(space.guid, changes)
    for organization in removal.organizations:
        records.organizations.delete(organization.guid, changes)
