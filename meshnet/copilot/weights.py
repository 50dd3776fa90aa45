"""Integer weights that always sum to 100."""

from __future__ import annotations

from collections.abc import Mapping

TOTAL = 100


def percentages(weights: Mapping[str, int]) -> dict[str, int]:
    """Share 100 out in proportion to `weights`, by the largest remainder, ties to the lower key.

    Nobody of a positive weight is left with 0 while there are at most 100 shares, for a weight of
    0 would take the instances out of the mesh without anybody asking for it.

    Args:
        weights: positive weight by key.
    """
    total = sum(weights.values())
    if not total:
        return {}
    exact = {key: weight * TOTAL / total for key, weight in sorted(weights.items())}
    shares = {key: max(1, int(value)) for key, value in exact.items()}
    while (missing := TOTAL - sum(shares.values())) > 0:
        by_remainder = sorted(shares, key=lambda key: (shares[key] - exact[key], key))
        for key in by_remainder[:missing]:
            shares[key] += 1
    while sum(shares.values()) > TOTAL and (largest := max(shares, key=lambda k: (shares[k], k))):
        if shares[largest] == 1:
            break
        shares[largest] -= 1
    return shares
