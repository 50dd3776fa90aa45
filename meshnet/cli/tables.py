"""Tables for people."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import Any


def one_line(text: str) -> str:
    """Text that stays one line and moves no terminal: controls are shown, not sent."""
    words = " ".join(text.split())
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in words)


def table(columns: Sequence[str], rows: Iterable[Sequence[Any]], *, indent: str = "") -> None:
    """Print columns aligned, cf's way: lower-case heads, three spaces between."""
    lines = [list(columns), *([str(cell) for cell in row] for row in rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(columns))]
    for line in lines:
        text = "   ".join(f"{c:<{w}}" for c, w in zip(line, widths, strict=True))
        print(f"{indent}{text}".rstrip())


def show_status(found: dict[str, Any]) -> None:
    """`meshnet lab status`."""
    print(f"lab {found['lab']}\n")
    now = time.time()
    table(
        ("daemon", "state", "pid", "restarts", "up for"),
        (
            (
                d["name"],
                d["state"],
                d["pid"],
                d["restarts"],
                f"{now - d['since']:.0f} s",
            )
            for d in found["daemons"]
        ),
    )
    print()
    if silent := found["silent"]:
        from netns_lab.status import silence

        print(f"{silence(silent)}\nWhat only they know of is not shown.\n")
    if ends := found.get("certificates"):
        print(ends["text"] + (f": {ends['remedy']}" if ends["remedy"] else "") + "\n")
    if draining := [n for n, cell in found["cells"].items() if cell and cell.get("evacuating")]:
        print(f"being drained: {', '.join(draining)} (meshnet lab drain CELL --undo)\n")
    _instances(found)
    _proxies(found)
    _refusals(found)
    _counters(found)


def _app(found: dict[str, Any], row: dict[str, Any]) -> str:
    """An instance's app by its name, or by its guid where the API was not there to ask."""
    return str(found.get("apps", {}).get(row["app_guid"], row["app_guid"][:8]))


def _instances(found: dict[str, Any]) -> None:
    rows = [
        (f"{_app(found, r)}/{r['index']}", r["guid"][:8], r["state"].lower(), _mode(r), name,
         r["address"], r["host_port"], r.get("sidecar_pid") or "-", r.get("sidecar_restarts", 0))
        for name, cell in found["cells"].items()
        for r in (cell or {"instances": []})["instances"]
    ]  # fmt: skip
    heads = ("app/index", "instance", "state", "mode", "cell", "address", "host port",
             "sidecar pid", "restarts")  # fmt: skip
    table(heads, sorted(rows, key=_in_order))
    print()


def _in_order(row: Sequence[Any]) -> tuple[str, int, str]:
    app, _, index = row[0].rpartition("/")
    return app, int(index), row[1]


def _mode(row: dict[str, Any]) -> str:
    return f"{row.get('mode', '')}{' sockmap' if row.get('sockmap') else ''}"


def _proxies(found: dict[str, Any]) -> None:
    names = {
        r["guid"]: f"{_app(found, r)}/{r['index']}"
        for cell in found["cells"].values()
        for r in (cell or {"instances": []})["instances"]
    }
    rows = []
    for name, pilot in found["pilots"].items():
        for p in (pilot or {"proxies": []})["proxies"]:
            step = "in step" if p["in_step"] else "stale" if p["connected"] else "away"
            if p["held_back"]:
                step = "rejected " + ", ".join(one["name"] for one in p["held_back"])
            parts = p["id"].split("~")  # router~ADDRESS~NODE~x
            proxy = parts[2] if len(parts) == 4 else names.get(p["id"], p["id"])
            rows.append((proxy, name, step, p["pushes"], p["rejected"], p["last_error"]))
    table(("proxy", "pilot", "state", "pushes", "rejected", "last error"), rows)
    print()


def _refusals(found: dict[str, Any]) -> None:
    """What Copilot's sinks refused; nothing where they took all."""
    rows = [
        (sink["node"], sink["rejected"], sink["last_error"])
        for copilot in found["copilot"].values()
        for sink in (copilot or {"sinks": []})["sinks"]
        if sink["rejected"]
    ]
    if rows:
        table(("sink of copilot", "rejected", "last error"), rows)
        print()


def _counters(found: dict[str, Any]) -> None:
    rows = [
        (name, counter, count)
        for kind in ("lb", "cells")
        for name, node in found[kind].items()
        for counter, count in ((node or {}).get("counters") or {}).items()
    ]
    table(("node", "kernel counter", "count"), rows)
