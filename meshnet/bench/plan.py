"""What the redirection benchmark measures, and in which order. Pure."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import product

from meshnet.model.errors import InputError

BASELINE = "direct"
CONNECTIONS = (1, 32, 128)
KINDS = ("keep-alive", "new")
PLACES = ("same cell", "across cells")
_PROXIED = ("ebpf", "iptables")


@dataclass(frozen=True)
class Variant:
    """A way from client to server: the redirection mode of each."""

    name: str
    client: str
    server: str
    sockmap: bool = False
    means: str = ""

    @property
    def proxies(self) -> tuple[bool, bool]:
        """Whether requests pass the client's sidecar, and the server's."""
        return self.client in _PROXIED, self.server in _PROXIED


VARIANTS = (
    Variant("direct", "off", "off", means="no mesh"),
    Variant("iptables", "iptables", "off", means="netfilter to the client's sidecar"),
    Variant("iptables-both", "iptables", "iptables", means="and to the server's: Istio's way"),
    Variant("ebpf", "ebpf", "off", means="connect hook to the client's sidecar"),
    Variant("ebpf-sockmap", "ebpf", "off", sockmap=True, means="and spliced to it"),
    Variant("kernel", "kernel", "off", means="connect hook to an instance, no proxy"),
)


@dataclass(frozen=True, order=True)
class Cell:
    """A cell of the matrix, but for the variant."""

    place: str
    kind: str
    connections: int

    def __str__(self) -> str:
        many = "connection" if self.connections == 1 else "connections"
        return f"{self.place}, {self.kind}, {self.connections} {many}"


def matrix(
    places: Iterable[str], kinds: Iterable[str], connections: Iterable[int]
) -> tuple[Cell, ...]:
    """Every combination, once."""
    return tuple(dict.fromkeys(Cell(*one) for one in product(places, kinds, connections)))


def chosen(names: Iterable[str]) -> tuple[Variant, ...]:
    """Variants by name, the baseline always among them. Raises InputError."""
    wanted = set(names)
    known = {variant.name for variant in VARIANTS}
    if unknown := wanted - known:
        text = f"no variant {sorted(unknown)[0]!r}: one of {', '.join(v.name for v in VARIANTS)}"
        raise InputError(text)
    return tuple(v for v in VARIANTS if not wanted or v.name in wanted | {BASELINE})


def rounds(variants: Sequence[Variant], count: int, seed: int | str) -> list[list[Variant]]:
    """The order of variants in each round: one by chance, then the same backwards (ABBA).

    What drifts, the machine's speed above all, then weighs on both ends of an order alike.
    """
    chance = random.Random(seed)
    found: list[list[Variant]] = []
    while len(found) < count:
        order = list(variants)
        chance.shuffle(order)
        found += [order, order[::-1]]
    return found[:count]


def schedule(
    cells: Iterable[Cell], variants: Sequence[Variant], count: int, seed: int
) -> list[tuple[Cell, int, Variant]]:
    """Every sample to take, (cell, round, variant), in order; each cell has chances of its own."""
    return [
        (cell, number, variant)
        for cell in cells
        for number, order in enumerate(rounds(variants, count, f"{seed} {cell}"))
        for variant in order
    ]
