"""`meshnet lab logs`: what a node's daemons say, or an app's instances with cell and sidecar."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from meshnet.cli import complete
from meshnet.cli.complete import places
from meshnet.model.errors import NotFound, PeerError

if TYPE_CHECKING:
    from meshnet.cli.log_merge import Source
    from netns_lab.paths import Paths

_KINDS = ("cell", "app", "sidecar")


def logs(
    target: Annotated[
        str, typer.Argument(help="NODE, NODE.ROOM, or APP[/INDEX].", autocompletion=places)
    ],
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Go on as lines come.")] = False,
    lines: Annotated[
        int, typer.Option("-n", "--lines", min=0, max=10**9, help="How many of each at first.")
    ] = 50,
    lab: Annotated[
        str | None,
        typer.Option("--lab", help="Its name; or set MESHNET_LAB.", autocompletion=complete.labs),
    ] = None,
) -> None:
    """Show the log of a node's daemons, or of an app's instances: cell, app and sidecar.

    Lines of several are in the order of their times, each with who says it.

    Example: meshnet lab logs hello/0 -f
    """
    from meshnet.cli.log_merge import merged
    from netns_lab import paths

    chosen = paths.chosen(lab)
    sources = _of_node(chosen, target) or _of_app(chosen, target)
    for line in merged(sources, lines, follow=follow):
        print(line, flush=follow)


def _of_node(chosen: Paths, target: str) -> list[Source]:
    """Logs of NODE.ROOM, or of all of NODE's rooms; none where TARGET is no node.

    Raises:
        NotFound: the node has no such room.
    """
    from meshnet.cli.log_merge import Source
    from netns_lab import status as lab_status

    if target == "supervisor":
        return [Source("", chosen.log / "supervisor.log")]
    nodes = [n["name"] for n in lab_status.lab(chosen)["nodes"]]
    node, _, room = target.partition(".")
    if node not in nodes:
        return []
    found = sorted(chosen.log.glob(f"{node}.*.log"))
    rooms = {p.name.split(".")[1]: p for p in found if p.name.count(".") == 2}  # no app's
    if not room and rooms:
        return [Source(f"{node}.{name}", path) for name, path in rooms.items()]
    if room in rooms:
        return [Source("", rooms[room])]
    has = f"it has {', '.join(rooms)}" if rooms else "no daemon runs there"
    raise NotFound(f"no log of {target}: {has}")


def _of_app(chosen: Paths, target: str) -> list[Source]:
    """Logs of an app's instances and sidecars; where none runs, of the one that ran last.

    Raises:
        NotFound: there is no such app or instance, or none of it ever ran.
    """
    from meshnet.cli.log_merge import Source
    from meshnet.cli.lookup import app_guid, instances

    name, slash, _ = target.partition("/")
    try:
        return [
            Source(f"{name}/{row['index']} {kind}", Path(row[f"{kind}_log"]), instance=True)
            for row in instances(chosen, target)
            for kind in _KINDS
        ]
    except (NotFound, PeerError):
        if slash:  # an instance that is not there must not show others
            raise
        guid = app_guid(chosen, name)
        files = sorted(chosen.log.glob(f"*.{guid}.*.log"), key=lambda p: p.stat().st_mtime)
        if not files:
            raise
    last = files[-1].name.split(".")[2]
    return [
        Source(f"{name} {path.name.split('.')[3]}", path, instance=True)
        for path in files
        if path.name.split(".")[2] == last
    ]
