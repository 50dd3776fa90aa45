"""Tagged policies as the policy server sends them, to rules as the kernel has them. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from meshnet.kernel.bpf.datapath import PolicyRule
from meshnet.wire.policy_json import Tagged


def plan(policies: Iterable[Tagged]) -> set[PolicyRule]:
    """The rules."""
    return {
        PolicyRule(
            tagged.source,
            tagged.destination,
            tagged.policy.protocol,
            tagged.policy.start,
            tagged.policy.end,
        )
        for tagged in policies
    }
