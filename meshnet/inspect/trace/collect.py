"""Collecting a trace's evidence around one request: captures, events, logs, conntrack, policies."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from meshnet.inspect import Lab
from meshnet.inspect.capture import Capture, Captured
from meshnet.inspect.decode import decode
from meshnet.inspect.flows import Flow, FlowEvents
from meshnet.inspect.points import Point
from meshnet.inspect.trace.model import Access, Behind, Evidence, Request, Seen
from meshnet.inspect.trace.send import Source
from meshnet.kernel import conntrack, netns
from meshnet.model.errors import InputError, MeshnetError, NotFound
from meshnet.model.modes import Redirection
from meshnet.proxy import access_log
from netns_lab import status

if TYPE_CHECKING:
    from meshnet.cli.client import Client

_MOST_INSTANCES = 80  # beyond that only those of the source and of apps it may call are watched
_LOG_SECONDS = 1.0
_SETTLE_SECONDS = 0.15  # observers look every 50 ms
_FILTER = "tcp or udp"
_LEAST_FAILURE = 400  # the HTTP status


class Collector:
    """Everything that watches while one request is sent."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self._rows = status.instances(lab.paths)
        self._nodes = {n["name"]: n for n in status.lab(lab.paths)["nodes"]}
        self.frames: list[Captured] = []
        self.points: list[Point] = []

    def source(self, text: str) -> Source:
        """Where to send from: a node, APP or APP/INDEX (the first instance). Raises NotFound."""
        if text in self._nodes:
            node = self._nodes[text]
            where = netns.path(node["netns"])
            return Source(text, node["address"], where, self.lab.paths.resolv_conf())
        if ":" in text:
            raise InputError(f"{text!r}: a trace starts at a node or an app, without a place")
        point = self.lab.resolve(text)[0]
        name = point.name.partition(":")[0]
        row = next(r for r in self._rows if r["address"] == point.address)
        if not row["app_pid"]:
            raise NotFound(f"{name} is {row['state'].lower()}: try again when it runs")
        return Source(name, point.address, netns.path(row["netns"]), container_pid=row["app_pid"])

    def mode(self, source: Source) -> str:
        """The redirection mode of an app; "" for a node."""
        row = next((r for r in self._rows if r["address"] == source.address), None)
        if row is None:
            return ""
        return str(Redirection(row["mode"], row["sockmap"]))

    def run(self, source: Source, act: Callable[[], Request]) -> Evidence:
        """Send by `act`, and collect what could be seen of it."""
        self.points = self._watched()
        logs = self._logs()
        sizes = {path: path.stat().st_size for path, _ in logs if path.exists()}
        # Instances come and go while the rest of the lab is watched.
        taps = Capture(self.points, _FILTER, skip_gone=True)
        with taps, FlowEvents(self.lab.paths) as events:
            request = act()
            access = self._access(logs, sizes, request)
            flows = _read(events)
            self.frames = taps.rest()
        rows, names = {r["address"]: r for r in self._rows}, self.lab.names
        row, failed = rows.get(source.address), not 0 < request.status < _LEAST_FAILURE
        return Evidence(
            request=request,
            seen=tuple(self._seen(request.marker)),
            flows=tuple(f for f in flows if f.time_ns >= request.began_ns - 1_000_000),
            access=tuple(access),
            conntrack=self._conntrack(rows),
            policies=tuple(self._policies()),
            clusters=self._clusters(row),
            mode=self.mode(source),
            hidden=self._hidden(row, request),
            behind=tuple(self._behind(request.host)) if failed and request.marker else (),
            silent=self._silent(row) if failed else (),
            host_ports={
                f"{self._nodes[r['cell']]['address']}:{r['host_port']}": names.address(a)
                for a, r in rows.items()
            },
        )

    def _watched(self) -> list[Point]:
        points = [p for p in self.lab.points() if p.netns is not None]
        if len(self._rows) > _MOST_INSTANCES:
            raise InputError(f"more than {_MOST_INSTANCES} instances run here: too many to watch")
        return points

    def _seen(self, marker: str) -> Iterable[Seen]:
        needle = marker.encode()
        for one in self.frames:
            packet = decode(one.frame.data, self.lab.vxlan_port)
            inner = packet.inner or packet
            yield Seen(
                time_ns=one.frame.time_ns,
                point=one.point.name,
                outgoing=one.frame.outgoing,
                packet=inner,
                outer=packet if packet.inner else None,
                marked=bool(marker) and needle in one.frame.data and _is_request(inner.note),
            )

    def _logs(self) -> list[tuple[Path, str]]:
        """(access log, proxy's name) of every proxy."""
        names = self.lab.names
        found = [
            (Path(r["sidecar_log"]), f"{names.app(r['app_guid'])}/{r['index']}") for r in self._rows
        ]
        routers = [n for n, node in self._nodes.items() if node["role"] == "router"]
        return found + [(self.lab.paths.log / f"{n}.ingress.log", n) for n in routers]

    def _access(
        self, logs: Sequence[tuple[Path, str]], sizes: dict[Path, int], request: Request
    ) -> list[Access]:
        """Lines with the request's marker; proxies write them a moment after they answer."""
        found: dict[str, Access] = {}
        deadline = time.monotonic() + _LOG_SECONDS
        wanted = 1 if self._proxied(request) else 0
        while True:
            for path, proxy in logs:
                if line := _line_with(path, sizes.get(path, 0), request.marker):
                    found[proxy] = Access(proxy, access_log.fields(line))
            if len(found) >= wanted or time.monotonic() > deadline:
                return list(found.values())
            time.sleep(0.02)

    def _proxied(self, request: Request) -> bool:
        return bool(request.remote[0]) and request.status != 0

    def _conntrack(self, rows: dict[str, Any]) -> dict[str, tuple[conntrack.Entry, ...]]:
        where = {self.lab.names.address(a): netns.path(r["netns"]) for a, r in rows.items()}
        where |= {
            n: netns.path(node["netns"])
            for n, node in self._nodes.items()
            if node["role"] == "cell"
        }
        found = {}
        for name, path in where.items():
            with contextlib.suppress(NotFound):
                found[name] = tuple(conntrack.entries(path))
        return found

    def _behind(self, host: str) -> list[Behind]:
        """The apps that the routes of a host lead to."""
        domains = status.lab(self.lab.paths)["domains"]
        internal = any(host.endswith(f".{d['name']}") for d in domains if d["internal"])
        routes = self._ask(lambda api: api.routes())
        found = {
            one["app"]["guid"]: (one["port"] or 0) if internal else 0
            for route in routes
            if route["url"].partition("/")[0] == host.lower()
            for one in route["destinations"]
        }
        apps = {a["guid"]: a for a in self._ask(lambda api: api.apps())} if found else {}
        return [
            Behind(apps[guid]["name"], port, apps[guid]["state"] == "STARTED")
            for guid, port in found.items()
            if guid in apps
        ]

    def _silent(self, row: dict[str, Any] | None) -> tuple[str, ...]:
        """Those on whose word a route depends: the Pilot of the source's proxy, or of ingress."""
        pilot = f"{row['cell']}.pilot" if row else "control.pilot"
        found: list[str] = status.collect(self.lab.paths)["silent"]
        return tuple(n for n in found if n in (pilot, "control.copilot"))

    def _ask(self, what: Callable[[Client], list[dict[str, Any]]]) -> list[dict[str, Any]]:
        """Ask the API; nothing where it does not answer."""
        from meshnet.cli.client import of_lab

        client = of_lab(status.lab(self.lab.paths))
        try:
            return what(client)
        except MeshnetError:
            return []
        finally:
            client.close()

    def _policies(self) -> list[dict[str, Any]]:
        rows = self._ask(lambda api: api.policies())
        app = self.lab.names.app
        return [
            {"source": app(r["source"]["id"]), "destination": app(r["destination"]["id"]),
             "protocol": r["destination"]["protocol"], **r["destination"]["ports"]}
            for r in rows
        ]  # fmt: skip

    def _hidden(self, row: dict[str, Any] | None, request: Request) -> tuple[str, ...]:
        """Apps behind the destination that the source's Pilot shows it no route to."""
        if row is None or not request.remote[0]:
            return ()
        address, port = request.remote
        socket = self.lab.paths.socket(row["cell"], "pilot")
        text = status.text(socket, f"/proxies/{row['guid']}/hidden/{address}/{port}")
        found = json.loads(text or '{"apps": []}')
        return tuple(self.lab.names.app(guid) for guid in found["apps"])

    def _clusters(self, row: dict[str, Any] | None) -> dict[str, tuple[str, ...]]:
        """Cluster to instances, as the source's own sidecar has them (Envoy's admin interface)."""
        if row is None:
            return {}
        path = self.lab.paths.run / "cells" / row["cell"] / "instances" / row["guid"]
        text = status.text(path / "envoy" / "admin.sock", "/clusters") or ""
        found: dict[str, list[str]] = {}
        for line in text.splitlines():
            name, _, rest = line.partition("::")
            address, _, fact = rest.partition("::")
            if fact.startswith("health_flags::"):
                found.setdefault(name, []).append(address)
        return {name: tuple(addresses) for name, addresses in found.items()}


def _is_request(note: str) -> bool:
    """Whether a payload's first line is a request's: an app may send its headers back."""
    return bool(note) and not note.startswith("HTTP/")


def _read(events: FlowEvents) -> list[Flow]:
    until = time.monotonic() + _SETTLE_SECONDS
    found: list[Flow] = []
    while (left := until - time.monotonic()) > 0:
        found += events.read(left)
    return found + events.rest()


def _line_with(path: Path, start: int, marker: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            file.seek(start)
            return next((line for line in file if marker in line), "")
    except OSError:
        return ""
