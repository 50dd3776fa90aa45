"""The proxies of a lab: what a user calls them, what Pilot and they themselves say."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from meshnet.cli import lookup
from meshnet.model.errors import NotFound
from netns_lab import status
from netns_lab.paths import Paths


@dataclass(frozen=True)
class Proxy:
    """One proxy.

    Attributes:
        name: APP/INDEX, or a router's name.
        id: Pilot's name for it.
        pilot: the node whose Pilot serves it.
        status: its row of that Pilot's status.
    """

    name: str
    id: str
    pilot: str
    status: dict[str, Any]
    _admin: Path
    _pilot_socket: Path

    def dump(self) -> dict[str, Any]:
        """Its own `config_dump`. Raises NotFound where it does not answer."""
        return _get(self._admin, "/config_dump?include_eds", f"the proxy of {self.name}")

    def wanted(self) -> dict[str, Any]:
        """What Pilot wants it to have: kind to name to body. Raises NotFound."""
        return _get(self._pilot_socket, f"/proxies/{quote(self.id)}", f"Pilot on {self.pilot}")


def every(chosen: Paths) -> list[Proxy]:
    """All proxies that a Pilot knows of, in order of names."""
    found = status.collect(chosen)
    names = lookup.app_names(chosen)
    instances = {
        row["guid"]: (f"{names.get(row['app_guid'], row['app_guid'][:8])}/{row['index']}", row)
        for row in status.instances(chosen)
    }
    made = []
    for node, pilot in found["pilots"].items():
        for row in (pilot or {"proxies": []})["proxies"]:
            if parts := row["id"].split("~")[1:]:  # router~ADDRESS~NODE~x
                name, admin = parts[1], chosen.run / "routers" / parts[1] / "admin.sock"
            else:
                name, _ = instances.get(row["id"], (row["id"], None))
                home = chosen.run / "cells" / node / "instances" / row["id"]
                admin = home / "envoy" / "admin.sock"
            made.append(Proxy(name, row["id"], node, row, admin, chosen.socket(node, "pilot")))
    return sorted(made, key=lambda one: _in_order(one.name))


def find(chosen: Paths, name: str) -> Proxy:
    """The proxy of APP (its first instance), APP/INDEX or a router.

    Raises:
        NotFound: none of that name; the message names what there is.
    """
    proxies = every(chosen)
    for one in proxies:
        if name in (one.name, one.id) or one.name.rpartition("/")[0] == name != "":
            return one
    have = ", ".join(one.name for one in proxies) or "none"
    raise NotFound(f"no proxy {name!r} (has: {have})")


def _in_order(name: str) -> tuple[str, int]:
    app, _, index = name.rpartition("/")
    return (app, int(index)) if index.isdecimal() else (name, 0)


def _get(path: Path, what: str, who: str) -> dict[str, Any]:
    text = status.text(path, what)
    try:
        value: dict[str, Any] = json.loads(text or "")
    except ValueError as exc:
        raise NotFound(f"{who} does not answer: meshnet lab status") from exc
    return value
