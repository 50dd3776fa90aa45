"""Tagged policies as the policy server sends them, to rules as the kernel has them. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from meshnet.kernel.bpf.datapath import PolicyRule
from meshnet.model.errors import PeerError


def plan(policies: Iterable[Mapping[str, Any]]) -> set[PolicyRule]:
    """The rules. Raises PeerError where a policy is not what the policy server sends."""
    try:
        return {
            PolicyRule(
                int(policy["source"]["tag"], 16),
                int(policy["destination"]["tag"], 16),
                policy["destination"]["protocol"],
                policy["destination"]["ports"]["start"],
                policy["destination"]["ports"]["end"],
            )
            for policy in policies
        }
    except (KeyError, TypeError, ValueError) as exc:
        raise PeerError(f"the policy server sent a policy without {exc}") from exc
