"""The public documents: where everything is."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from meshnet.capi.service import Base

router = APIRouter()
API_VERSION, V2_VERSION = "3.91.0", "2.156.0"
NETWORKING = "/networking"
_RESOURCES = (
    *("apps", "audit_events", "buildpacks", "builds", "deployments", "domains", "droplets"),
    *("environment_variable_groups", "feature_flags", "isolation_segments", "jobs"),
    *("organization_quotas", "organizations", "packages", "processes", "resource_matches"),
    *("roles", "routes", "security_groups", "service_brokers", "service_credential_bindings"),
    *("service_instances", "service_offerings", "service_plans", "service_route_bindings"),
    *("space_quotas", "spaces", "stacks", "users"),
)
Json = dict[str, Any]


@router.get("/")
async def root(base: Base) -> Json:
    """Where everything is; public.

    Log-cache is at this origin too: the cf CLI drops any path that its address has.
    """
    return {
        "links": {
            "self": {"href": base},
            "cloud_controller_v2": {"href": f"{base}/v2", "meta": {"version": V2_VERSION}},
            "cloud_controller_v3": {"href": f"{base}/v3", "meta": {"version": API_VERSION}},
            "login": {"href": base},
            "uaa": {"href": base},
            "log_cache": {"href": base},
            "network_policy_v0": {"href": f"{base}{NETWORKING}/v0/external"},
            "network_policy_v1": {"href": f"{base}{NETWORKING}/v1/external"},
            # Their names are there in every CF; what they lead to is not here.
            **dict.fromkeys(("app_ssh", "credhub", "log_stream", "logging", "routing")),
        }
    }


@router.get("/v3")
async def v3(base: Base) -> Json:
    """Where each resource is; public."""
    links = {name: {"href": f"{base}/v3/{name}"} for name in _RESOURCES}
    return {"links": {"self": {"href": f"{base}/v3"}, **links}}


@router.get("/v3/info")
async def info(base: Base) -> Json:
    """What this is; public."""
    return {
        "build": "",
        "cli_version": {"minimum": "", "recommended": ""},
        "custom": {},
        "description": "Cloud Foundry's service mesh in the Linux kernel",
        "name": "meshnet",
        "version": 0,
        "links": {"self": {"href": f"{base}/v3/info"}, "support": {"href": ""}},
        "osbapi_version": "2.15",
    }


@router.get("/v2/info")
async def v2_info(base: Base) -> Json:
    """The same for clients of v2; public."""
    return {
        "name": "meshnet",
        "build": "",
        "support": "",
        "version": 0,
        "description": "Cloud Foundry's service mesh in the Linux kernel",
        "authorization_endpoint": base,
        "token_endpoint": base,
        "min_cli_version": None,
        "min_recommended_cli_version": None,
        "api_version": V2_VERSION,
        "osbapi_version": "2.15",
    }
