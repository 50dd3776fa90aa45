"""`meshnet bench events`: what flow events cost while somebody watches, against nobody watching."""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

from meshnet.bench.plan import KINDS, PLACES, Cell, chosen
from meshnet.bench.progress import say
from meshnet.bench.sample import take
from meshnet.bench.stage import own_lab
from meshnet.bench.stats import Interval, ratio
from meshnet.bench.world import World
from meshnet.model.errors import PeerError
from netns_lab import status
from netns_lab.paths import Paths

CONNECTIONS = 32
# A process of its own that takes what the observers send, and does nothing with it.
_DRAIN = """
import selectors, sys
from pathlib import Path
from meshnet.wire.flow_stream import Watcher
ready = selectors.DefaultSelector()
for path in sys.argv[1:]:
    watcher = Watcher(Path(path))
    ready.register(watcher.socket, selectors.EVENT_READ)
print("watching", flush=True)
while True:
    for key, _ in ready.select():
        key.fileobj.recv(1 << 20)
"""


@contextmanager
def watching(paths: Paths) -> Iterator[None]:
    """Somebody watches all cells for the length of the block. Raises PeerError."""
    sockets = [str(paths.socket(cell, "observe")) for cell in status.cells(paths)]
    line = [sys.executable, "-c", _DRAIN, *sockets]
    with subprocess.Popen(line, stdout=subprocess.PIPE, text=True) as child:
        try:
            assert child.stdout is not None
            if child.stdout.readline().strip() != "watching":
                raise PeerError("no observer answers")
            yield
        finally:
            child.kill()


def run(rounds: int, seconds: int, seed: int) -> list[dict[str, Any]]:
    """Requests a second while watched over unwatched, for each kind of load and way.

    Returns:
        A row each: kind, variant, ratio (an Interval), rates on and off by round.
    """
    found = []
    with own_lab(World) as world:
        for kind in KINDS:
            for variant in (v for v in chosen(["ebpf", "kernel"]) if v.name != "direct"):
                cell = Cell(PLACES[0], kind, CONNECTIONS)
                say(f"{kind}, {variant.name}")
                rates = _rates(world, cell, variant, rounds, seconds, random.Random(seed))
                one: Interval = ratio(rates[True], rates[False], seed)
                found.append({"kind": kind, "way": variant.name, "ratio": one,
                              "watched": rates[True], "unwatched": rates[False]})  # fmt: skip
    return found


def _rates(
    world: World, cell: Cell, variant: Any, rounds: int, seconds: int, chance: random.Random
) -> dict[bool, list[float]]:
    rates: dict[bool, list[float]] = {True: [], False: []}
    order = [True, False]
    for number in range(rounds):
        if number % 2 == 0:
            chance.shuffle(order)
        else:
            order.reverse()
        for watched in order:
            with watching(world.paths) if watched else nullcontext():
                sample = take(world, cell, variant, number, seconds, paced=False)
            rates[watched].append(sample.requests_per_second)
    return rates
