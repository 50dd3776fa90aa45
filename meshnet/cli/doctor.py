"""`meshnet doctor`: what this kernel and machine can and cannot do, with a remedy a row; and
whether the certificates of labs that are up are about to end.
"""

from __future__ import annotations

import dataclasses
import json as json_module
import sys

from meshnet.kernel import probe
from meshnet.kernel.probe import Probe
from meshnet.model.errors import InputError

_MARK = {"ok": "[green]✓[/]", "advice": "[yellow]![/]", "missing": "[red]✗[/]"}


def doctor(json: bool) -> int:
    """Print the probes as a table, or as JSON.

    Returns:
        The exit status: 0, or 3 where something that every lab needs is missing, or a lab's
        certificate has expired.
    """
    rows = [*probe.run(), *_certificates()]
    if json:
        print(json_module.dumps([dataclasses.asdict(row) for row in rows], indent=2))
    elif not sys.stdout.isatty():
        from meshnet.cli import tables

        # A pipe has no width to fold to: a line a check, for grep.
        heads = ("state", "check", "found", "remedy")
        tables.table(heads, ((row.state, row.name, row.detail, row.remedy) for row in rows))
    else:
        from rich.console import Console
        from rich.table import Table

        table = Table(box=None, pad_edge=False, header_style="bold")
        for column in ("", "check", "found", "remedy"):
            table.add_column(column, overflow="fold")
        for row in rows:
            table.add_row(_MARK[row.state], row.name, row.detail, row.remedy)
        Console().print(table)
    return 3 if any(row.state == "missing" for row in rows) else 0


def _certificates() -> list[Probe]:
    from netns_lab import expiry, paths

    try:
        labs = [paths.Paths(name) for name in paths.labs()]
    except InputError:  # not root, who alone can look at a lab
        return []
    states = {expiry.OK: "ok", expiry.EXPIRING: "advice", expiry.EXPIRED: "missing"}
    found = ((lab.lab, ends) for lab in labs if (ends := expiry.of(lab)))
    return [
        Probe(f"certificates of lab {name}", states[ends.state], ends.text(), ends.remedy)
        for name, ends in found
    ]
