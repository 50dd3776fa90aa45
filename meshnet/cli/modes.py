"""`meshnet lab set-mode`."""

from __future__ import annotations

from typing import Annotated

import typer

from meshnet.cli import complete
from meshnet.model.errors import InputError


def set_mode(
    target: Annotated[
        str,
        typer.Argument(
            help="APP, or a cell for all apps without their own.", autocompletion=complete.places
        ),
    ],
    mode: Annotated[
        str,
        typer.Argument(
            help="ebpf, iptables, kernel, off; or default.", autocompletion=complete.modes
        ),
    ],
    sockmap: Annotated[bool, typer.Option("--sockmap", help="ebpf: splice app and proxy.")] = False,
    all_cells: Annotated[bool, typer.Option("--cell", help="TARGET is a cell, or `all`.")] = False,
    lab: Annotated[
        str | None,
        typer.Option("--lab", help="Its name; or MESHNET_LAB.", autocompletion=complete.labs),
    ] = None,
) -> None:
    """Choose how an app's connections to mesh names are carried; old connections live on.

    Example: meshnet lab set-mode frontend kernel
    """
    from netns_lab import lab as labs
    from netns_lab import modes, paths, status

    labs.need_root()
    chosen = paths.chosen(lab)
    if all_cells:
        cells = status.cells(chosen) if target == "all" else [target]
        for cell in cells:
            modes.set_cell_mode(chosen, cell, mode, sockmap=sockmap)
        print(f"{', '.join(cells)}: {mode}{' with sockmap' if sockmap else ''}")
        return
    if target in status.cells(chosen):
        raise InputError(f"{target} is a cell: add --cell to switch all of its apps")
    count = modes.set_mode(chosen, target, mode, sockmap=sockmap)
    print(f"{target}: {mode}{' with sockmap' if sockmap else ''} ({count} instances)")
