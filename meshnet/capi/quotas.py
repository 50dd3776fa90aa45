"""What quotas allow: one check for each thing that is counted, in CC's words.

`check_app(records, before, after)` before an app is written whose process was started or scaled,
`check_route(records, space)` before a route is made, `check_domain(records, org)` before a private
domain is. They raise ApiError 422 and change nothing. The organization's quota is asked first.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

from meshnet.capi.app_records import STARTED, App
from meshnet.capi.errors import unprocessable
from meshnet.capi.records import Records
from meshnet.capi.tenancy_records import Quota


def check_app(records: Records, before: App | None, after: App) -> None:
    """Refuse a process larger than one may be; where it runs, one too many or too much memory."""
    grown = before is None or after.memory_in_mb > before.memory_in_mb
    for quota, _, prefix in _quotas(records, after.space):
        most = _limit(quota.apps, "per_process_memory_in_mb")
        if most is not None and after.memory_in_mb > most and (grown or after.state == STARTED):
            raise unprocessable(f"memory {prefix}instance_memory_limit_exceeded")
    if after.state == STARTED:
        _check_totals(records, before, after)


def _check_totals(records: Records, before: App | None, after: App) -> None:
    running = before is not None and before.state == STARTED
    memory = after.memory_in_mb * after.instances
    more_memory = memory - (before.memory_in_mb * before.instances if before and running else 0)
    more_instances = after.instances - (before.instances if before and running else 0)
    # What gets smaller is never refused: a quota may have been lowered since.
    for quota, spaces, prefix in _quotas(records, after.space):
        most = _limit(quota.apps, "total_memory_in_mb")
        if most is not None and more_memory > 0:
            used, _ = usage(records, spaces, but=after.guid)
            if used + memory > most:
                raise unprocessable(f"memory {prefix}quota_exceeded")
        most = _limit(quota.apps, "total_instances")
        if most is not None and more_instances > 0:
            _, used = usage(records, spaces, but=after.guid)
            if used + after.instances > most:
                raise unprocessable(f"app_instance_limit {prefix}app_instance_limit_exceeded")


def check_route(records: Records, space: str, more: int = 1) -> None:
    """Refuse one route, or several, more in a space."""
    if not more:
        return
    for quota, spaces, prefix in _quotas(records, space):
        most = _limit(quota.routes, "total_routes")
        if most is not None and sum(r.space in spaces for r in records.routes) + more > most:
            found = records.spaces.get(space)
            org = records.organizations.get(found.organization)
            where = f"space '{found.name}'" if prefix else f"organization '{org.name}'"
            raise unprocessable(f"Routes quota exceeded for {where}.")


def check_domain(records: Records, organization: str) -> None:
    """Refuse one private domain more in an organization."""
    org = records.organizations.get(organization)
    most = _limit(quota_of(records, organization).domains, "total_domains")
    if most is None:
        return
    if sum(d.organization == organization for d in records.domains) >= most:
        raise unprocessable(
            f'The number of private domains exceeds the quota for organization "{org.name}"'
        )


def usage(records: Records, spaces: Collection[str], *, but: str = "") -> tuple[int, int]:
    """Memory in MB and instances of the apps that are started in these spaces, `but` one."""
    apps = [
        app
        for app in records.apps
        if app.space in spaces and app.state == STARTED and app.guid != but
    ]
    return sum(a.memory_in_mb * a.instances for a in apps), sum(a.instances for a in apps)


def summary(records: Records, spaces: Collection[str]) -> dict[str, int]:
    """What is used in these spaces, by CC's names."""
    memory, instances = usage(records, spaces)
    nothing = ("service_instances", "service_keys", "reserved_ports", "per_app_tasks")
    return {
        "started_instances": instances,
        "memory_in_mb": memory,
        "routes": sum(route.space in spaces for route in records.routes),
        **dict.fromkeys(nothing, 0),
    }


def quota_of(records: Records, organization: str) -> Quota:
    """An organization's quota."""
    return records.organization_quotas.get(records.organizations.get(organization).quota)


def spaces_of(records: Records, organization: str) -> set[str]:
    """The guids of an organization's spaces."""
    return {space.guid for space in records.spaces if space.organization == organization}


def _quotas(records: Records, space: str) -> Iterator[tuple[Quota, Collection[str], str]]:
    """Each quota that holds in a space, the spaces it counts, and what its errors begin with."""
    found = records.spaces.get(space)
    yield quota_of(records, found.organization), spaces_of(records, found.organization), ""
    own = records.space_quotas.find(found.quota or "")
    if own:
        yield own, {space}, "space_"


def _limit(limits: dict[str, int | bool | None], name: str) -> int | None:
    value = limits.get(name)
    return None if value is None else int(value)
