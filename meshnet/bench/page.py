"""A benchmark's result as one HTML page with its plots inside, fit for a talk."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Sequence
from pathlib import Path
from string import Template
from typing import Any

from meshnet.bench.summary import HEADS, Row, cells
from meshnet.model.errors import PlatformError

_COLOURS = {
    "direct": "#8c8c8c",
    "iptables": "#d98c3f",
    "iptables-both": "#b5541c",
    "ebpf": "#3f8fd9",
    "ebpf-sockmap": "#1c5fb5",
    "kernel": "#3fa65a",
}
_PAGE = Template("""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>meshnet: redirection</title>
<style>
body { font: 16px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 76rem; color: #222; }
table { border-collapse: collapse; font-size: 14px; margin: .5rem 0 2rem; }
th, td { padding: .25rem .7rem; text-align: right; border-bottom: 1px solid #ddd; }
th:first-child, td:first-child { text-align: left; }
th { font-weight: 600; } img { max-width: 100%; } .note { color: #555; }
</style></head><body>
<h1>Ways from an app to another</h1>
<p class="note">$machine</p>
<p class="note">$method</p>
$body
<h2>What could not run</h2>$failed
</body></html>
""")


def write(path: Path, result: dict[str, Any], rows: Sequence[Row]) -> list[Path]:
    """Write the page, and its plots beside it as PNG files; returns the plots' paths.

    Raises:
        PlatformError: a file cannot be written.
    """
    plots, parts = [], []
    try:
        for number, cell in enumerate(dict.fromkeys(row.cell for row in rows)):
            own = [row for row in rows if row.cell == cell]
            image = plot(own)
            file = path.with_name(f"plot-{number}.png")
            file.write_bytes(image)
            plots.append(file)
            data = base64.b64encode(image).decode()
            title = html.escape(str(cell))
            picture = f'<img alt="{title}" src="data:image/png;base64,{data}">'
            parts.append(f"<h2>{title}</h2>{picture}{_table(own)}")
        path.write_text(_PAGE.substitute(_texts(result), body="\n".join(parts)), encoding="utf-8")
    except OSError as exc:
        raise PlatformError(f"cannot write {path}: {exc.strerror}") from exc
    return plots


def _texts(result: dict[str, Any]) -> dict[str, str]:
    m = result["machine"]
    machine = (
        f"{m['cpu']}, {m['cores']} cores, {m['memory_gib']} GiB, Linux {m['kernel']}, "
        f"{m['system']}, {m['envoy']}, {m['wrk']}; load average before: {m['load_average'][0]:.1f}"
    )
    method = (
        f"{result['rounds']} rounds in ABBA order, seed {result['seed']}, "
        f"{result['seconds']:g} s a sample, medians; brackets are 95 % bootstrap intervals of the "
        "ratio within a round. A ratio whose interval crosses 1 is no difference."
    )
    failed = "".join(
        f"<li>{html.escape(f['place'])}, {html.escape(f['kind'])}, {f['connections']} connections, "
        f"{html.escape(f['variant'])}: {html.escape(f['why'])}</li>"
        for f in result["failed"]
    )
    return {
        "machine": html.escape(machine),
        "method": html.escape(method),
        "failed": f"<ul>{failed}</ul>" if failed else "<p>Everything ran.</p>",
    }


def _table(rows: Sequence[Row]) -> str:
    head = "".join(f"<th>{html.escape(text)}</th>" for text in HEADS)
    body = "".join(
        "<tr>" + "".join(f"<td>{html.escape(text)}</td>" for text in cells(row)) + "</tr>"
        for row in rows
    )
    return f"<table><tr>{head}</tr>{body}</table>"


def plot(rows: Sequence[Row]) -> bytes:
    """Throughput, latency and CPU of one cell of the matrix, side by side; a PNG."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    names = [row.variant for row in rows]
    colours = [_COLOURS.get(name, "#777777") for name in names]
    figure, (rate, latency, cpu) = pyplot.subplots(1, 3, figsize=(13, 4), dpi=150)
    values = [row.requests_per_second for row in rows]
    errors = [[v.value - v.low for v in values], [v.high - v.value for v in values]]
    bars = rate.barh(names, [v.value for v in values], xerr=errors, color=colours, capsize=3)
    rate.bar_label(bars, [f" {v.value:,.0f}" for v in values], fontsize=8, padding=4)
    rate.set_title("requests a second")
    rate.margins(x=0.25)
    latency.barh(names, [row.p99_us / 1000 for row in rows], color="#dddddd", label="p99")
    bars = latency.barh(names, [row.p50_us / 1000 for row in rows], color=colours, label="p50")
    latency.set_title("latency, ms: p50 (colour), p99 (grey)")
    left = [0.0] * len(rows)
    for who, shade in (("client", "#bbbbbb"), ("app", "#777777"), ("proxies", "#d9433f")):
        widths = [row.cpu_ms[who] for row in rows]
        cpu.barh(names, widths, left=left, color=shade, label=who)
        left = [a + b for a, b in zip(left, widths, strict=True)]
    cpu.set_title("CPU, ms per 1,000 requests")
    cpu.legend(fontsize=8, frameon=False)
    for axis in (rate, latency, cpu):
        axis.invert_yaxis()
        axis.spines[["top", "right"]].set_visible(False)
    figure.suptitle(str(rows[0].cell), fontsize=12)
    figure.tight_layout()
    image = io.BytesIO()
    figure.savefig(image, format="png")
    pyplot.close(figure)
    return image.getvalue()
