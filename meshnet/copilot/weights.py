"""Integer weights that always sum to 100."""

from __future__ import annotations

from collections.abc import Mapping

TOTAL = 100


def percentages(weights: Mapping[str, int]) -> dict[str, int]:
    """Share 100 out in proportion to `weights`.

    As Copilot did it: shares are rounded down, and what is missing to 100 is handed out one each,
    in the order of `weights`. Unlike there, nobody is left with 0 while there are at most 100
    shares: that would take instances out of the mesh without anybody asking for it.

    Args:
        weights: positive weight by key.
    """
    total, least = sum(weights.values()), 1 if len(weights) <= TOTAL else 0
    shares = {key: max(least, weight * TOTAL // total) for key, weight in weights.items()}
    missing = TOTAL - sum(shares.values()) if shares else 0
    for key in list(shares)[: max(0, missing)]:
        shares[key] += 1
    for _ in range(-missing):
        shares[max(shares, key=lambda key: shares[key])] -= 1
    return shares
