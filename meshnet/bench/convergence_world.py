"""The lab of `bench convergence`: real daemons and proxies, a cell of simulated containers."""

from __future__ import annotations

import dataclasses
import http.client
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from meshnet.bench.caller import Caller, now
from meshnet.bench.spent import Meter
from meshnet.cli.client import of_lab
from meshnet.kernel import launch, netns
from meshnet.model.errors import PeerError
from netns_lab import lab, pki, status, topology
from netns_lab.paths import Paths
from netns_lab.stage import APPS, COMMAND, EXTERNAL, INTERNAL, POLICY_PORTS

DEFAULT_FILE = Path(topology.__file__).parent / "labs" / "default.yml"
GIVE_UP_SECONDS = 20.0
SETTLE_SECONDS = 0.3
_PER_APP = 20  # instances of each app that the routes go to
_ROOM = 5000
_AT_ONCE = 4
_AGAIN = 3  # answers in a row that make a split certain
_MEMORY_MB = 32


class World:
    """Owner: `close()`, open or not."""

    def __init__(self, instances: int) -> None:
        self.paths = Paths(f"b{os.getpid() % 1_000_000}")
        self._instances = instances
        self._cell: subprocess.Popen[bytes] | None = None
        self._caller: Caller | None = None
        self._apps: list[str] = []
        self._named: dict[str, str] = {}
        self.routes = 0

    def open(self, progress: Callable[[str], None]) -> None:
        """Bring it up, with its instances and without routes. Raises MeshnetError."""
        wanted = topology.load(DEFAULT_FILE, self.paths.lab)
        # Two apps are real, for their sidecars; then the real cells are full.
        nodes = tuple(dataclasses.replace(n, room=1) if n.role == "cell" else n
                      for n in wanted.nodes)  # fmt: skip
        lab.up(dataclasses.replace(wanted, underlay=topology.AUTO, nodes=nodes), progress)
        value = status.lab(self.paths)
        self._routers = [n["address"] for n in value["nodes"] if n["role"] == "router"]
        self.client = of_lab(value)
        progress("pushing the two apps that have sidecars")
        for name in ("caller", "callee"):
            self._named[name] = self._push(name, APPS / "hello", COMMAND, 64, 1)
        self.client.map_route(self._named["callee"], INTERNAL, "callee")
        for name in ("caller", "callee"):
            self.client.wait_running(self._named[name])
        self._start_cell()
        count = max(1, self._instances // _PER_APP)
        progress(f"starting {self._instances} simulated instances of {count} apps")
        self._push_simulated(count)
        rows = {row["app_guid"]: row for row in status.instances(self.paths)}
        self._caller = Caller(int(rows[self._named["caller"]]["app_pid"]))
        self.meter = Meter(self.paths)

    def _push_simulated(self, count: int) -> None:
        with tempfile.TemporaryDirectory() as directory:
            (Path(directory) / "run").write_text("#!/bin/sh\nsleep 1d\n")
            (Path(directory) / "run").chmod(0o755)

            def push(name: str, instances: int) -> str:
                return self._push(name, Path(directory), "./run", _MEMORY_MB, instances)

            names = {f"sim-{n}": _PER_APP for n in range(count)}
            special = ("scaled", "left", "right")
            with ThreadPoolExecutor(_AT_ONCE) as pool:
                self._apps = [*pool.map(push, names, names.values())]
                self._named |= zip(special, pool.map(push, special, [1, 1, 1]), strict=True)
        for guid in [*self._apps, *self._named.values()]:
            self.client.wait_running(guid, seconds=120)
        for name in special[:2]:
            self.client.map_route(self._named[name], EXTERNAL, name)

    def _push(self, name: str, directory: Path, command: str, memory: int, instances: int) -> str:
        app = self.client.push(name, directory, command, memory_mb=memory, instances=instances)
        self.client.act(app["guid"], "start")
        return str(app["guid"])

    def _start_cell(self) -> None:
        value = status.lab(self.paths)
        node = next(n for n in value["nodes"] if n["role"] == "client")
        control = next(n for n in value["nodes"] if n["role"] == "control")
        tls = next(t for name, t in pki.used(self.paths).items() if name.endswith(".cell"))
        config = {"bbs_url": f"https://{control['address']}:8889", "cell_id": "simulated",
                  "address": node["address"], "room": _ROOM,
                  "tls": dataclasses.asdict(tls)}  # fmt: skip
        line = [sys.executable, "-m", "meshnet.bench.simulated_cell", json.dumps(config)]
        entered = launch.argv(line, netns=netns.path(node["netns"]))
        with (self.paths.log / "simulated.cell.log").open("ab") as log:
            self._cell = subprocess.Popen(entered, stdout=subprocess.PIPE, stderr=log)
        assert self._cell.stdout is not None
        if not self._cell.stdout.readline():
            said = (self.paths.log / "simulated.cell.log").read_text(encoding="utf-8")[-300:]
            raise PeerError(f"the simulated cell did not start: {said}")

    def close(self) -> None:
        """Take everything down. Raises PlatformError where something is left."""
        if self._caller:
            self._caller.close()
        if self._cell:
            self._cell.terminate()
            self._cell.wait()
        if errors := lab.down(self.paths):
            raise PeerError(f"lab {self.paths.lab}: {'; '.join(errors)}")

    def grow(self, routes: int, progress: Callable[[str], None]) -> None:
        """Have so many routes in all, each mapped to one of the apps; returns when they serve."""
        first, self.routes = self.routes, max(self.routes, routes)
        # As `map_route`, but without asking for each route whether it is there.
        relationships = {
            "space": {"data": {"guid": self.client.space}},
            "domain": {"data": {"guid": self.client.domain(EXTERNAL)["guid"]}},
        }

        def add(number: int) -> None:
            body = {"host": f"r{number}", "relationships": relationships}
            guid = self.client.post("/v3/routes", body)["guid"]
            app = {"guid": self._apps[number % len(self._apps)]}
            self.client.post(f"/v3/routes/{guid}/destinations", {"destinations": [{"app": app}]})

        began, step = time.monotonic(), 500
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            for low in range(first, self.routes, step):
                list(pool.map(add, range(low, min(low + step, self.routes))))
                if self.routes > step:
                    done = min(low + step, self.routes)
                    progress(f"{done} routes after {time.monotonic() - began:.0f} s")
        for router in self._routers:
            self._until(router, f"r{self.routes - 1}", lambda code, _: code == http.client.OK)

    # --- changes: each yields (kind, seconds to the first request served by the new state) ---

    def mapping(self, router: int, name: str, *, watch: bool) -> Iterator[tuple[str, float]]:
        """A route is mapped, and unmapped."""
        route = self.client.create_route(EXTERNAL, name)
        address = self._routers[router]
        body = {"destinations": [{"app": {"guid": self._apps[0]}}]}
        try:
            reply = self.client.post(f"/v3/routes/{route['guid']}/destinations", body)
            yield "map-route", self._took(address, name, watch, lambda code, _: code == 200)
            guid = reply["destinations"][0]["guid"]
            self.client.call("DELETE", f"/v3/routes/{route['guid']}/destinations/{guid}")
            yield "unmap-route", self._took(address, name, watch, lambda code, _: code == 404)
        finally:
            self.client.delete_route(route["guid"])

    def scaling(self, router: int, name: str, *, watch: bool) -> Iterator[tuple[str, float]]:
        """An app is scaled from 1 to 2 instances, and back."""
        app, address = self._named["scaled"], self._routers[router]
        self.client.scale(app, 2)
        yield "scale-up", self._took(address, "scaled", watch, lambda _, body: body[-1:] == b"1")
        self.client.scale(app, 1)
        yield (
            "scale-down",
            self._took(address, "scaled", watch, lambda _, body: body[-1:] == b"0", _AGAIN),
        )

    def weighing(self, router: int, name: str, *, watch: bool) -> Iterator[tuple[str, float]]:
        """Of two apps, the one that got every 100th request gets all others; and back."""
        route = self.client.route(EXTERNAL, "left")
        assert route is not None
        address = self._routers[router]
        for few, many in (("left", "right"), ("right", "left")):
            weights = {self._named[few]: 1, self._named[many]: 99}
            wanted = self._named[many].encode()
            self.client.split_route(route["guid"], dict(weights))
            yield (
                "weights",
                self._took(address, "left", watch, lambda _, b, w=wanted: b.startswith(w), _AGAIN),  # type: ignore[misc]
            )

    def allowing(self, router: int, name: str, *, watch: bool) -> Iterator[tuple[str, float]]:
        """A policy is added, and removed."""
        pair = self._named["caller"], self._named["callee"]
        self.client.allow(*pair, ports=POLICY_PORTS)
        yield "policy-add", self._took_caller(http.client.OK, watch)
        self.client.deny(*pair, ports=POLICY_PORTS)
        yield "policy-remove", self._took_caller(http.client.NOT_FOUND, watch)

    def _took_caller(self, code: int, watch: bool) -> float:
        assert self._caller is not None
        began = now()
        if not watch:
            time.sleep(SETTLE_SECONDS)
        self._caller.ask(f"http://callee.{INTERNAL}:8080/", code, GIVE_UP_SECONDS)
        return self._caller.answer(began)

    def _took(
        self, router: str, host: str, watch: bool, good: Callable[[int, bytes], bool],
        times: int = 1,
    ) -> float:  # fmt: skip
        began = now()
        if not watch:  # what the change costs is measured, without the requests that watch it
            time.sleep(SETTLE_SECONDS)
        return self._until(router, host, good, times) - began

    def _until(
        self, router: str, host: str, good: Callable[[int, bytes], bool], times: int = 1
    ) -> float:
        """When (CLOCK_MONOTONIC) the first of `times` good answers in a row came."""
        began = first = now()
        row = 0
        while row < times:
            asked = now()
            code, body = _get(router, f"{host}.{EXTERNAL}")
            if good(code, body):
                first, row = (now() if row == 0 else first), row + 1
            else:
                row = 0
            if asked - began > GIVE_UP_SECONDS:
                raise PeerError(f"{host}: not as it should be after {GIVE_UP_SECONDS} s: {code}")
        return first


def _get(router: str, host: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection(router, timeout=5)
    try:
        connection.request("GET", "/", headers={"Host": host})
        reply = connection.getresponse()
        return reply.status, reply.read()
    except (OSError, http.client.HTTPException):
        return 0, b""
    finally:
        connection.close()


@contextmanager
def closing(steps: Iterator[tuple[str, float]]) -> Iterator[Iterator[tuple[str, float]]]:
    """A change's steps, whose own cleaning up is done even where they are not all taken."""
    try:
        yield steps
    finally:
        steps.close()  # type: ignore[attr-defined]
