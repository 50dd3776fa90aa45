"""The JSON schema of a lab file."""

from __future__ import annotations

from typing import Any

from meshnet.model.modes import MODES

_NETWORK = {"type": "string", "pattern": r"^\d+\.\d+\.\d+\.\d+/\d+$"}
_DOMAIN = {
    "type": "string",
    "pattern": r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)+$",
}
_MODE = {"enum": list(MODES)}
STORES = ("sqlite", "etcd")
ROLES = ("client", "lb", "router", "control", "cell")

SCHEMA: dict[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": "meshnet lab",
    "type": "object",
    "additionalProperties": False,
    "required": ["name", "nodes"],
    "properties": {
        "name": {
            "description": "Part of every name the lab gives to a kernel object.",
            "type": "string",
            "pattern": "^[a-z][a-z0-9-]{0,9}$",
        },
        "underlay": {
            "description": "A /24, or `auto`: the next one that is free on this host.",
            "anyOf": [_NETWORK, {"const": "auto"}],
        },
        "overlay": {"description": "All containers; each cell leases a /24 of it.", **_NETWORK},
        "vips": {"description": "Addresses of internal routes.", **_NETWORK},
        "vxlan": {
            "type": "object",
            "additionalProperties": False,
            "properties": {
                "vni": {"type": "integer", "minimum": 1, "maximum": 16777215},
                "port": {"type": "integer", "minimum": 1, "maximum": 65535},
            },
        },
        "store": {
            "description": "Where the control plane keeps its state: files, or three etcd members.",
            "enum": list(STORES),
        },
        "mode": {"description": "How apps' connections to VIPs are carried.", **_MODE},
        "sockmap": {"description": "Mode ebpf: splice app and sidecar.", "type": "boolean"},
        "system_domain": {"description": "api., uaa., log-cache. of it is `control`.", **_DOMAIN},
        "domains": {
            "description": "Shared domains; `istio` ones are served by the mesh.",
            "type": "array",
            "minItems": 1,
            "items": {
                "type": "object",
                "additionalProperties": False,
                "required": ["name"],
                "properties": {
                    "name": _DOMAIN,
                    "internal": {"type": "boolean"},
                    "istio": {"type": "boolean"},
                },
            },
        },
        "users": {
            "description": "Name to password.",
            "type": "object",
            "minProperties": 1,
            "additionalProperties": {"type": "string", "minLength": 1},
        },
        "nodes": {
            "type": "array",
            "items": {
                "type": "object",
                "additionalProperties": False,
                "required": ["name", "role"],
                "properties": {
                    "name": {"type": "string", "pattern": "^[a-z][a-z0-9-]{0,14}$"},
                    "role": {"enum": list(ROLES)},
                    "mode": _MODE,
                    "sockmap": {"type": "boolean"},
                    "room": {
                        "description": "How many instances a cell takes. Default: as fit.",
                        "type": "integer",
                        "minimum": 1,
                    },
                },
            },
        },
    },
}
