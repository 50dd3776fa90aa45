"""From samples to rows: medians, ratios to direct with their intervals, CPU and memory. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from meshnet.bench.plan import BASELINE, VARIANTS, Cell
from meshnet.bench.sample import Sample
from meshnet.bench.stats import Interval, interval, ratio, said

TWIN = {"ebpf": "iptables", "ebpf-sockmap": "iptables"}
# Shares of the machine's time above which a sample was disturbed. What the kernel and the lab's
# daemons take is some 2 %.
STEAL_SHARE, OTHER_SHARE = 0.02, 0.1


@dataclass(frozen=True)
class Row:
    """A variant in a cell of the matrix.

    Attributes:
        ratio: requests a second over the baseline's of the same round; None for the baseline.
        twin: the same over its iptables twin's; None without one.
        paced_p50_us: of the fixed-rate load, as paced_p99_us; None where it did not run.
        errors: requests that failed, of all samples.
    """

    cell: Cell
    variant: str
    requests_per_second: Interval
    p50_us: float
    p99_us: float
    paced_p50_us: float | None
    paced_p99_us: float | None
    ratio: Interval | None
    twin: Interval | None
    cpu_ms: dict[str, float]
    proxy_private_kib: float
    errors: int
    samples: int


def rows(samples: Iterable[Sample], seed: int) -> list[Row]:
    """One for each variant in each cell, in the order of the plan."""
    groups: dict[tuple[Cell, str], dict[int, Sample]] = {}
    for one in samples:
        cell = Cell(one.place, one.kind, one.connections)
        groups.setdefault((cell, one.variant), {})[one.round] = one
    cells = list(dict.fromkeys(cell for cell, _ in groups))
    names = [v.name for v in VARIANTS]
    return [
        _row(cell, name, groups, seed) for cell in cells for name in names if (cell, name) in groups
    ]


def _row(
    cell: Cell, name: str, groups: dict[tuple[Cell, str], dict[int, Sample]], seed: int
) -> Row:
    own = groups[cell, name]
    every = list(own.values())
    paced = [s.paced for s in every if s.paced]

    def against(other: str) -> Interval | None:
        theirs = groups.get((cell, other), {})
        both = sorted(own.keys() & theirs.keys())
        if other == name or not both:
            return None
        return ratio(_rates(own, both), _rates(theirs, both), seed)

    return Row(
        cell=cell,
        variant=name,
        requests_per_second=interval([s.requests_per_second for s in every], seed),
        p50_us=median(s.p50_us for s in every),
        p99_us=median(s.p99_us for s in every),
        paced_p50_us=median(p["p50_us"] for p in paced) if paced else None,
        paced_p99_us=median(p["p99_us"] for p in paced) if paced else None,
        ratio=against(BASELINE),
        twin=against(TWIN[name]) if name in TWIN else None,
        cpu_ms={who: median(s.cpu_ms[who] for s in every) for who in every[0].cpu_ms},
        proxy_private_kib=median(s.proxy_private_kib for s in every),
        errors=sum(s.errors for s in every),
        samples=len(every),
    )


def _rates(group: dict[int, Sample], numbers: Sequence[int]) -> list[float]:
    return [group[n].requests_per_second for n in numbers]


HEADS = (
    "way", "req/s", "p50", "p99", "p50 at 1000/s", "p99", "against direct", "against iptables",
    "CPU ms/1000: client", "app", "proxies", "proxy MiB", "errors",
)  # fmt: skip


def cells(row: Row) -> tuple[str, ...]:
    """A row's texts under HEADS."""
    return (
        row.variant,
        f"{row.requests_per_second.value:,.0f}",
        micro(row.p50_us),
        micro(row.p99_us),
        micro(row.paced_p50_us) if row.paced_p50_us is not None else "",
        micro(row.paced_p99_us) if row.paced_p99_us is not None else "",
        _ratio(row.ratio),
        _ratio(row.twin),
        *(f"{row.cpu_ms[who]:.1f}" for who in ("client", "app", "proxies")),
        f"{row.proxy_private_kib / 1024:.1f}" if row.proxy_private_kib else "",
        str(row.errors) if row.errors else "",
    )


def _ratio(one: Interval | None) -> str:
    return f"{said(one)} [{one.low:.2f} {one.high:.2f}]" if one else ""


def micro(us: float) -> str:
    """Microseconds, short."""
    return f"{us:.0f} us" if us < 1000 else f"{us / 1000:.2f} ms"


def notes(result: dict[str, Any], samples: Sequence[Sample]) -> list[str]:
    """What a reader of the figures must know besides them, a line each."""
    found = [
        f"failed: {f['variant']}, {Cell(f['place'], f['kind'], f['connections'])}, "
        f"round {f['round']}: {f['why']}"
        for f in result["failed"]
    ]
    if not result["complete"]:
        why = result.get("ended") or "it did not end well"
        found.append(f"not complete ({why}): {len(samples)} samples")
    stolen = sum(s.steal > STEAL_SHARE for s in samples)
    other = sum(s.other > OTHER_SHARE for s in samples)
    if stolen:
        found.append(f"the host took over {STEAL_SHARE:.0%} of the CPU in {stolen} samples")
    if other:
        found.append(f"others used over {OTHER_SHARE:.0%} of the CPU in {other} samples")
    return found
