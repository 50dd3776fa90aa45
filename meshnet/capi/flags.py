"""Feature flags: what may be switched off, and for whom it then is.

A handler says `flags.require(user, "app_scaling")`. Names and defaults: cloud_controller_ng,
`app/models/runtime/feature_flag.rb`.
"""

from __future__ import annotations

from meshnet.capi.errors import ApiError, not_authorized
from meshnet.capi.permissions import READ_ONLY, Permissions
from meshnet.capi.records import Records
from meshnet.capi.tenancy_records import FeatureFlag

DEFAULTS = {
    "app_bits_upload": True,
    "app_scaling": True,
    "diego_docker": False,
    "env_var_visibility": True,
    "hide_marketplace_from_unauthenticated_users": False,
    "private_domain_creation": True,
    "resource_matching": True,
    "route_creation": True,
    "route_sharing": False,
    "service_instance_creation": True,
    "service_instance_sharing": False,
    "set_roles_by_username": True,
    "space_developer_env_var_visibility": True,
    "space_scoped_private_broker_creation": True,
    "task_creation": True,
    "unset_roles_by_username": True,
    "user_org_creation": False,
}
# What is switched off is so for everybody; all other flags do not bind administrators.
_FOR_ADMINS_TOO = frozenset(
    {"diego_docker", "hide_marketplace_from_unauthenticated_users", "resource_matching"}
    | {"route_sharing", "service_instance_sharing"}
)


def flag(records: Records, name: str) -> FeatureFlag:
    """A flag as it was set, or its default."""
    return records.feature_flags.find(name) or FeatureFlag(guid=name, enabled=DEFAULTS[name])


def enabled(user: Permissions, name: str) -> bool:
    """Whether a feature is there for somebody."""
    return (user.admin and name not in _FOR_ADMINS_TOO) or flag(user.records, name).enabled


def see_environment(user: Permissions, space: str) -> None:
    """403 where somebody may not see the environment variables of a space's apps."""
    if not user.sees_environment(space):
        raise not_authorized()
    if READ_ONLY not in user.scopes:
        require(user, "env_var_visibility")
        require(user, "space_developer_env_var_visibility")


def require(user: Permissions, name: str) -> None:
    """403 "Feature Disabled" where a feature is not there for somebody."""
    if not enabled(user, name):
        text = flag(user.records, name).error_message or name
        raise ApiError(403, 330002, "CF-FeatureDisabled", f"Feature Disabled: {text}")
