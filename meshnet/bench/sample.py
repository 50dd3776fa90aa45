"""One sample: wrk and the fixed-rate load over one way, and what that cost whom."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import mean
from typing import Any

from meshnet.bench.loads import Told, pace, wrk
from meshnet.bench.meter import meter, private_kib
from meshnet.bench.plan import Cell, Variant
from meshnet.bench.world import CLIENT, World
from meshnet.kernel import cgroup
from meshnet.model.errors import PlatformError

WARM_UP_SECONDS, WARM_UP_RATE, PACED_RATE = 0.3, 5000, 1000
# CPU microseconds: a proxy takes some 60 a request, and some 5,000 a second when idle.
_CARRYING_US, _IDLE_US = 10, 15_000
_PROXIES = ("client's proxy", "server's proxy")


@dataclass(frozen=True)
class Sample:
    """What one run of one variant in one cell of the matrix gave.

    Attributes:
        cpu_ms: CPU milliseconds per 1,000 requests, by who spent them: client, app, proxies.
        proxy_private_kib: memory of its own of a proxy on the way, the mean of two; 0 without one.
        load: the machine's load average before.
        steal: the share (0..1) of the machine's CPU time that its host took away meanwhile.
        other: the share that neither client, app nor proxies took: the kernel's own work, daemons,
            and whatever else runs on the machine.
        paced: latencies (us) of the fixed-rate load; None where it did not run.
    """

    variant: str
    place: str
    kind: str
    connections: int
    round: int
    requests_per_second: float
    p50_us: float
    p99_us: float
    errors: int
    cpu_ms: dict[str, float]
    proxy_private_kib: int
    load: float
    steal: float
    paced: dict[str, float] | None
    other: float = 0.0

    def row(self) -> dict[str, Any]:
        """As JSON has it."""
        return asdict(self)


def take(
    world: World, cell: Cell, variant: Variant, number: int, seconds: int, *, paced: bool = True
) -> Sample:
    """Switch, warm up, measure; without the fixed-rate load unless `paced`.

    Raises:
        MeshnetError: the way does not work or is not the one meant, or the load could not be run.
    """
    world.switch(cell.place, variant)
    pace(world, cell, WARM_UP_RATE, WARM_UP_SECONDS, strict=False)
    load, groups = os.getloadavg()[0], _groups(world, cell)
    before = meter(groups)
    told = wrk(world, cell, seconds)
    spent = meter(groups).since(before)
    cpu = {who: us / told.count for who, us in spent.us.items()}
    check_way(variant, spent.us, told)
    latency = pace(world, cell, PACED_RATE, seconds / 2) if paced else None
    return Sample(
        variant=variant.name,
        place=cell.place,
        kind=cell.kind,
        connections=cell.connections,
        round=number,
        requests_per_second=told.count / told.seconds,
        p50_us=told.p50_us,
        p99_us=told.p99_us,
        errors=told.errors + int(latency["errors"] if latency else 0),
        cpu_ms={
            "client": cpu["client"],
            "app": cpu["app"],
            "proxies": sum(cpu[whose] for whose in _PROXIES),
        },
        proxy_private_kib=_proxy_memory(world, cell, variant),
        load=load,
        steal=spent.steal,
        paced=latency,
        other=spent.other,
    )


def check_way(variant: Variant, us: dict[str, float], told: Told) -> None:
    """Whether requests went through the proxies that they should have, and through no other.

    Args:
        us: CPU time by who spent it, microseconds.

    Raises:
        PlatformError: they did not, so the figures are of another way.
    """
    idle = told.count * _CARRYING_US + told.seconds * _IDLE_US
    for whose, meant in zip(_PROXIES, variant.proxies, strict=True):
        if meant != (us[whose] > idle):
            did = "did not pass" if meant else "passed"
            raise PlatformError(
                f"{variant.name}: requests {did} the {whose}, which took "
                f"{us[whose] / told.count:.1f} ms of CPU per 1,000"
            )


def _groups(world: World, cell: Cell) -> dict[str, Path]:
    """cgroup directories by who works in them."""
    client, server = world.row(CLIENT), world.row(world.server(cell.place))

    def of(row: dict[str, Any], kind: str) -> Path:
        return cgroup.directory(f"{world.paths.cgroup}/{row['cell']}/{row['guid']}/{kind}")

    return {
        "client": of(client, "app"),
        "app": of(server, "app"),
        _PROXIES[0]: of(client, "sidecar"),
        _PROXIES[1]: of(server, "sidecar"),
    }


def _proxy_memory(world: World, cell: Cell, variant: Variant) -> int:
    apps = (CLIENT, world.server(cell.place))
    sizes = [
        private_kib(int(world.row(app)["sidecar_pid"]))
        for app, carries in zip(apps, variant.proxies, strict=True)
        if carries
    ]
    return round(mean(sizes)) if sizes else 0
