"""`meshnet lab drain`: empty a cell without failing a request, or let it take instances again."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from meshnet.cli import complete
from meshnet.model.errors import NotFound, PeerError

if TYPE_CHECKING:
    from netns_lab.paths import Paths

_POLL_SECONDS = 0.2


def drain(
    cell: Annotated[str, typer.Argument(help="A cell.", autocompletion=complete.cells)],
    undo: Annotated[bool, typer.Option("--undo", help="Let it take instances again.")] = False,
    timeout: Annotated[
        float, typer.Option("--timeout", min=0, help="Seconds to wait until it is empty.")
    ] = 600.0,
    lab: Annotated[
        str | None,
        typer.Option("--lab", help="Its name; or set MESHNET_LAB.", autocompletion=complete.labs),
    ] = None,
) -> None:
    """Empty a cell: its instances serve on until others run elsewhere, then stop.

    Example: meshnet lab drain cell-1
    """
    from netns_lab import paths, status

    chosen = paths.chosen(lab)
    if cell not in (cells := status.cells(chosen)):
        raise NotFound(f"no cell {cell!r} in lab {chosen.lab}: it has {', '.join(cells)}")
    if status.put(chosen.socket(cell, "cell"), "/evacuate", {"evacuating": not undo}) is None:
        raise PeerError(f"the agent of {cell} does not answer (see meshnet lab logs {cell}.cell)")
    if undo:
        print(f"{cell} takes instances again")
        return
    began = time.monotonic()
    while left := _instances(chosen, cell):
        if time.monotonic() - began > timeout:
            raise PeerError(
                f"{cell} still serves {len(left)} instances that have no place elsewhere; they "
                "move as soon as there is one"
            )
        time.sleep(_POLL_SECONDS)
    print(f"{cell} is empty ({time.monotonic() - began:.1f} s); undo with --undo")


def _instances(chosen: Paths, cell: str) -> list[Any]:
    from netns_lab import status

    found = status.ask(chosen.socket(cell, "cell"))
    return ["the agent is away"] if found is None else list(found["instances"])
