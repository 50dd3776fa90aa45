"""`meshnet cf events`: what was done to an app of late, and by whom."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from meshnet.cli.cf_options import Json, Name
from meshnet.cli.cf_session import session
from meshnet.cli.client import dump
from meshnet.cli.tables import one_line, table

_MOST = "50"
# What of an event's data is worth a line, in cf's order.
_KEYS = (
    *("index", "reason", "cell_id", "instance", "exit_description", "exit_status", "recursive"),
    *("disk_quota", "instances", "memory", "state", "command", "environment_json"),
)


def events(name: Name, json: Json = False) -> None:
    """Show what was done to an app, the newest first.

    Example: meshnet cf events hello
    """
    client = session()
    query = {"target_guids": client.app(name)["guid"], "order_by": "-created_at"}
    found = client.get("/v3/audit_events", per_page=_MOST, **query)["resources"]
    if json:
        return dump(found)
    if not found:
        return print("No events found.", file=sys.stderr)
    rows = ((_when(e), e["type"], e["actor"]["name"], _described(e["data"])) for e in found)
    table(("time", "event", "actor", "description"), rows)


def _when(event: Mapping[str, Any]) -> str:
    local = datetime.fromisoformat(event["created_at"].replace("Z", "+00:00")).astimezone()
    return local.strftime("%Y-%m-%dT%H:%M:%S.00%z")


def _described(data: Mapping[str, Any]) -> str:
    said = data.get("request", data)
    return one_line(", ".join(f"{key}: {said[key]}" for key in _KEYS if said.get(key) is not None))
