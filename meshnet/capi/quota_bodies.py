"""The bodies of quotas: what both kinds may limit, and how a change is taken over."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any

from pydantic import Field

from meshnet.capi import validate
from meshnet.capi.service import Body
from meshnet.capi.tenancy_records import Quota

Limit = Annotated[int, Field(ge=0, le=2**31 - 1)] | None


class AppLimits(Body):
    """Limits of apps; null = none."""

    total_memory_in_mb: Limit = None
    per_process_memory_in_mb: Limit = None
    total_instances: Limit = None
    per_app_tasks: Limit = None
    log_rate_limit_in_bytes_per_second: Limit = None


class ServiceLimits(Body):
    """Limits of services, of which there are none here; kept for their readers."""

    paid_services_allowed: bool = True
    total_service_instances: Limit = None
    total_service_keys: Limit = None


class RouteLimits(Body):
    """Limits of routes."""

    total_routes: Limit = None
    total_reserved_ports: Limit = None


class DomainLimits(Body):
    """Limits of private domains."""

    total_domains: Limit = None


class QuotaPatch(Body):
    """What both kinds of quotas may change."""

    name: str | None = None
    apps: AppLimits | None = None
    services: ServiceLimits | None = None
    routes: RouteLimits | None = None


def changed(quota: Quota, body: QuotaPatch) -> Quota:
    """The quota with the limits given; those not given stay."""
    if body.name is not None:
        validate.name(body.name)
        quota = replace(quota, name=body.name)
    groups: dict[str, Any] = {}
    for group in ("apps", "services", "routes", "domains"):
        if (given := getattr(body, group, None)) is not None:
            groups[group] = {**getattr(quota, group), **given.model_dump(exclude_unset=True)}
    return replace(quota, **groups)


def quoted(guids: list[str]) -> str:
    """Guids as CC lists them in its errors."""
    return "[" + ", ".join(f'"{guid}"' for guid in guids) + "]"
