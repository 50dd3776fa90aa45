"""The proxies of a lab: what a user calls them, what Pilot and they themselves say."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from meshnet.cli import lookup
from meshnet.model.errors import NotFound, PeerError
from netns_lab import status
from netns_lab.paths import Paths


class NoAnswer(PeerError):
    """One who would know does not answer; told from 1, which says that something differs."""

    exit_status = 2


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
        """Its own `config_dump`. Raises NoAnswer where it does not answer."""
        text = status.text(self._admin, "/config_dump?include_eds")
        where = f"meshnet lab logs {self.name}"
        return _json(text, f"the proxy of {self.name} does not answer: {where}")

    def wanted(self) -> dict[str, Any]:
        """What Pilot wants it to have: kind to name to body. Raises NoAnswer."""
        text = status.text(self._pilot_socket, f"/proxies/{quote(self.id)}")
        return _json(text, status.silence([f"{self.pilot}.pilot"]))


def every(chosen: Paths) -> tuple[list[Proxy], list[str]]:
    """All proxies that a Pilot knows of, in order of names; the daemons that should tell of more,
    or of their names, and do not answer.
    """
    found = status.collect(chosen)
    names = lookup.app_names(chosen)
    instances = {
        row["guid"]: (f"{names.get(row['app_guid'], row['app_guid'][:8])}/{row['index']}", row)
        for cell in found["cells"].values()
        for row in (cell or {"instances": []})["instances"]
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
    silent = [name for name in found["silent"] if name.endswith((".pilot", ".cell"))]
    return sorted(made, key=lambda one: _in_order(one.name)), silent


def find(chosen: Paths, name: str) -> Proxy:
    """The proxy of APP (its first instance), APP/INDEX or a router.

    Raises:
        NotFound: none of that name; the message names what there is.
        NoAnswer: nor does everyone answer who would know.
    """
    proxies, silent = every(chosen)
    for one in proxies:
        if name in (one.name, one.id) or one.name.rpartition("/")[0] == name != "":
            return one
    have = ", ".join(one.name for one in proxies) or "none"
    if silent:
        raise NoAnswer(f"no proxy {name!r} that is known of; {status.silence(silent)}")
    raise NotFound(f"no proxy {name!r} (has: {have})")


def _in_order(name: str) -> tuple[str, int]:
    app, _, index = name.rpartition("/")
    return (app, int(index)) if index.isdecimal() else (name, 0)


def _json(text: str | None, otherwise: str) -> dict[str, Any]:
    try:
        value: dict[str, Any] = json.loads(text or "")
    except ValueError as exc:
        raise NoAnswer(otherwise) from exc
    return value
