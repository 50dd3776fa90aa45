"""Tables for people."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import Any


def table(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Print columns aligned, cf's way: lower-case heads, three spaces between."""
    lines = [list(columns), *([str(cell) for cell in row] for row in rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(columns))]
    for line in lines:
        print("   ".join(f"{c:<{w}}" for c, w in zip(line, widths, strict=True)).rstrip())


def show_status(found: dict[str, Any]) -> None:
    """`meshnet lab status`."""
    print(f"lab {found['lab']}\n")
    now = time.time()
    table(
        ("daemon", "state", "pid", "restarts", "up for"),
        (
            (
                d["name"],
                "ready" if d["ready"] else "starting",
                d["pid"],
                d["restarts"],
                f"{now - d['since']:.0f} s",
            )
            for d in found["daemons"]
        ),
    )
    print()
    _instances(found)
    _proxies(found)
    _counters(found)


def _instances(found: dict[str, Any]) -> None:
    rows = [
        (r["guid"][:8], r["app_guid"][:8], r["index"], r["state"].lower(), name, r["address"],
         f"{r['host_port']}")
        for name, cell in found["cells"].items()
        for r in (cell or {"instances": []})["instances"]
    ]  # fmt: skip
    table(("instance", "app", "index", "state", "cell", "address", "host port"), sorted(rows))
    print()


def _proxies(found: dict[str, Any]) -> None:
    rows = []
    for name, pilot in found["pilots"].items():
        for p in (pilot or {"proxies": []})["proxies"]:
            step = "in step" if p["in_step"] else "behind" if p["connected"] else "away"
            rows.append((p["id"], name, step, p["pushes"], p["rejected"], p["last_error"]))
    table(("proxy", "pilot", "state", "pushes", "rejected", "last error"), rows)
    print()


def _counters(found: dict[str, Any]) -> None:
    rows = [
        (name, counter, count)
        for kind in ("lb", "cells")
        for name, node in found[kind].items()
        for counter, count in ((node or {}).get("counters") or {}).items()
    ]
    table(("node", "kernel counter", "count"), rows)
