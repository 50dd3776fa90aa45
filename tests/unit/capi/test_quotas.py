"""What quotas and feature flags allow, at their limits and one beyond."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from capi_world import DOMAINS

from meshnet.capi import flags, quotas
from meshnet.capi.app_records import STARTED, STOPPED, App
from meshnet.capi.domains import Domain
from meshnet.capi.errors import ApiError
from meshnet.capi.permissions import ADMIN, WRITE, Permissions
from meshnet.capi.records import Records, Route
from meshnet.capi.tenancy_records import FeatureFlag, Quota, Space
from meshnet.store import Store


class Tenants:
    """An organization with two spaces, and limits on it and on the first."""

    def __init__(self, directory: Path) -> None:
        self.records = Records(Store.open(directory / "q.db"), DOMAINS)
        self.records.seed("system", "dev")
        (self.org,) = self.records.organizations.all()
        (self.dev,) = self.records.spaces.all()
        self.other = self.records.spaces.put(Space(name="other", organization=self.org.guid))

    def limit_org(self, **limits: Any) -> None:
        quota = self.records.organization_quotas.put(Quota(name="org", **limits))
        self.records.organizations.put(replace(self.org, quota=quota.guid))

    def limit_space(self, **limits: Any) -> None:
        quota = self.records.space_quotas.put(Quota(name="space", **limits))
        self.records.spaces.put(replace(self.dev, quota=quota.guid))

    def app(self, space: Space, memory: int, instances: int = 1, state: str = STARTED) -> App:
        app = App(space=space.guid, memory_in_mb=memory, instances=instances, state=state)
        return self.records.apps.put(app)

    def check(self, before: App | None, **after: Any) -> None:
        base = before or App(space=self.dev.guid, state=STARTED, memory_in_mb=10)
        quotas.check_app(self.records, before, replace(base, **after))


def refused(work: Callable[[], None]) -> str:
    with pytest.raises(ApiError) as caught:
        work()
    assert caught.value.status == 422
    return caught.value.detail


def test_without_limits_everything_goes(tmp_path: Path) -> None:
    t = Tenants(tmp_path)
    t.check(None, memory_in_mb=10**6, instances=10**6)
    quotas.check_route(t.records, t.dev.guid)
    quotas.check_domain(t.records, t.org.guid)


def test_an_organizations_memory(tmp_path: Path) -> None:
    t = Tenants(tmp_path)
    t.limit_org(apps={"total_memory_in_mb": 100})
    t.app(t.other, 50)
    t.app(t.other, 500, state=STOPPED)
    t.check(None, memory_in_mb=25, instances=2)
    assert refused(lambda: t.check(None, memory_in_mb=51)) == "memory quota_exceeded"
    mine = t.app(t.dev, 25, 2)
    t.check(mine, memory_in_mb=50, instances=1)
    assert refused(lambda: t.check(mine, instances=3)) == "memory quota_exceeded"


def test_what_gets_smaller_is_never_refused(tmp_path: Path) -> None:
    t = Tenants(tmp_path)
    mine = t.app(t.dev, 100, 4)
    t.limit_org(apps={"total_memory_in_mb": 100, "total_instances": 1})
    t.check(mine, instances=3)
    t.check(mine, state=STOPPED)
    stopped = replace(mine, state=STOPPED)
    assert refused(lambda: t.check(stopped, state=STARTED)) == "memory quota_exceeded"


def test_a_stopped_app_takes_none_of_the_totals(tmp_path: Path) -> None:
    t = Tenants(tmp_path)
    t.limit_org(apps={"total_memory_in_mb": 10, "total_instances": 1})
    t.check(None, state=STOPPED, memory_in_mb=100, instances=5)


def test_a_spaces_quota_holds_beside_the_organizations(tmp_path: Path) -> None:
    t = Tenants(tmp_path)
    t.limit_space(apps={"total_memory_in_mb": 100, "total_instances": 3})
    t.app(t.other, 1000, 10)
    t.check(None, memory_in_mb=30, instances=3)
    says = refused(lambda: t.check(None, memory_in_mb=101))
    assert says == "memory space_quota_exceeded"
    says = refused(lambda: t.check(None, memory_in_mb=1, instances=4))
    assert says == "app_instance_limit space_app_instance_limit_exceeded"


def test_instances_and_the_size_of_one(tmp_path: Path) -> None:
    t = Tenants(tmp_path)
    t.limit_org(apps={"total_instances": 2, "per_process_memory_in_mb": 64})
    t.check(None, memory_in_mb=64, instances=2)
    says = refused(lambda: t.check(None, memory_in_mb=65, state=STOPPED))
    assert says == "memory instance_memory_limit_exceeded"
    says = refused(lambda: t.check(None, instances=3))
    assert says == "app_instance_limit app_instance_limit_exceeded"


def test_routes_and_domains(tmp_path: Path) -> None:
    t = Tenants(tmp_path)
    domain = next(iter(t.records.domains))
    t.limit_org(routes={"total_routes": 2}, domains={"total_domains": 1})
    t.limit_space(routes={"total_routes": 1})
    quotas.check_route(t.records, t.dev.guid)
    t.records.routes.put(Route(host="a", domain=domain.guid, space=t.dev.guid))
    says = refused(lambda: quotas.check_route(t.records, t.dev.guid))
    assert says == "Routes quota exceeded for space 'dev'."
    quotas.check_route(t.records, t.other.guid)
    t.records.routes.put(Route(host="b", domain=domain.guid, space=t.other.guid))
    says = refused(lambda: quotas.check_route(t.records, t.other.guid))
    assert says == "Routes quota exceeded for organization 'system'."
    quotas.check_domain(t.records, t.org.guid)
    t.records.domains.put(Domain(name="mine.example", organization=t.org.guid))
    assert "private domains exceeds" in refused(lambda: quotas.check_domain(t.records, t.org.guid))


def test_feature_flags(tmp_path: Path) -> None:
    t = Tenants(tmp_path)
    user = Permissions(t.records, "u", "u", frozenset({WRITE}))
    admin = Permissions(t.records, "a", "a", frozenset({ADMIN}))
    flags.require(user, "app_scaling")
    t.records.feature_flags.put(FeatureFlag(guid="app_scaling", enabled=False))
    flags.require(admin, "app_scaling")
    with pytest.raises(ApiError) as caught:
        flags.require(user, "app_scaling")
    error = caught.value
    assert (error.status, error.code, error.title) == (403, 330002, "CF-FeatureDisabled")
    assert error.detail == "Feature Disabled: app_scaling"
    with pytest.raises(ApiError):
        flags.require(admin, "diego_docker")
    t.records.feature_flags.put(FeatureFlag(guid="app_scaling", error_message="ask Ann"))
    with pytest.raises(ApiError, match="ask Ann"):
        flags.require(user, "app_scaling")
