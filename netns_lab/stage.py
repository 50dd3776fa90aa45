"""What the demo and the lab tests stand on: the sample apps, pushed through the public API."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from meshnet.cli.client import of_lab
from meshnet.model.modes import EBPF
from meshnet.model.patience import patient
from netns_lab import modes, status
from netns_lab.paths import Paths
from netns_lab.traffic import Node

APPS = Path(__file__).resolve().parent / "apps"
EXTERNAL, INTERNAL = "istio.mesh.lab", "istio.apps.internal"
COMMAND = "python3 -u app.py"
POLICY_PORTS = (8080, 8080)
SETTLE_SECONDS = 5.0
_POLL_SECONDS = 0.05


@dataclass(frozen=True)
class Sample:
    """A sample app: its name, directory, instances, greeting and routes (domain, host, path)."""

    name: str
    directory: str
    instances: int
    routes: tuple[tuple[str, str, str], ...]
    greeting: str = ""


SAMPLES = (
    Sample("hello", "hello", 2, ((EXTERNAL, "hello", ""),)),
    Sample("hola", "hello", 1, ((EXTERNAL, "hello", "/hola"),), greeting="hola"),
    Sample("frontend", "frontend", 1, ((EXTERNAL, "frontend", ""),)),
    Sample("backend", "backend", 2, ((INTERNAL, "backend", ""),)),
    Sample("flaky", "flaky", 1, ((INTERNAL, "flaky", ""),)),
)
POLICIES = (("frontend", "backend"), ("frontend", "flaky"))


class Stage:
    """A lab with the sample apps on it."""

    def __init__(self, paths: Paths) -> None:
        self.paths = paths
        lab = status.lab(paths)
        self.client = of_lab(lab)
        client_node = next(n for n in lab["nodes"] if n["role"] == "client")
        self.outside = Node(client_node["netns"], paths.resolv_conf())
        self.guids: dict[str, str] = {}
        self.mode = EBPF

    def set(self) -> float:
        """Push what is missing, start it, map routes and add policies; the seconds it took."""
        began = time.monotonic()
        client = self.client
        _ = client.space
        with ThreadPoolExecutor(len(SAMPLES)) as pool:
            for sample, guid in zip(SAMPLES, pool.map(self._push, SAMPLES), strict=True):
                self.guids[sample.name] = guid
        for source, destination in POLICIES:
            client.allow(self.guids[source], self.guids[destination], ports=POLICY_PORTS)
        for sample in SAMPLES:
            client.wait_running(self.guids[sample.name])
        return time.monotonic() - began

    def switch(self, mode: str) -> None:
        """Put every sample app into a redirection mode; "" leaves them in the frontend's."""
        if mode:
            for sample in SAMPLES:
                modes.set_mode(self.paths, sample.name, mode)
        self.mode = self.instances("frontend")[0]["mode"]

    def _push(self, sample: Sample) -> str:
        client = self.client
        known = {app["name"]: app for app in client.apps()}
        app = known.get(sample.name)
        if app is None or app["state"] != "STARTED":
            env = {"GREETING": sample.greeting} if sample.greeting else None
            app = client.push(
                sample.name, APPS / sample.directory, COMMAND, memory_mb=64, env=env,
                instances=sample.instances,
            )  # fmt: skip
            client.act(app["guid"], "start")
        elif client.process(app["guid"])["instances"] != sample.instances:
            client.scale(app["guid"], sample.instances)
        for domain, host, path in sample.routes:
            client.map_route(app["guid"], domain, host, path)
        return str(app["guid"])

    def instances(self, app: str) -> list[dict[str, Any]]:
        """An app's instances as its cells know them, by index."""
        rows = [r for r in status.instances(self.paths) if r["app_guid"] == self.guids[app]]
        return sorted(rows, key=lambda row: int(row["index"]))

    def cells(self) -> list[str]:
        """Names of the lab's cells."""
        return [n["name"] for n in status.lab(self.paths)["nodes"] if n["role"] == "cell"]

    def via_frontend(self, host: str, path: str = "/") -> str:
        """The URL that makes the frontend app fetch http://<host>.<internal domain>:8080<path>."""
        return f"http://frontend.{EXTERNAL}/proxy/{host}.{INTERNAL}:8080{path}"

    def until(
        self, url: str, good: Callable[[int], bool], seconds: float = SETTLE_SECONDS
    ) -> float:
        """Ask until the status is good; seconds it took. Raises TimeoutError."""
        began, seconds = time.monotonic(), patient(seconds)
        while True:
            reply = self.outside.get(url)[0]
            if good(reply.status):
                return time.monotonic() - began
            if time.monotonic() - began > seconds:
                raise TimeoutError(f"{url} still answers {reply.status} after {seconds:.0f} s")
            time.sleep(_POLL_SECONDS)
