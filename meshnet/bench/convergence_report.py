"""Convergence: from samples to rows, a table, notes and a page. Pure but for writing the page."""

from __future__ import annotations

import html
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from statistics import median
from string import Template
from typing import Any

from meshnet.bench.spent import ARROWS, COMPONENTS, CONTROL_PLANE
from meshnet.bench.stats import Interval, interval, interval_of
from meshnet.model.errors import PlatformError

ALL = "all changes"
# p95 in ms at 1,000 routes, p99 at 10,000.
AIMS = ((1_000, 0.95, 100.0), (10_000, 0.99, 250.0))


@dataclass(frozen=True)
class Row:
    """One kind of change at one number of routes; times in ms, CPU in ms a change."""

    routes: int
    kind: str
    samples: int
    p50: Interval
    p95: Interval
    p99: Interval
    cpu_ms: dict[str, float]
    bytes: dict[str, float]

    @property
    def control_ms(self) -> float:
        """CPU of the whole control plane."""
        return sum(self.cpu_ms[name] for name in CONTROL_PLANE)


def rows(result: dict[str, Any]) -> list[Row]:
    """By number of routes, all changes first, then by kind."""
    found = []
    for size in dict.fromkeys(one["routes"] for one in result["samples"]):
        own = [one for one in result["samples"] if one["routes"] == size]
        kinds = dict.fromkeys(one["kind"] for one in own)
        for kind in (ALL, *sorted(kinds)):
            some = [one for one in own if kind in (ALL, one["kind"])]
            if made := _row(size, kind, some, result["seed"]):
                found.append(made)
    return found


def _row(size: int, kind: str, samples: Sequence[dict[str, Any]], seed: int) -> Row | None:
    times = [1000 * one["seconds"] for one in samples if one["seconds"] is not None]
    costs = [one for one in samples if one["cpu_ms"] is not None]
    if not times or not costs:
        return None
    return Row(
        size, kind, len(times), interval(times, seed),
        interval_of(times, seed, quantile(0.95)), interval_of(times, seed, quantile(0.99)),
        # A mean: what is spent in bursts is spent all the same.
        {name: sum(one["cpu_ms"][name] for one in costs) / len(costs) for name in COMPONENTS},
        {name: median(one["bytes"][name] for one in costs) for name in ARROWS},
    )  # fmt: skip


def quantile(share: float) -> Callable[[Sequence[float]], float]:
    """The nearest-rank quantile."""

    def of(values: Sequence[float]) -> float:
        return sorted(values)[max(0, ceil(len(values) * share) - 1)]

    return of


HEADS = (
    "routes", "change", "n", "p50 ms", "p95 ms", "p99 ms", "CPU ms: control plane",
    *COMPONENTS, "bytes: copilot → pilot", "pilot → Envoys",
)  # fmt: skip


def cells(row: Row) -> tuple[str, ...]:
    """A row's texts under HEADS."""
    return (
        f"{row.routes:,}", row.kind, str(row.samples),
        *(f"{one.value:.1f} [{one.low:.1f} {one.high:.1f}]" for one in (row.p50, row.p95, row.p99)),
        f"{row.control_ms:.1f}", *(f"{row.cpu_ms[name]:.1f}" for name in COMPONENTS),
        *(f"{row.bytes[name]:,.0f}" for name in ARROWS),
    )  # fmt: skip


def notes(result: dict[str, Any], found: Sequence[Row]) -> list[str]:
    """What the rows say of the aims, of memory, and of what went wrong."""
    lines = []
    whole = {row.routes: row for row in found if row.kind == ALL}
    for size, share, aim in AIMS:
        if row := whole.get(size):
            value = (row.p95 if share < 0.99 else row.p99).value
            word = "met" if value < aim else "MISSED"
            lines.append(f"aim p{share * 100:.0f} < {aim:.0f} ms at {size:,} routes: "
                         f"{value:.1f} ms, {word}")  # fmt: skip
    if len(whole) > 1:
        least, most = whole[min(whole)], whole[max(whole)]
        cpu = most.control_ms / max(0.01, least.control_ms)
        pushed = sum(most.bytes.values()) / max(1.0, sum(least.bytes.values()))
        lines.append(
            f"from {least.routes:,} to {most.routes:,} routes the control plane's CPU a change is "
            f"{cpu:.2f} times, the bytes {pushed:.2f} times what they were"
        )
    for size, memory in result["memory_mib"].items():
        parts = ", ".join(f"{name} {value:.0f}" for name, value in memory.items())
        lines.append(f"private memory at {int(size):,} routes, MiB of one: {parts}")
    lines += [f"failed: {f['routes']} routes, {f['change']}: {f['why']}" for f in result["failed"]]
    if not result["complete"]:
        lines.append("not complete")
    return lines


_PAGE = Template("""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>meshnet: convergence</title>
<style>
body { font: 16px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 90rem; color: #222; }
table { border-collapse: collapse; font-size: 13px; margin: .5rem 0 2rem; }
th, td { padding: .25rem .6rem; text-align: right; border-bottom: 1px solid #ddd; }
th:nth-child(2), td:nth-child(2) { text-align: left; } .note { color: #555; }
</style></head><body>
<h1>How long a change takes to be served</h1>
<p class="note">$machine</p>
<p class="note">From the API's answer to the first request served by the new state. $instances
instances on a simulated cell, 2 ingress and 2 sidecar Envoys, seed $seed, $rounds rounds;
brackets are 95 % bootstrap intervals. CPU and bytes are those of changes
that nobody watched by requests.</p>
<table><tr>$heads</tr>$rows</table>
<ul>$notes</ul>
</body></html>
""")


def write(path: Path, result: dict[str, Any], found: Sequence[Row]) -> None:
    """Write the page. Raises PlatformError."""
    m = result["machine"]
    machine = (
        f"{m['cpu']}, {m['cores']} cores, {m['memory_gib']} GiB"
        f"{', a virtual machine' if m['virtual'] else ''}; Linux {m['kernel']}, {m['system']}; "
        f"{m['envoy']}, Python {m['python']}; load average before {m['load_average'][0]:.1f}, "
        f"others used {m['busy']:.0%}"
    )
    text = _PAGE.substitute(
        machine=html.escape(machine),
        instances=result["instances"],
        seed=result["seed"],
        rounds=result["rounds"],
        heads="".join(f"<th>{html.escape(one)}</th>" for one in HEADS),
        rows="".join(
            "<tr>" + "".join(f"<td>{html.escape(one)}</td>" for one in cells(row)) + "</tr>"
            for row in found
        ),
        notes="".join(f"<li>{html.escape(one)}</li>" for one in notes(result, found)),
    )
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as exc:
        raise PlatformError(f"cannot write {path}: {exc.strerror}") from exc
