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
from meshnet.cli.client import Client, of_lab
from meshnet.kernel import launch, netns
from meshnet.model.errors import PeerError, PlatformError
from netns_lab import lab, modes, status, topology
from netns_lab.paths import Paths

DOMAIN, PORT = "istio.apps.internal", 8080
CLIENT = "load"
_MOST_SERVERS = 6
_READY_SECONDS = 10.0
_DEFAULT_FILE = Path(topology.__file__).parent / "labs" / "default.yml"
# New connections by the ten thousand are not to be remembered for minutes each.
_CONNTRACK = {"net.netfilter.nf_conntrack_tcp_timeout_time_wait": 1}
# All ways to a sidecar end at one address and port, but number their bytes apart: a SYN that meets
# another way's TIME_WAIT is refused at first, and each way would pay for the one before it.
_NO_TIME_WAIT = {"net.ipv4.tcp_max_tw_buckets": 0}


Progress = Callable[[str], None]


class World:
    """A lab with its client and servers, once it is open. Owner: `close()`, open or not."""

    def __init__(self) -> None:
        self.paths = Paths(f"b{os.getpid() % 1_000_000}")
        self._variant: tuple[str, Variant] | None = None
        self._servers: dict[str, str] = {}
        self._guids: dict[str, str] = {}

    def open(self, progress: Progress) -> None:
        """Bring it up.

        Raises:
            MeshnetError: it did not come up.
        """
        wanted = topology.load(_DEFAULT_FILE, self.paths.lab)
        programs = native_build.programs()
        lab.up(dataclasses.replace(wanted, underlay=topology.AUTO), progress)
        progress("pushing the client and the servers")
        value = status.lab(self.paths)
        client = of_lab(value)
        try:
            self._push_all(client, programs)
        finally:
            client.close()
        for row in status.instances(self.paths):
            netns.sysctl(row["netns"], _CONNTRACK | _NO_TIME_WAIT)
        for node in value["nodes"]:
            if node["role"] == "cell":
                netns.sysctl(node["netns"], _CONNTRACK)

    def _push_all(self, client: Client, directory: Path) -> None:
        self._push(client, CLIENT, directory)
        for number in range(_MOST_SERVERS):
            name = f"answer-{number}"
            self._push(client, name, directory)
            same = self.row(name)["cell"] == self.row(CLIENT)["cell"]
            self._servers.setdefault(PLACES[0] if same else PLACES[1], name)
            if len(self._servers) == len(PLACES):
                return
        raise PlatformError("no server was placed on each cell: the benchmark wants two cells")

    def _push(self, client: Client, name: str, directory: Path) -> None:
        app = client.push(name, directory, "./answer", memory_mb=128, instances=1)
        guid = app["guid"]
        client.act(guid, "start")
        if name != CLIENT:
            client.map_route(guid, DOMAIN, name)
            client.allow(client.app(CLIENT)["guid"], guid, ports=(PORT, PORT))
        client.wait_running(guid)
        self._guids[name] = guid

    def row(self, app: str) -> dict[str, Any]:
        """The one instance of an app, as its cell knows it. Raises PeerError: it is gone."""
        for row in status.instances(self.paths):
            if row["app_guid"] == self._guids[app]:
                return row
        raise PeerError(f"{app} does not run any more, or its cell's agent does not answer")

    def server(self, place: str) -> str:
        """The server's app name."""
        return self._servers[place]

    def url(self, place: str) -> str:
        """Where the client asks."""
        return f"http://{self.server(place)}.{DOMAIN}:{PORT}/"

    def switch(self, place: str, variant: Variant) -> None:
        """Put client and server into a variant's modes, and wait until a request is answered.

        Raises:
            MeshnetError: none was, or a mode could not be set; the next switch starts afresh.
        """
        if self._variant == (place, variant):
            return
        self._variant = None
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
                why = done.stderr.strip() or done.stdout.strip()
                raise PlatformError(f"{variant.name}, {place}: no answer ({why})")
        self._variant = (place, variant)

    def _forget_connections(self, place: str) -> None:
        """Make the client's proxy connect anew: old connections keep the way they were made for.

        They are ended at the client's end, where the proxy hears of it at once; a proxy that has
        to find out pays with a request for each. What conntrack remembers of the way before would
        give connections of the next one other ports.
        """
        client, server = self.row(CLIENT), self.row(self.server(place))
        old = ["ss", "--kill", "--tcp", "--no-header", "dst", server["address"]]
        _in(client["netns"], old)
        for row in (client, server):
            _in(row["netns"], ["conntrack", "-F"])

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


def _in(namespace: str, command: list[str]) -> None:
    line = launch.argv(command, netns=netns.path(namespace))
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    if done.returncode:
        raise PlatformError(f"{' '.join(command)}: {done.stderr.strip()[-200:]}")
