"""The arrows to the policy server: its JSON, with its words for what is wrong.

Source: cf-networking-release policy-server api/ (mapper, validator).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from meshnet.model.errors import InputError
from meshnet.model.policy import MAX_PORT, PROTOCOLS, Policy

EXTERNAL = "/networking/v1/external/policies"
INTERNAL = "/networking/v1/internal/policies"
LAST_UPDATED = "/networking/v1/internal/policies_last_updated"
WATCH = "/networking/v1/internal/policies_watch"
TAGS = "/networking/v1/internal/tags"
APPS_CLEANUP = "/networking/v1/internal/apps_cleanup"
WATCH_SECONDS = 30.0
_INVALID = "mapper: validate policies: "


def parse(body: Any) -> list[Policy]:
    """The policies of a request, checked in the policy server's order.

    Raises:
        InputError: with the policy server's text.
    """
    if not isinstance(body, Mapping):
        raise InputError("mapper: unmarshal json: not an object")
    policies = body.get("policies")
    if not isinstance(policies, list) or not policies:
        raise InputError(_INVALID + "missing policies")
    return [_policy(value) for value in policies]


def _policy(value: Any) -> Policy:
    try:
        source, destination = value["source"], value["destination"]
        ports = destination.get("ports") or {}
        start, end = _port(ports.get("start")), _port(ports.get("end"))
        source_id, destination_id = str(source.get("id") or ""), str(destination.get("id") or "")
        protocol = destination.get("protocol")
        tagged = source.get("tag") or destination.get("tag")
    except (KeyError, TypeError, ValueError, AttributeError) as exc:
        raise InputError(f"mapper: unmarshal json: {exc}") from exc
    problems = (
        (not source_id, "missing source id"),
        (not destination_id, "missing destination id"),
        (protocol not in PROTOCOLS, "invalid destination protocol, specify either udp or tcp"),
        (start > end, f"invalid port range {start}-{end}, start must be less than or equal to end"),
        (start < 0, f"invalid start port {start}, must be in range 1-65535"),
        (start == 0, "missing start port"),
        (end > MAX_PORT, f"invalid end port {end}, must be in range 1-65535"),
        (bool(tagged), "tags may not be specified"),
    )
    for wrong, text in problems:
        if wrong:
            raise InputError(_INVALID + text)
    return Policy(source_id, destination_id, protocol, start, end)


def _port(value: Any) -> int:
    # Go reads a JSON integer here and nothing else; a bool is no number, 1e999 is infinite.
    if value is None:
        return 0
    if type(value) is not int:
        raise TypeError(f"cannot unmarshal {value!r} into a port")
    return value


def show(policies: Iterable[Policy], tags: Mapping[str, int] | None = None) -> dict[str, Any]:
    """Policies as the API lists them; with tags for the internal API."""
    rows = [_row(policy, tags) for policy in sorted(policies)]
    return {"total_policies": len(rows), "policies": rows}


def _row(policy: Policy, tags: Mapping[str, int] | None) -> dict[str, Any]:
    source: dict[str, Any] = {"id": policy.source}
    destination: dict[str, Any] = {
        "id": policy.destination,
        "protocol": policy.protocol,
        "ports": {"start": policy.start, "end": policy.end},
    }
    if tags is not None:
        source["tag"] = tag_text(tags[policy.source])
        destination["tag"] = tag_text(tags[policy.destination])
    return {"source": source, "destination": destination}


def tag_text(tag: int) -> str:
    """A tag as CF writes it: four hexadecimal digits."""
    return f"{tag:04X}"
