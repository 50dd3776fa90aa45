"""`lab set-mode`: tell the cells how an app's connections are carried from now on."""

from __future__ import annotations

import time
from typing import Any

from meshnet.model.errors import InputError, MeshnetError, PeerError
from meshnet.model.modes import Redirection
from netns_lab import status
from netns_lab.paths import Paths

DEFAULT = "default"


def set_mode(paths: Paths, app: str, mode: str, *, sockmap: bool = False) -> int:
    """Switch an app on every cell; new connections follow, old ones live on.

    Args:
        app: its name.
        mode: a mode, or "default": the one of its cell.

    Returns:
        How many instances are in that mode now.

    Raises:
        InputError: there is no such mode, or it has no use for sockmap.
        NotFound: there is no such app.
        PeerError: a cell agent does not answer; every cell is as before.
    """
    redirection = _redirection(mode, sockmap=sockmap)
    guid = _app_guid(paths, app)
    _put(paths, status.cells(paths), guid, redirection)
    return sum(row["app_guid"] == guid for row in status.instances(paths))


def set_cell_mode(paths: Paths, cell: str, mode: str, *, sockmap: bool = False) -> None:
    """Switch the apps of a cell that have no mode of their own. Raises: as `set_mode`."""
    if cell not in status.cells(paths):
        raise InputError(f"no cell {cell!r}: {', '.join(status.cells(paths))}")
    _put(paths, [cell], "", _redirection(mode, sockmap=sockmap))


def _app_guid(paths: Paths, name: str) -> str:
    from meshnet.cli.client import of_lab

    return str(of_lab(status.lab(paths)).app(name)["guid"])


def _redirection(mode: str, *, sockmap: bool) -> Redirection | None:
    if mode == DEFAULT and not sockmap:
        return None
    return Redirection(mode, sockmap)


def _put(paths: Paths, cells: list[str], guid: str, redirection: Redirection | None) -> None:
    """On all cells, or on none."""
    done: list[tuple[str, Any]] = []
    try:
        for cell in cells:
            before = _ask(paths, cell, guid, redirection)
            done.append((cell, before))
    except MeshnetError:
        for cell, before in done:
            _ask(paths, cell, guid, Redirection(**before) if before else None)
        raise


def _ask(paths: Paths, cell: str, guid: str, redirection: Redirection | None) -> Any:
    body = {
        "app_guid": guid,
        "mode": redirection.mode if redirection else "",
        "sockmap": bool(redirection and redirection.sockmap),
        # CLOCK_MONOTONIC: an agent that hangs must not switch after we have said that it failed.
        "until": time.monotonic() + status.timeout() / 2,
    }
    answer = status.put(paths.socket(cell, "cell"), "/mode", body)
    if answer is None:
        raise PeerError(f"the agent of {cell} does not answer: meshnet lab logs {cell}.cell")
    if "error" in answer:
        raise PeerError(f"{cell}: {answer['error']}")
    return answer["before"]
