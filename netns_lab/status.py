"""What a lab is doing: its daemons, cells, instances and proxies, from their status sockets."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from meshnet.model.errors import NotFound
from meshnet.model.patience import patient
from netns_lab.paths import Paths

_TIMEOUT = 2.0
_NAMED = 4  # that many daemons are waited for by name
_MOST_ASKED = 32  # daemons at a time
NO_ANSWER = "no answer"
_CALLED = {"cell": "agent", "pilot": "Pilot", "copilot": "Copilot", "lb": "load balancer"}


def timeout() -> float:
    """Seconds that a daemon's status socket is given to answer."""
    return patient(_TIMEOUT)


class _Connection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=timeout())
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


def ask(path: Path) -> dict[str, Any] | None:
    """GET /status at a unix socket; None where nobody answers."""
    return _call(path, "GET", "/status", None)


def ask_all(sockets: Iterable[Path]) -> list[dict[str, Any] | None]:
    """Ask several at once: however many hang, it takes as long as one that does."""
    with ThreadPoolExecutor(_MOST_ASKED) as pool:
        return list(pool.map(ask, sockets))


def text(path: Path, what: str) -> str | None:
    """GET a text at a unix socket; None where nobody answers."""
    connection = _Connection(path)
    try:
        connection.request("GET", what)
        return connection.getresponse().read().decode("utf-8", "replace")
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()


def put(path: Path, what: str, body: dict[str, Any]) -> dict[str, Any] | None:
    """PUT at a unix socket; None where nobody answers."""
    return _call(path, "PUT", what, json.dumps(body))


def _call(path: Path, method: str, what: str, body: str | None) -> dict[str, Any] | None:
    connection = _Connection(path)
    try:
        connection.request(method, what, body)
        value: dict[str, Any] = json.loads(connection.getresponse().read())
        return value
    except (OSError, ValueError, http.client.HTTPException):
        return None
    finally:
        connection.close()


def lab(paths: Paths) -> dict[str, Any]:
    """The lab.json of a lab that is up. Raises NotFound where it is not."""
    try:
        value: dict[str, Any] = json.loads(paths.lab_json.read_text(encoding="utf-8"))
    except (OSError, ValueError) as exc:
        raise NotFound(f"lab {paths.lab!r} is not up: meshnet lab up") from exc
    return value


def _nodes(paths: Paths, role: str) -> list[str]:
    return [node["name"] for node in lab(paths)["nodes"] if node["role"] == role]


def cells(paths: Paths) -> list[str]:
    """Names of the lab's cells."""
    return _nodes(paths, "cell")


def collect(paths: Paths) -> dict[str, Any]:
    """Everything `lab status` shows; `silent` names the daemons that do not answer."""
    control, cells_ = _nodes(paths, "control"), _nodes(paths, "cell")
    asked = {
        "lb": (_nodes(paths, "lb"), "lb"),
        "cells": (cells_, "cell"),
        "copilot": (control, "copilot"),
        "pilots": ([*control, *cells_], "pilot"),
    }
    keys = [(key, node, room) for key, (nodes, room) in asked.items() for node in nodes]
    supervisor = ask(paths.supervisor_socket)
    answers = ask_all(paths.socket(node, room) for _, node, room in keys)
    found: dict[str, Any] = {"lab": paths.lab, **{key: {} for key in asked}}
    for (key, node, _), answer in zip(keys, answers, strict=True):
        found[key][node] = answer
    daemons = (supervisor or {"daemons": []})["daemons"]
    starting = {d["name"] for d in daemons if not d["ready"]}
    silent = {
        f"{node}.{room}"
        for (_, node, room), answer in zip(keys, answers, strict=True)
        if answer is None
    }
    # Others have no status to ask for, yet who is stopped answers nobody.
    silent |= {d["name"] for d in daemons if _stopped(d["pid"])}
    silent = silent - starting | ({"supervisor"} if supervisor is None else set())
    for daemon in daemons:
        state = "starting" if not daemon["ready"] else "ready"
        daemon["state"] = NO_ANSWER if daemon["name"] in silent else state
    return {**found, "daemons": daemons, "silent": sorted(silent)}


def _stopped(pid: int) -> bool:
    """Whether a process is stopped, by SIGSTOP or a debugger."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    return fields.rpartition(")")[2].split()[0] in "Tt"


def silence(names: Iterable[str]) -> str:
    """Who does not answer, and where to look, of daemons' names."""
    told = []
    for name in names:
        node, _, room = name.partition(".")
        who = f"{node}'s {_CALLED.get(room, room)}" if room else f"the {node}"
        told.append(f"{who} does not answer: meshnet lab logs {name}")
    return "; ".join(told)


def missing(paths: Paths) -> str:
    """What keeps the mesh from being ready, in words; empty when it is."""
    supervisor = ask(paths.supervisor_socket)
    if supervisor is None:
        return "the supervisor"
    waiting = [d["name"] for d in supervisor["daemons"] if not d["ready"]]
    if len(waiting) > _NAMED:
        return f"{len(waiting)} of {len(supervisor['daemons'])} daemons"
    if waiting:
        return ", ".join(waiting)
    for name in _nodes(paths, "lb"):
        balancer = ask(paths.socket(name, "lb")) or {"routers": []}
        if len(balancer["routers"]) < len(_nodes(paths, "router")):
            return "routers behind the load balancer"
    for name in _nodes(paths, "cell"):
        cell = ask(paths.socket(name, "cell"))
        if not cell or not cell["present"]:
            return f"{name} to be present at BBS"
    for name in _nodes(paths, "control"):
        pilot = ask(paths.socket(name, "pilot"))
        if not pilot or not pilot["synced_mcp"]:
            return f"Pilot on {name}"
    return _ingress(paths)


def _ingress(paths: Paths) -> str:
    """Ask ingress for a host that nobody has: its own 404 says that the whole way is open."""
    connection = http.client.HTTPConnection(lab(paths)["ingress"], timeout=_TIMEOUT)
    try:
        connection.request("GET", "/", headers={"Host": "nobody.invalid"})
        if connection.getresponse().status == http.client.NOT_FOUND:
            return ""
    except (OSError, http.client.HTTPException):
        pass
    finally:
        connection.close()
    return "ingress to answer"


def well(paths: Paths) -> bool:
    """Whether a lab is up and nothing of it is missing."""
    try:
        return not missing(paths)
    except (OSError, ValueError, KeyError, NotFound):
        return False


def instances(paths: Paths) -> list[dict[str, Any]]:
    """Every instance on every cell that answers, each with its cell's name."""
    return heard(paths)[0]


def heard(paths: Paths) -> tuple[list[dict[str, Any]], list[str]]:
    """`instances`, and the names of the agents that do not answer: theirs are not among them."""
    names = cells(paths)
    answers = ask_all(paths.socket(name, "cell") for name in names)
    rows = [
        {**row, "cell": name}
        for name, cell in zip(names, answers, strict=True)
        for row in (cell or {"instances": []})["instances"]
    ]
    silent = [f"{n}.cell" for n, cell in zip(names, answers, strict=True) if cell is None]
    return rows, silent
