"""`meshnet cf logs`: an app's log, from log-cache."""

from __future__ import annotations

import base64
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from meshnet.cli.cf_options import Name
from meshnet.cli.cf_session import session
from meshnet.cli.client import Client

# What the cf CLI asks for: all that log-cache has, from Go's zero time on.
_EVER, _RECENT_LINES = -6795364578871345152, 1000
_POLL_SECONDS = 0.25


def logs(
    name: Name,
    recent: Annotated[bool, typer.Option("--recent", help="What there is, and end.")] = False,
) -> None:
    """Show an app's log as it comes, until Ctrl-C; or what there is of it.

    Example: meshnet cf logs hello --recent
    """
    client = session()
    guid = client.app(name)["guid"]
    if recent:
        for line in newest(client, guid, _RECENT_LINES):
            print(line)
        return
    for envelope in _follow(client, guid):
        print(_line(envelope), flush=True)


def newest(client: Client, guid: str, lines: int, *, start: int = _EVER) -> list[str]:
    """The newest lines of an app's log, oldest first; of those since `start` (ns)."""
    found = _read(client, guid, start_time=start, limit=lines, descending="true")
    return [_line(envelope) for envelope in reversed(found)]


def _read(client: Client, guid: str, **query: Any) -> list[dict[str, Any]]:
    params = {"envelope_types": "LOG", **{k: str(v) for k, v in query.items()}}
    body = client.get(f"{client.log_cache()}/api/v1/read/{guid}", **params)
    found: list[dict[str, Any]] = body.get("envelopes", {}).get("batch", [])
    return found


def _follow(client: Client, guid: str) -> Iterator[dict[str, Any]]:
    start = time.time_ns()
    while True:
        found = _read(client, guid, start_time=start, limit=_RECENT_LINES)
        yield from found
        if found:
            start = int(found[-1]["timestamp"]) + 1
        else:
            time.sleep(_POLL_SECONDS)


def _line(envelope: dict[str, Any]) -> str:
    seconds = int(envelope["timestamp"]) / 1e9
    when = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-4]
    tags, log = envelope.get("tags", {}), envelope["log"]
    source = f"{tags.get('source_type', 'APP')}/{envelope.get('instance_id', '')}"
    text = base64.b64decode(log.get("payload", "")).decode("utf-8", "replace")
    return f"   {when}+0000 [{source}] {log.get('type', 'OUT')} {text}".rstrip()
