"""One sample: wrk and the fixed-rate load over one way, and what that cost whom."""

from __future__ import annotations

import json
import os
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from meshnet.bench.plan import Cell, Variant
from meshnet.bench.world import CLIENT, World
from meshnet.kernel import cgroup
from meshnet.model.errors import PlatformError

WARM_UP_SECONDS, WARM_UP_RATE, PACED_RATE = 0.3, 5000, 1000
_UNITS = {"us": 1.0, "ms": 1e3, "s": 1e6, "m": 60e6}
_PERCENTILE = re.compile(r"^\s+(50|99)(?:\.\d+)?%\s+([\d.]+)(us|ms|s|m)\s*$", re.MULTILINE)
_COUNT = re.compile(r"^\s*(\d+) requests in ([\d.]+)(us|ms|s|m)", re.MULTILINE)
_BAD = re.compile(r"Non-2xx or 3xx responses: (\d+)")
_ERRORS = re.compile(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)")


@dataclass(frozen=True)
class Sample:
    """What one run of one variant in one cell of the matrix gave.

    Attributes:
        cpu_ms: CPU milliseconds per 1,000 requests, by who spent them: client, app, proxies.
        proxy_private_kib: memory of its own of the proxy that works most; 0 without one.
        load, steal: the machine's load average before, its stolen share (0..1) meanwhile.
        paced: latencies (us) of the fixed-rate load; None where it is not run.
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

    def row(self) -> dict[str, Any]:
        """As JSON has it."""
        return asdict(self)


def take(
    world: World, cell: Cell, variant: Variant, number: int, seconds: float, *, paced: bool = True
) -> Sample:
    """Switch, warm up, measure.

    Raises:
        PlatformError: the way does not work, or the load could not be run.
    """
    world.switch(cell.place, variant)
    _pace(world, cell, WARM_UP_RATE, WARM_UP_SECONDS)
    groups = _groups(world, cell)
    load, steal = os.getloadavg()[0], _steal()
    before = {who: _cpu_us(paths) for who, paths in groups.items()}
    told = _wrk(world, cell, seconds)
    after = {who: _cpu_us(paths) for who, paths in groups.items()}
    count, took = _requests(told)
    if not count:
        raise PlatformError(f"{variant.name}, {cell}: no request was answered")
    stolen, total = (b - a for a, b in zip(steal, _steal(), strict=True))
    percentiles = {p: float(v) * _UNITS[u] for p, v, u in _PERCENTILE.findall(told)}
    return Sample(
        variant=variant.name,
        place=cell.place,
        kind=cell.kind,
        connections=cell.connections,
        round=number,
        requests_per_second=count / took,
        p50_us=percentiles["50"],
        p99_us=percentiles["99"],
        errors=_errors(told),
        cpu_ms={who: (after[who] - before[who]) / count for who in groups},
        proxy_private_kib=_proxy_memory(world, cell, variant),
        load=load,
        steal=stolen / total if total else 0.0,
        paced=_pace(world, cell, PACED_RATE, seconds / 2)
        if paced and cell.kind == "keep-alive"
        else None,
    )


def _wrk(world: World, cell: Cell, seconds: float) -> str:
    header = ["-H", "Connection: close"] if cell.kind == "new" else []
    whole = max(1, round(seconds))  # wrk counts whole seconds
    command = [
        *("wrk", "-t", "1", "-c", str(cell.connections), "-d", f"{whole}s", "--latency"),
        *(*header, world.url(cell.place)),
    ]
    done = world.run(command, timeout=whole + 20)
    if done.returncode:
        raise PlatformError(f"wrk: {(done.stderr or done.stdout).strip()[-200:]}")
    return done.stdout


def _pace(world: World, cell: Cell, rate: int, seconds: float) -> dict[str, float]:
    host = world.url(cell.place).split("/")[2]
    name, _, port = host.partition(":")
    command = ["/home/vcap/app/pace", name, port, "/", str(rate)]
    done = world.run([*command, str(cell.connections), str(seconds)], timeout=seconds + 20)
    if done.returncode:
        raise PlatformError(f"pace: {(done.stderr or done.stdout).strip()[-200:]}")
    value: dict[str, float] = json.loads(done.stdout)
    return value


def _requests(told: str) -> tuple[int, float]:
    match = _COUNT.search(told)
    if match is None:
        raise PlatformError(f"wrk said nothing that is understood: {told[-200:]!r}")
    return int(match[1]), float(match[2]) * _UNITS[match[3]] / 1e6


def _errors(told: str) -> int:
    bad = _BAD.search(told)
    match = _ERRORS.search(told)
    return (int(bad[1]) if bad else 0) + (sum(map(int, match.groups())) if match else 0)


def _groups(world: World, cell: Cell) -> dict[str, list[Path]]:
    """cgroup directories by who works in them."""
    client, server = world.row(CLIENT), world.row(world.server(cell.place))

    def of(row: dict[str, Any], kind: str) -> Path:
        return cgroup.directory(f"{world.paths.cgroup}/{row['cell']}/{row['guid']}/{kind}")

    return {
        "client": [of(client, "app")],
        "app": [of(server, "app")],
        "proxies": [of(client, "sidecar"), of(server, "sidecar")],
    }


def _cpu_us(groups: list[Path]) -> float:
    total = 0
    for group in groups:
        for line in (group / "cpu.stat").read_text(encoding="ascii").splitlines():
            name, _, value = line.partition(" ")
            if name == "usage_usec":
                total += int(value)
    return float(total)


def _steal() -> tuple[int, int]:
    """(stolen, all) jiffies since boot, proc(5)."""
    fields = Path("/proc/stat").read_text(encoding="ascii").split("\n", 1)[0].split()[1:]
    numbers = [int(field) for field in fields]
    return numbers[7], sum(numbers[:8])


def _proxy_memory(world: World, cell: Cell, variant: Variant) -> int:
    if variant.client not in ("ebpf", "iptables"):
        return 0
    pid = world.row(CLIENT)["sidecar_pid"]
    # The container's first process may be an init: the proxy is the one with the most memory.
    children = Path(f"/proc/{pid}/task/{pid}/children")
    pids = [pid, *map(int, children.read_text(encoding="ascii").split())]
    return max(map(private_kib, pids))


def private_kib(pid: int) -> int:
    """Private memory of a process, KiB (smaps_rollup); 0 for one that is gone."""
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii")
    except OSError:
        return 0
    rows = (line.split() for line in text.splitlines() if line.startswith("Private_"))
    return sum(int(row[1]) for row in rows)
