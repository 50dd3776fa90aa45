"""The benchmark's own lab: a client, a server on its cell, and a server on another one."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from meshnet.bench import native_build
from meshnet.bench.plan import PLACES, Variant
from meshnet.cli.client import Client
from meshnet.kernel import launch, netns
from meshnet.model.errors import PlatformError
from netns_lab import lab, modes, status, topology
from netns_lab.paths import Paths

DOMAIN, PORT = "istio.apps.internal", 8080
CLIENT = "load"
_MOST_SERVERS = 6
_READY_SECONDS = 10.0
_DEFAULT_FILE = Path(topology.__file__).parent / "labs" / "default.yml"
# New connections by the ten thousand: not to be remembered for two minutes each.
_CONNTRACK = {"net.netfilter.nf_conntrack_tcp_timeout_time_wait": 1}

Progress = Callable[[str], None]


class World:
    """A lab that is up, with its client and servers. Owner: `close()`."""

    def __init__(self, progress: Progress) -> None:
        """Bring it up.

        Raises:
            MeshnetError: it did not come up; nothing is left of it.
        """
        self.paths = Paths(f"b{os.getpid() % 1_000_000}")
        wanted = topology.load(_DEFAULT_FILE, self.paths.lab)
        self._variant: tuple[str, Variant] | None = None
        lab.up(dataclasses.replace(wanted, underlay=topology.AUTO), progress)
        try:
            progress("pushing the client and the servers")
            self._client = self._push_all()
            for row in status.instances(self.paths):
                netns.sysctl(row["netns"], _CONNTRACK)
            for cell in status.cells(self.paths):
                netns.sysctl(f"{self.paths.lab}-{cell}", _CONNTRACK)
        except BaseException:
            self.close()
            raise

    def _push_all(self) -> Client:
        value = status.lab(self.paths)
        client = Client(value["cf_api"], value["cf_user"], value["cf_password"])
        directory = native_build.programs()
        self._push(client, CLIENT, directory)
        self._servers: dict[str, str] = {}
        for number in range(_MOST_SERVERS):
            name = f"answer-{number}"
            self._push(client, name, directory)
            same = self.row(name)["cell"] == self.row(CLIENT)["cell"]
            self._servers.setdefault(PLACES[0] if same else PLACES[1], name)
            if len(self._servers) == len(PLACES):
                return client
        raise PlatformError("no server was placed on each cell: the benchmark wants two cells")

    def _push(self, client: Client, name: str, directory: Path) -> None:
        app = client.push(name, directory, "./answer", memory_mb=128, instances=1)
        guid = app["guid"]
        client.act(guid, "start")
        if name != CLIENT:
            client.map_route(guid, DOMAIN, name)
            client.allow(client.app(CLIENT)["guid"], guid, ports=(PORT, PORT))
        client.wait_running(guid)
        self._guids = {**getattr(self, "_guids", {}), name: guid}

    def row(self, app: str) -> dict[str, Any]:
        """The one instance of an app, as its cell knows it."""
        rows = status.instances(self.paths)
        return next(row for row in rows if row["app_guid"] == self._guids[app])

    def server(self, place: str) -> str:
        """The server's app name."""
        return self._servers[place]

    def url(self, place: str) -> str:
        """Where the client asks."""
        return f"http://{self.server(place)}.{DOMAIN}:{PORT}/"

    def switch(self, place: str, variant: Variant) -> None:
        """Put client and server into a variant's modes, and wait until a request is answered.

        Raises:
            PlatformError: none was.
        """
        if self._variant == (place, variant):
            return
        modes.set_mode(self.paths, CLIENT, variant.client, sockmap=variant.sockmap)
        modes.set_mode(self.paths, self.server(place), variant.server)
        self._forget_connections(place)
        deadline = time.monotonic() + _READY_SECONDS
        while True:
            done = self.run(
                ["curl", "-sS", "-o", "/dev/null", "-w", "%{http_code}", self.url(place)]
            )
            if done.stdout.strip() == "200":
                break
            if time.monotonic() > deadline:
                why = done.stdout.strip() or done.stderr.strip()
                raise PlatformError(f"{variant.name}, {place}: no answer ({why})")
        self._variant = (place, variant)

    def _forget_connections(self, place: str) -> None:
        """Make the client's proxy connect anew: old connections keep the way they were made for.

        A segment of a connection that is no longer tracked finds no socket, and is answered by a
        reset.
        """
        where = netns.path(self.row(self.server(place))["netns"])
        line = launch.argv(["conntrack", "-F"], netns=where)
        subprocess.run(line, capture_output=True, check=True)

    def run(self, command: list[str], timeout: float = 60.0) -> subprocess.CompletedProcess[str]:
        """Run a command in the client's container, in its cgroup and so under its hooks.

        Raises:
            PlatformError: it did not end in time.
        """
        line = launch.argv(command, container_pid=self.row(CLIENT)["app_pid"])
        try:
            return subprocess.run(
                line, capture_output=True, text=True, check=False, timeout=timeout
            )
        except subprocess.TimeoutExpired as exc:
            raise PlatformError(f"{command[0]} did not end within {timeout:.0f} s") from exc

    def close(self) -> None:
        """Take the lab down; raises PlatformError where something is left."""
        if errors := lab.down(self.paths):
            raise PlatformError(f"lab {self.paths.lab}: {'; '.join(errors)}")
