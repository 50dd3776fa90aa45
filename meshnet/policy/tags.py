"""Which tag an app gets: the lowest free, but one just freed rests first. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from meshnet.model.errors import Conflict

MIN_TAG, MAX_TAG = 1, 0xFFFF  # VXLAN's group policy field carries 16 bits; 0 means untagged
REST_SECONDS = 3600.0


def lowest_free(used: Iterable[int], freed: Mapping[int, float], now: float) -> int:
    """The lowest tag that nobody has and that has rested.

    A tag in packets under way, or in a cell's map that has not heard of its end, must not become
    another app's. When all free tags are resting, the one that has rested longest is taken.

    Args:
        freed: tag to the time it became free, seconds.

    Raises:
        Conflict: all tags are used.
    """
    taken = set(used)
    for tag in range(MIN_TAG, MAX_TAG + 1):
        if tag not in taken and now - freed.get(tag, -REST_SECONDS) >= REST_SECONDS:
            return tag
    resting = [(since, tag) for tag, since in freed.items() if tag not in taken]
    if not resting:
        raise Conflict(f"all {MAX_TAG} policy tags are used")
    return min(resting)[1]
