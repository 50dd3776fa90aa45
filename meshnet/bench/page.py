"""A benchmark's result as one HTML page with its plots inside, fit for a talk."""

from __future__ import annotations

import base64
import html
from collections.abc import Sequence
from pathlib import Path
from string import Template
from typing import Any

from meshnet.bench import plots
from meshnet.bench.result import samples_of
from meshnet.bench.summary import HEADS, Row, cells, notes
from meshnet.model.errors import PlatformError

_PAGE = Template("""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>meshnet: redirection</title>
<style>
body { font: 16px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 80rem; color: #222; }
table { border-collapse: collapse; font-size: 14px; margin: .5rem 0 2rem; }
th, td { padding: .25rem .7rem; text-align: right; border-bottom: 1px solid #ddd; }
th:first-child, td:first-child, .ways td { text-align: left; }
th { font-weight: 600; } img { max-width: 100%; } .note { color: #555; }
</style></head><body>
<h1>Ways from an app to another</h1>
<p class="note">$machine</p>
<p class="note">$method</p>
<table class="ways">$ways</table>
$body
<h2>To be known</h2>$notes
</body></html>
""")
_METHOD = (
    "{rounds} rounds in ABBA order, seed {seed}, {seconds:g} s a sample, medians. Requests a "
    "second and their latency are wrk's, a closed loop at full speed; “at 1000/s” is a load at a "
    "fixed rate, its latency counted from when a request was due. Brackets and whiskers are 95 % "
    "bootstrap intervals, of ratios within a round; one that crosses 1 is no difference. CPU is "
    "that of the cgroups; proxy memory is the private memory of one proxy."
)


def write(path: Path, result: dict[str, Any], rows: Sequence[Row]) -> list[Path]:
    """Write the page, and its plots beside it as PNG files; returns the plots' paths.

    Raises:
        PlatformError: a file cannot be written.
    """
    found, parts = [], []
    groups = {cell: [r for r in rows if r.cell == cell] for cell in {r.cell: 0 for r in rows}}
    try:
        if len(groups) > 1:
            found.append(path.with_name("overview.png"))
            found[0].write_bytes(image := plots.overview(rows))
            parts.append(f"<h2>All at a glance</h2>{_embedded(image, 'overview')}")
        for number, (cell, own) in enumerate(groups.items()):
            found.append(path.with_name(f"plot-{number}.png"))
            found[-1].write_bytes(image := plots.cell(own))
            title = html.escape(str(cell))
            parts.append(f"<h2>{title}</h2>{_embedded(image, title)}{_table(own)}")
        path.write_text(_PAGE.substitute(_texts(result), body="\n".join(parts)), encoding="utf-8")
    except OSError as exc:
        raise PlatformError(f"cannot write {path}: {exc.strerror}") from exc
    return found


def _embedded(image: bytes, title: str) -> str:
    return f'<img alt="{title}" src="data:image/png;base64,{base64.b64encode(image).decode()}">'


def _texts(result: dict[str, Any]) -> dict[str, str]:
    m = result["machine"]
    virtual = ", a virtual machine" if m["virtual"] else ""
    machine = (
        f"{m['cpu']}, {m['cores']} cores, {m['memory_gib']} GiB{virtual}; Linux {m['kernel']}, "
        f"{m['system']}; {m['envoy']}, {m['wrk']}. Before: load average "
        f"{m['load_average'][0]:.1f}. Nothing is pinned to a core."
    )
    ways = "".join(
        f"<tr><td>{html.escape(v['name'])}</td><td>{html.escape(v['means'])}</td></tr>"
        for v in result["variants"]
    )
    lines = "".join(f"<li>{html.escape(n)}</li>" for n in notes(result, samples_of(result)))
    return {
        "machine": html.escape(machine),
        "method": html.escape(_METHOD.format_map(result)),
        "ways": ways,
        "notes": f"<ul>{lines}</ul>" if lines else "<p>Everything ran, undisturbed.</p>",
    }


def _table(rows: Sequence[Row]) -> str:
    head = "".join(f"<th>{html.escape(text)}</th>" for text in HEADS)
    body = "".join(
        "<tr>" + "".join(f"<td>{html.escape(text)}</td>" for text in cells(row)) + "</tr>"
        for row in rows
    )
    return f"<table><tr>{head}</tr>{body}</table>"
