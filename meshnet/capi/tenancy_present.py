"""Organizations, spaces, roles, users and quotas as the v3 API shows them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from meshnet.capi import present
from meshnet.capi.records import Records
from meshnet.capi.tenancy_records import Organization, Quota, Role, Space, User

Json = dict[str, Any]
# What CC shows of each kind of limit; None where a quota says nothing of it.
APPS = (
    *("total_memory_in_mb", "per_process_memory_in_mb", "total_instances", "per_app_tasks"),
    "log_rate_limit_in_bytes_per_second",
)
SERVICES = ("paid_services_allowed", "total_service_instances", "total_service_keys")
ROUTES = ("total_routes", "total_reserved_ports")
DOMAINS = ("total_domains",)


def organization(base: str, record: Organization) -> Json:
    """An organization."""
    path = f"/v3/organizations/{record.guid}"
    return {
        **present.organization(record),
        **present.links(
            base,
            self=path,
            domains=f"{path}/domains",
            default_domain=f"{path}/domains/default",
            quota=f"/v3/organization_quotas/{record.quota}",
        ),
    }


def space(base: str, record: Space) -> Json:
    """A space."""
    path = f"/v3/spaces/{record.guid}"
    links = present.links(
        base,
        self=path,
        features=f"{path}/features",
        organization=f"/v3/organizations/{record.organization}",
        **({"quota": f"/v3/space_quotas/{record.quota}"} if record.quota else {}),
    )
    links["links"]["apply_manifest"] = {
        "href": f"{base}{path}/actions/apply_manifest",
        "method": "POST",
    }
    return {**present.space(record), **links}


def role(base: str, record: Role) -> Json:
    """A role."""
    space, org = (record.target, None) if record.in_space else (None, record.target)
    links = {"self": f"/v3/roles/{record.guid}", "user": f"/v3/users/{record.user}"}
    links |= (
        {"space": f"/v3/spaces/{space}"} if space else {"organization": f"/v3/organizations/{org}"}
    )
    return {
        **present.base(record),
        "type": record.type,
        "relationships": present.to_one(user=record.user, space=space, organization=org),
        **present.links(base, **links),
    }


def user(base: str, records: Records, record: User) -> Json:
    """A user; UAA knows the name, where it is a user of UAA's."""
    known = records.uaa.users.find(record.guid)
    return {
        **present.base(record),
        "username": known.username if known else None,
        "presentation_name": known.username if known else record.guid,
        "origin": known.origin if known else None,
        "metadata": record.metadata,
        **present.links(base, self=f"/v3/users/{record.guid}"),
    }


def _limits(quota: Quota, spaces: bool) -> Json:
    shown: Json = {
        "apps": {name: quota.apps.get(name) for name in APPS},
        "services": {name: quota.services.get(name) for name in SERVICES},
        "routes": {name: quota.routes.get(name) for name in ROUTES},
    }
    shown["services"]["paid_services_allowed"] = quota.services.get("paid_services_allowed", True)
    return shown if spaces else {**shown, "domains": {n: quota.domains.get(n) for n in DOMAINS}}


def to_many(guids: Iterable[str]) -> Json:
    """{"data": [{"guid": ...}]}."""
    return {"data": [{"guid": guid} for guid in guids]}


def organization_quota(base: str, record: Quota, organizations: Iterable[str]) -> Json:
    """An organization quota and the organizations (guids) that have it."""
    return {
        **present.base(record),
        "name": record.name,
        **_limits(record, spaces=False),
        "relationships": {"organizations": to_many(organizations)},
        **present.links(base, self=f"/v3/organization_quotas/{record.guid}"),
    }


def space_quota(base: str, record: Quota, spaces: Iterable[str]) -> Json:
    """A space quota and the spaces (guids) that have it."""
    relationships = present.to_one(organization=record.organization)
    return {
        **present.base(record),
        "name": record.name,
        **_limits(record, spaces=True),
        "relationships": {**relationships, "spaces": to_many(spaces)},
        **present.links(
            base,
            self=f"/v3/space_quotas/{record.guid}",
            organization=f"/v3/organizations/{record.organization}",
        ),
    }
