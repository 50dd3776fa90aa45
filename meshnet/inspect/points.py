"""Named points of a lab where packets can be seen: `frontend/0:eth0`, `cell-1:vtep`, `router-1`."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from meshnet.kernel import netns
from meshnet.model.errors import InputError, NotFound, PeerError
from netns_lab import status
from netns_lab.paths import Paths

VTEP, UNDERLAY = "silk-vtep", "eth0"
_APP_PLACES = ("eth0", "lo", "veth")
_CELL_PLACES = {"vtep": VTEP, "underlay": UNDERLAY}


@dataclass(frozen=True)
class Point:
    """An interface with a name.

    Attributes:
        netns: file of its network namespace; None = the host's.
        address: IPv4 address of the container or node it belongs to.
    """

    name: str
    netns: Path | None
    ifname: str
    address: str = ""


class Points:
    """All points of a lab."""

    def __init__(self, paths: Paths, apps: dict[str, str]) -> None:
        """Args: apps: name by guid."""
        rows, self._silent = status.heard(paths)
        self._lab = status.lab(paths)
        self._name = paths.lab
        self._nodes = {node["name"]: node for node in self._lab["nodes"]}
        self._rows: dict[str, dict[str, Any]] = {
            f"{apps.get(row['app_guid'], row['app_guid'][:8])}/{row['index']}": row for row in rows
        }

    def all(self) -> list[Point]:
        """Every point, the nodes' first."""
        texts = ["host", *self._nodes]
        for name, node in self._nodes.items():
            if node["role"] == "cell":
                texts.append(f"{name}:vtep")
        texts += [f"{name}:{place}" for name in sorted(self._rows) for place in _APP_PLACES]
        return [point for text in texts for point in self.resolve(text)]

    def resolve(self, text: str) -> list[Point]:
        """The points that a text names: one, or one for each instance of an app.

        Raises:
            NotFound: nothing in the lab has this name.
            PeerError: nothing that is known of has; an agent does not answer.
            InputError: it has no such place.
        """
        target, _, place = text.partition(":")
        if target == "host":
            return [Point(text, None, place or f"mn-{self._name}")]
        if target == "fabric":
            return [Point(text, netns.path(f"{self._name}-fabric"), place or "br0")]
        if target in self._nodes:
            return [self._node(text, self._nodes[target], place)]
        rows = {n: r for n, r in self._rows.items() if target in (n, n.partition("/")[0])}
        if not rows and self._silent:
            silence = status.silence(self._silent)
            raise PeerError(f"no point {target!r} that is known of; {silence}")
        if not rows:
            raise NotFound(self._unknown(target))
        return [self._instance(name, row, place) for name, row in sorted(rows.items())]

    def _node(self, text: str, node: dict[str, Any], place: str) -> Point:
        ifname = place or UNDERLAY
        if node["role"] == "cell":
            ifname = _CELL_PLACES.get(ifname, ifname)
        elif place == "underlay":
            ifname = UNDERLAY
        where = netns.path(node["netns"])
        names = interfaces(where)
        if ifname not in names:
            known = [*_CELL_PLACES, *names] if node["role"] == "cell" else names
            raise InputError(f"{node['name']} has no {place!r}: {', '.join(known)}")
        return Point(text, where, ifname, node["address"])

    def _instance(self, name: str, row: dict[str, Any], place: str) -> Point:
        place = place or "eth0"
        if place not in _APP_PLACES:
            raise InputError(f"{name} has no {place!r}: {', '.join(_APP_PLACES)}")
        if place == "veth":
            cell = netns.path(self._nodes[row["cell"]]["netns"])
            return Point(f"{name}:veth", cell, row["veth"], row["address"])
        return Point(f"{name}:{place}", netns.path(row["netns"]), place, row["address"])

    def _unknown(self, target: str) -> str:
        known = ["host", "fabric", *self._nodes, *sorted(self._rows)]
        near = difflib.get_close_matches(target, known, 3)
        what = f"did you mean {' or '.join(near)}?" if near else ", ".join(known)
        return f"no point {target!r} in lab {self._name}: {what}"


def interfaces(where: Path | None) -> list[str]:
    """Names of a namespace's interfaces."""
    import socket

    return netns.run(where, lambda: [name for _, name in socket.if_nameindex()])
