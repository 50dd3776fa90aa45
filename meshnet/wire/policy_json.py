"""The arrows to the policy server: its JSON, with its words for what is wrong.

Source: cf-networking-release policy-server api/ (mapper, validator), api_v0/.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from meshnet.model.errors import InputError, PeerError
from meshnet.model.policy import MAX_PORT, PROTOCOLS, Policy

EXTERNAL = "/networking/v1/external/policies"
INTERNAL = "/networking/v1/internal/policies"
LAST_UPDATED = "/networking/v1/internal/policies_last_updated"
WATCH = "/networking/v1/internal/policies_watch"
TAGS = "/networking/v1/internal/tags"
APPS_CLEANUP = "/networking/v1/internal/apps_cleanup"
SECURITY_GROUPS = "/networking/v1/internal/security_groups"
WATCH_SECONDS = 30.0
V0, V1 = "v0", "v1"
APP, ROUTER = "app", "router"
_INVALID = "mapper: validate policies: "
_UNMARSHAL = "mapper: unmarshal json: "


@dataclass(frozen=True)
class Tag:
    """What packets of a group carry: the id of an app or router, its type, 1..65535."""

    id: str
    type: str
    tag: int

    def to_json(self) -> dict[str, str]:
        """As the API shows it."""
        return {"id": self.id, "type": self.type, "tag": tag_text(self.tag)}


@dataclass(frozen=True, order=True)
class Tagged:
    """A policy with the tags of its source and destination."""

    policy: Policy
    source: int
    destination: int

    def to_json(self) -> dict[str, Any]:
        """As the internal API shows it."""
        row = _row(self.policy, V1)
        row["source"]["tag"] = tag_text(self.source)
        row["destination"]["tag"] = tag_text(self.destination)
        return row


@dataclass(frozen=True)
class Delta:
    """Policies that came and that went."""

    added: Collection[Tagged]
    removed: Collection[Tagged]


def load(body: bytes) -> Any:
    """A body's JSON. Raises InputError."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as exc:
        raise InputError(f"{_UNMARSHAL}{exc}") from exc


def parse(body: Any, version: str = V1) -> list[Policy]:
    """The policies of a request, checked in the policy server's order.

    Raises:
        InputError: with the policy server's text.
    """
    if not isinstance(body, Mapping):
        raise InputError(_UNMARSHAL + "not an object")
    policies = body.get("policies")
    if not isinstance(policies, list | None):
        raise InputError(_UNMARSHAL + "policies is not an array")
    if not policies:
        raise InputError(_INVALID + "missing policies")
    return [_policy(value, version) for value in policies]


def _policy(value: Any, version: str) -> Policy:
    policy = _object(value)
    source, destination = _object(policy.get("source")), _object(policy.get("destination"))
    if version == V0:
        start = end = _port(destination.get("port"))
    else:
        ports = _object(destination.get("ports"))
        start, end = _port(ports.get("start")), _port(ports.get("end"))
    source_id, destination_id = _text(source.get("id")), _text(destination.get("id"))
    protocol = _text(destination.get("protocol"))
    tagged = _text(source.get("tag")) or _text(destination.get("tag"))
    problems = (
        (not source_id, "missing source id"),
        (not destination_id, "missing destination id"),
        (protocol not in PROTOCOLS, "invalid destination protocol, specify either udp or tcp"),
        *(_v0_port(start) if version == V0 else _v1_ports(start, end)),
        (bool(tagged), "tags may not be specified"),
    )
    for wrong, text in problems:
        if wrong:
            raise InputError(_INVALID + text)
    return Policy(source_id, destination_id, protocol, start, end)


def _v1_ports(start: int, end: int) -> tuple[tuple[bool, str], ...]:
    return (
        (start > end, f"invalid port range {start}-{end}, start must be less than or equal to end"),
        (start < 0, f"invalid start port {start}, must be in range 1-65535"),
        (start == 0, "missing start port"),
        (end > MAX_PORT, f"invalid end port {end}, must be in range 1-65535"),
    )


def _v0_port(port: int) -> tuple[tuple[bool, str], ...]:
    # CF takes ports beyond 65535 in v0; no kernel rule could say them.
    return (
        (port < 0 or port > MAX_PORT, f"invalid port {port}, must be in range 1-65535"),
        (port == 0, "missing port"),
    )


# What Go's decoder takes for an object, a string and an int; null and nothing are the zero value.
def _object(value: Any) -> Mapping[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise InputError(f"{_UNMARSHAL}cannot unmarshal {_kind(value)} into an object")
    return value


def _text(value: Any) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        raise InputError(f"{_UNMARSHAL}cannot unmarshal {_kind(value)} into a string")
    # Half a surrogate pair is no text that could be kept; Go puts U+FFFD in its place.
    return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _port(value: Any) -> int:
    if value is None:
        return 0
    if type(value) is not int or abs(value) >= 2**63:
        raise InputError(f"{_UNMARSHAL}cannot unmarshal {_kind(value)} into an int")
    return value


def _kind(value: Any) -> str:
    names = {bool: "bool", int: "number", float: "number", str: "string", list: "array"}
    return names.get(type(value), "object")


def show(policies: Iterable[Policy], version: str = V1) -> dict[str, Any]:
    """Policies as the external API lists them; v0 has no ranges of ports and leaves them out."""
    rows = [_row(p, version) for p in sorted(policies) if version == V1 or p.start == p.end]
    return {"total_policies": len(rows), "policies": rows}


def show_tagged(policies: Iterable[Tagged]) -> dict[str, Any]:
    """Policies as the internal API lists them."""
    rows = [tagged.to_json() for tagged in sorted(policies)]
    return {"total_policies": len(rows), "policies": rows}


def _row(policy: Policy, version: str) -> dict[str, Any]:
    ports: dict[str, Any] = {"ports": {"start": policy.start, "end": policy.end}}
    if version == V0:
        ports = {"port": policy.start}
    return {
        "source": {"id": policy.source},
        "destination": {"id": policy.destination, "protocol": policy.protocol, **ports},
    }


def read_tagged(rows: Any) -> list[Tagged]:
    """Policies as the internal API lists them, back again. Raises PeerError."""
    found = []
    try:
        for row in rows:
            source, destination = row["source"], row["destination"]
            ports = destination["ports"]["start"], destination["ports"]["end"]
            policy = Policy(source["id"], destination["id"], destination["protocol"], *ports)
            found.append(Tagged(policy, int(source["tag"], 16), int(destination["tag"], 16)))
    except (KeyError, TypeError, ValueError) as exc:
        raise PeerError(f"the policy server sent a policy without {exc}") from exc
    return found


def tag_text(tag: int) -> str:
    """A tag as CF writes it: four hexadecimal digits."""
    return f"{tag:04X}"
