"""A port range as the fewest prefixes of a 16-bit number, as a longest-prefix map wants it."""

from __future__ import annotations

from collections.abc import Iterator

PORT_BITS = 16


def prefixes(start: int, end: int) -> Iterator[tuple[int, int]]:
    """(first port, prefix length) pairs that cover start..end exactly, both ends included."""
    while start <= end:
        size = start & -start or 1 << PORT_BITS
        while size > end - start + 1:
            size >>= 1
        yield start, PORT_BITS - size.bit_length() + 1
        start += size
