"""A benchmark's plots, as PNG images. matplotlib takes a second to import: only where used."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from typing import Any

from meshnet.bench.plan import BASELINE
from meshnet.bench.stats import Interval
from meshnet.bench.summary import Row, micro

_COLOURS = {
    "direct": "#8c8c8c",
    "iptables": "#d98c3f",
    "iptables-both": "#b5541c",
    "ebpf": "#3f8fd9",
    "ebpf-sockmap": "#1c5fb5",
    "kernel": "#3fa65a",
}
_WHO = (("client", "#c9c9c9"), ("app", "#8c8c8c"), ("proxies", "#d9433f"))
_GREY = "#dddddd"
_ROOM = 1.3  # of an axis, for the figures beside the bars
_TICKS = (0.02, 0.05, 0.1, 0.2, 0.5, 1, 2)


def cell(rows: Sequence[Row]) -> bytes:
    """Throughput, latency and CPU of one cell of the matrix."""
    figure, ((rate, cpu), (full, paced)) = _figure(2, 2, (13, 7.5))
    _rates(rate, rows)
    _cpu(cpu, rows)
    _latencies(full, rows, lambda r: r.p50_us, lambda r: r.p99_us, "at full speed (wrk)")
    _latencies(
        paced, rows, lambda r: r.paced_p50_us or 0, lambda r: r.paced_p99_us or 0,
        "at 1,000 requests a second, from when they were due",
    )  # fmt: skip
    for axis in (rate, cpu, full, paced):
        axis.invert_yaxis()
        axis.set_xlim(right=axis.get_xlim()[1] * _ROOM)
    figure.suptitle(str(rows[0].cell), fontsize=15, fontweight="bold")
    return _png(figure)


def overview(rows: Sequence[Row]) -> bytes:
    """Every ratio to direct with its interval, a row for each cell of the matrix."""
    cells = list(dict.fromkeys(row.cell for row in rows))
    names = list(dict.fromkeys(row.variant for row in rows if row.ratio))
    figure, axis = _figure(1, 1, (13, 1.5 + 0.62 * len(cells)))
    for row in rows:
        if row.ratio:
            within = (names.index(row.variant) + 0.5) / len(names) - 0.5
            height = cells.index(row.cell) + 0.7 * within
            ends = [[row.ratio.value - row.ratio.low], [row.ratio.high - row.ratio.value]]
            axis.errorbar(row.ratio.value, height, xerr=ends, fmt="o", capsize=2,
                          color=_COLOURS.get(row.variant), label=row.variant)  # fmt: skip
    axis.axvline(1, color=_COLOURS[BASELINE], linestyle="--", linewidth=1)
    axis.set_yticks(range(len(cells)), [str(c) for c in cells])
    axis.set_xlabel("requests a second, direct = 1 (logarithmic)")
    axis.set_xscale("log")
    axis.set_xticks(_TICKS, [f"{tick:g}" for tick in _TICKS])
    axis.minorticks_off()
    axis.set_xlim(*_reach([row.ratio for row in rows if row.ratio]))
    axis.invert_yaxis()
    axis.grid(axis="x", color="#eeeeee")
    axis.set_axisbelow(True)
    marks, labels = axis.get_legend_handles_labels()
    by_name = dict(zip(labels, marks, strict=True))
    axis.legend([by_name[n] for n in names], names, frameon=False, ncols=len(names),
                loc="lower center", bbox_to_anchor=(0.4, 1))  # fmt: skip
    return _png(figure)


def _reach(ratios: Sequence[Interval]) -> tuple[float, float]:
    """Ends of the axis that holds all intervals, and 1."""
    return min(1.0, *(r.low for r in ratios)) / 1.2, max(1.0, *(r.high for r in ratios)) * 1.2


def _rates(axis: Any, rows: Sequence[Row]) -> None:
    values = [row.requests_per_second for row in rows]
    errors = [[v.value - v.low for v in values], [v.high - v.value for v in values]]
    axis.barh(_names(rows), [v.value for v in values], xerr=errors, color=_colours(rows), capsize=3)
    for place, v in enumerate(values):
        axis.text(v.high, place, f"  {v.value:,.0f}", va="center", fontsize=9)
    axis.xaxis.set_major_formatter("{x:,.0f}")
    axis.set_title("requests a second", loc="left")


def _latencies(
    axis: Any,
    rows: Sequence[Row],
    p50: Callable[[Row], float],
    p99: Callable[[Row], float],
    title: str,
) -> None:
    names = _names(rows)
    axis.barh(names, [p99(row) / 1000 for row in rows], color=_GREY)
    axis.barh(names, [p50(row) / 1000 for row in rows], color=_colours(rows))
    for place, row in enumerate(rows):
        text = f"  {micro(p50(row))}, {micro(p99(row))}"
        axis.text(p99(row) / 1000, place, text, va="center", fontsize=9)
    axis.set_title(f"latency, ms: p50 (colour) and p99 (grey),\n{title}", loc="left")


def _cpu(axis: Any, rows: Sequence[Row]) -> None:
    left = [0.0] * len(rows)
    for who, shade in _WHO:
        widths = [row.cpu_ms[who] for row in rows]
        axis.barh(_names(rows), widths, left=left, color=shade, label=who)
        left = [a + b for a, b in zip(left, widths, strict=True)]
    for place, total in enumerate(left):
        axis.text(total, place, f"  {total:.0f}", va="center", fontsize=9)
    axis.set_title("CPU, ms per 1,000 requests", loc="left")
    axis.legend(fontsize=9, frameon=False, loc="upper right")


def _names(rows: Sequence[Row]) -> list[str]:
    return [row.variant for row in rows]


def _colours(rows: Sequence[Row]) -> list[str]:
    return [_COLOURS.get(row.variant, "#777777") for row in rows]


def _figure(down: int, across: int, size: tuple[float, float]) -> tuple[Any, Any]:
    """A figure that needs no display and that no one else holds on to."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(down, across)
    for axis in figure.axes:
        axis.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _png(figure: Any) -> bytes:
    image = io.BytesIO()
    figure.savefig(image, format="png")
    return image.getvalue()
