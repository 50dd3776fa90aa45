"""`meshnet observe`: live flows."""

from __future__ import annotations

import json as json_module
import sys
import time
from typing import Annotated

import typer

from meshnet.cli import complete
from meshnet.model.errors import InputError

_SECONDS = 5.0
_LOOK_SECONDS = 0.2  # so often a Ctrl-C is looked for


def observe(
    app: Annotated[str, typer.Option("--app", help="APP or APP/INDEX at either end.")] = "",
    verdict: Annotated[str, typer.Option("--verdict", help="allowed or denied.")] = "",
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Until Ctrl-C.")] = False,
    seconds: Annotated[float, typer.Option("--for", help="Seconds, without --follow.")] = _SECONDS,
    count: Annotated[int, typer.Option("-c", "--count", help="Stop after so many.")] = 0,
    json: Annotated[bool, typer.Option("--json", help="An object a line.")] = False,
    lab: Annotated[
        str | None,
        typer.Option("--lab", help="Its name; or MESHNET_LAB.", autocompletion=complete.labs),
    ] = None,
) -> None:
    """Show connects, verdicts with their reasons, and ends of flows, as they happen.

    Example: meshnet observe --app frontend --verdict denied --follow
    """
    from meshnet.cli.stopping import stopping
    from meshnet.inspect.flow_text import Carried, Wanted, fields, line
    from meshnet.inspect.flows import FlowEvents
    from meshnet.inspect.names import Names
    from netns_lab import paths, status
    from netns_lab.lab import need_root

    need_root()
    if verdict not in ("", "allowed", "denied"):
        raise InputError(f"--verdict is allowed or denied, not {verdict!r}")
    chosen = paths.chosen(lab)
    names, wanted, carried = Names(chosen), Wanted(app, verdict), Carried()
    if app:
        _check_app(app, {names.app(r["app_guid"]) for r in status.instances(chosen)})
    shown, until = 0, time.monotonic() + seconds
    with FlowEvents(chosen) as events, stopping() as stop:
        print("watching; Ctrl-C ends" if follow else f"watching {seconds:g} s", file=sys.stderr)
        ended = False
        while not ended and not (count and shown >= count):
            left = _LOOK_SECONDS if follow else min(_LOOK_SECONDS, until - time.monotonic())
            flows = events.read(max(0.0, left))
            ended = stop() or (not follow and time.monotonic() >= until)
            for flow in flows + (events.rest() if ended else []):
                mode = carried.mode(flow)
                if not wanted.shows(flow, names.address) or (count and shown >= count):
                    continue
                shown += 1
                if json:
                    print(json_module.dumps(fields(flow, mode, names)))
                else:
                    print(line(flow, mode, names))
            sys.stdout.flush()
        print(f"{shown} events shown, {events.lost} lost", file=sys.stderr)


def _check_app(app: str, apps: set[str]) -> None:
    if app.partition("/")[0] not in apps:
        raise InputError(f"no app {app!r} runs in this lab: {', '.join(sorted(apps))}")
