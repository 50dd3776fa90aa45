"""Maglev's table fill: each backend gets an equal share, and few slots move when one goes."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence


def table(backends: Sequence[str], slots: int) -> list[str]:
    """A backend per slot (Eisenbud et al., NSDI 2016, section 3.4); empty without backends.

    Args:
        slots: a prime number, so that every backend's permutation reaches every slot.
    """
    ordered = sorted(set(backends))
    if not ordered:
        return []
    walks = [_permutation(name, slots) for name in ordered]
    following = [0] * len(ordered)
    filled: list[str | None] = [None] * slots
    left = slots
    while True:
        for i, name in enumerate(ordered):
            while filled[walks[i][following[i]]] is not None:
                following[i] += 1
            filled[walks[i][following[i]]] = name
            following[i] += 1
            left -= 1
            if left == 0:
                return [slot for slot in filled if slot is not None]


def _permutation(name: str, slots: int) -> list[int]:
    digest = hashlib.sha256(name.encode()).digest()
    offset = int.from_bytes(digest[:8]) % slots
    skip = int.from_bytes(digest[8:16]) % (slots - 1) + 1
    return [(offset + i * skip) % slots for i in range(slots)]
