"""Domains, routes and destinations as the v3 API shows them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from meshnet.capi import present
from meshnet.capi.domains import Domain
from meshnet.capi.present import base, links, to_one
from meshnet.capi.records import Records
from meshnet.capi.route_records import Destination, Route

APP_PORT = 8080


def domain(base_url: str, record: Domain, sees_org: Callable[[str], bool]) -> dict[str, Any]:
    """A domain, for somebody who sees these organizations: of others it is shared with, no word."""
    path = f"/v3/domains/{record.guid}"
    paths = {"self": path, "route_reservations": f"{path}/route_reservations"}
    if record.organization:
        paths["organization"] = f"/v3/organizations/{record.organization}"
        paths["shared_organizations"] = f"{path}/relationships/shared_organizations"
    return {
        **base(record),
        "name": record.name,
        "internal": record.internal,
        "router_group": None,
        "supported_protocols": ["http"],
        "metadata": record.metadata,
        "relationships": {
            **to_one(organization=record.organization),
            "shared_organizations": to_many(filter(sees_org, record.shared)),
        },
        **links(base_url, **paths),
    }


def to_many(guids: Iterable[str]) -> dict[str, Any]:
    """A relationship to several objects."""
    return {"data": [{"guid": guid} for guid in guids]}


def destination(record: Destination) -> dict[str, Any]:
    """One destination of a route."""
    return {
        "guid": record.guid,
        "app": {"guid": record.app, "process": {"type": record.process}},
        "weight": record.weight,
        "port": APP_PORT,
        "protocol": "http1",
    }


def destinations(base_url: str, record: Route) -> dict[str, Any]:
    """All destinations of a route."""
    path = f"/v3/routes/{record.guid}"
    shown = [destination(d) for d in record.destinations]
    return {
        "destinations": shown,
        **links(base_url, self=f"{path}/destinations", route=path),
    }


def route(records: Records, base_url: str, record: Route) -> dict[str, Any]:
    """A route."""
    path = f"/v3/routes/{record.guid}"
    return {
        **base(record),
        "protocol": "http",
        "host": record.host,
        "path": record.path,
        "port": None,
        "url": records.fqdn(record) + record.path,
        "destinations": [destination(d) for d in record.destinations],
        "metadata": record.metadata,
        "relationships": to_one(space=record.space, domain=record.domain),
        **links(
            base_url,
            self=path,
            space=f"/v3/spaces/{record.space}",
            domain=f"/v3/domains/{record.domain}",
            destinations=f"{path}/destinations",
        ),
    }


Include = Callable[[Sequence[Route]], tuple[str, list[dict[str, Any]]]]


def includes(
    records: Records, base_url: str, sees_org: Callable[[str], bool]
) -> Mapping[str, Include]:
    """What `include` adds to routes."""

    def domains(routes: Sequence[Route]) -> tuple[str, list[dict[str, Any]]]:
        found = _once(one.domain for one in routes)
        rows = map(records.domains.get, found)
        return "domains", [domain(base_url, row, sees_org) for row in rows]

    def spaces(routes: Sequence[Route]) -> tuple[str, list[dict[str, Any]]]:
        found = _once(one.space for one in routes)
        return "spaces", [present.space(records.spaces.get(guid)) for guid in found]

    def organizations(routes: Sequence[Route]) -> tuple[str, list[dict[str, Any]]]:
        found = _once(records.spaces.get(one.space).organization for one in routes)
        orgs = map(records.organizations.get, found)
        return "organizations", [present.organization(org) for org in orgs]

    return {"domain": domains, "space": spaces, "space.organization": organizations}


def _once(guids: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(guids))
