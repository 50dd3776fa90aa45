"""Nothing acknowledged is lost, whatever dies in the middle of it.

Interleavings: random changes of routes, mappings, weights, instances and policies through the
public API, with `kill -9` of random daemons at random moments of them. After each one the Envoys
and the kernel hold what a compile from nothing makes of the stores, the API shows everything it
acknowledged, and a route that nobody touched failed no request.

`--interleavings N` (20), `--seed N` (random, printed).
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from meshnet.model.errors import InputError, MeshnetError, NotFound
from meshnet.model.patience import patient
from netns_lab import status
from netns_lab.stage import APPS, COMMAND, EXTERNAL, INTERNAL, Stage
from netns_lab.traffic import Load

from . import compiled, last_words
from .test_faults import in_step

pytestmark = [pytest.mark.sudo, pytest.mark.timeout(7200)]

SECONDS = 40.0  # a daemon killed again and again is started again after 5 s at most
# A router's daemon is its Envoy, the data plane itself, and the lb needs a moment to notice.
SPARED = ("ingress",)
SOURCES, HOSTS, PORTS = 3, 4, (1, 7000)
State = dict[str, Any]


class Model:
    """What the API has acknowledged: routes to apps with weights, instances, policies."""

    def __init__(self) -> None:
        self.routes: dict[tuple[str, str], dict[str, int | None]] = {}
        self.instances: dict[str, int] = {}
        self.policies: set[tuple[str, str, int, int]] = set()


class Chaos:
    def __init__(self, stage: Stage, seed: int, directory: Path) -> None:
        self.stage, self.random, self.directory = stage, random.Random(seed), directory
        self.client, self.model = stage.client, Model()
        self.log: list[str] = []
        self.apps: dict[str, str] = {}

    # --- the world ---

    def set(self) -> None:
        for number in range(SOURCES):
            name = f"chaos-{number}"
            app = self.client.push(name, APPS / "hello", COMMAND, memory_mb=32, instances=1)
            self.client.act(app["guid"], "start")
            self.apps[name] = app["guid"]
            self.model.instances[name] = 1
        for guid in self.apps.values():
            self.client.wait_running(guid)

    def clear(self) -> None:
        for guid in self.apps.values():
            self.client.delete_app(guid)
        for domain, host in self.model.routes:
            if route := self.client.route(domain, host):
                self.client.delete_route(route["guid"])

    # --- one interleaving ---

    def interleave(self) -> None:
        for _ in range(self.random.randint(2, 5)):
            change = self.random.choice(
                (self.map, self.map, self.weights, self.unmap, self.delete, self.scale, self.allow,
                 self.deny)
            )  # fmt: skip
            with self.killing():
                change()

    @contextlib.contextmanager
    def killing(self) -> Iterator[None]:
        """Perhaps kill a daemon or two, a few milliseconds into the block."""
        victims = self.random.sample(self._daemons(), self.random.choice((0, 0, 1, 1, 2)))
        delays = [self.random.uniform(0, 0.06) for _ in victims]
        timers = [
            threading.Timer(delay, self._kill, (row,))
            for row, delay in zip(victims, delays, strict=True)
        ]
        for timer in timers:
            timer.start()
        try:
            yield
        finally:
            for timer in timers:
                timer.join()

    def _daemons(self) -> list[dict[str, Any]]:
        rows = status.collect(self.stage.paths)["daemons"]
        return sorted((r for r in rows if r["room"] not in SPARED), key=lambda r: str(r["name"]))

    def _kill(self, row: dict[str, Any]) -> None:
        now = {r["name"]: r for r in self._daemons()}[row["name"]]
        if now["pid"] == row["pid"] and now["pid"]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(now["pid"]), signal.SIGKILL)
            self.log.append(f"kill -9 {row['name']}")

    def until_acknowledged(self, what: str, call: Callable[[], Any]) -> Any:
        """Ask again until the API says yes: what it did not acknowledge may be done or not."""
        self.log.append(what)
        deadline = time.monotonic() + patient(SECONDS)
        while True:
            try:
                return call()
            except (InputError, NotFound) as exc:
                raise AssertionError(f"{what}: {exc}\n" + self.history()) from exc
            except MeshnetError as exc:
                assert time.monotonic() < deadline, f"{what}: {exc}\n" + self.history()
                time.sleep(0.1)

    # --- changes ---

    def _route(self) -> tuple[str, str]:
        domain = self.random.choice((EXTERNAL, EXTERNAL, INTERNAL))
        return domain, f"chaos-{self.random.randrange(HOSTS)}"

    def _app(self) -> str:
        return self.random.choice(sorted(self.apps))

    def _weighted(self, route: tuple[str, str]) -> bool:
        """Such a route's destinations change all together only."""
        return any(self.model.routes.get(route, {}).values())

    def map(self) -> None:
        route, app = self._route(), self._app()
        if self._weighted(route):
            return
        self.until_acknowledged(
            f"map {app} {route}", lambda: self.client.map_route(self.apps[app], *route)
        )
        self.model.routes.setdefault(route, {}).setdefault(app, None)

    def unmap(self) -> None:
        route, app = self._route(), self._app()
        if self._weighted(route):
            return
        self.until_acknowledged(
            f"unmap {app} {route}", lambda: self.client.unmap_route(self.apps[app], *route)
        )
        self.model.routes.get(route, {}).pop(app, None)

    def weights(self) -> None:
        if not self.model.routes:
            return
        route = self.random.choice(sorted(self.model.routes))
        chosen = self.random.sample(sorted(self.apps), self.random.randint(1, SOURCES))
        weights = {app: self.random.randint(1, 100) for app in chosen}

        def split() -> None:
            guid = self.client.route(*route)["guid"]  # type: ignore[index]
            self.client.split_route(guid, {self.apps[a]: w for a, w in weights.items()})

        self.until_acknowledged(f"split {route} {weights}", split)
        self.model.routes[route] = dict(weights)

    def delete(self) -> None:
        route = self._route()

        def delete() -> None:
            if found := self.client.route(*route):
                self.client.delete_route(found["guid"])
                assert self.client.route(*route) is None

        self.until_acknowledged(f"delete {route}", delete)
        self.model.routes.pop(route, None)

    def scale(self) -> None:
        app, count = self._app(), self.random.randint(1, 2)
        self.until_acknowledged(
            f"scale {app} {count}", lambda: self.client.scale(self.apps[app], count)
        )
        self.model.instances[app] = count

    def _policy(self) -> tuple[str, str, int, int]:
        start = self.random.randint(*PORTS)
        return self._app(), self._app(), start, start + self.random.choice((0, 0, 5, 1000))

    def allow(self) -> None:
        policy = self._policy()
        self.until_acknowledged(f"allow {policy}", lambda: self._call(self.client.allow, policy))
        self.model.policies.add(policy)

    def deny(self) -> None:
        known = sorted(self.model.policies)
        policy = self.random.choice(known) if known else self._policy()
        self.until_acknowledged(f"deny {policy}", lambda: self._call(self.client.deny, policy))
        self.model.policies.discard(policy)

    def _call(self, call: Callable[..., Any], policy: tuple[str, str, int, int]) -> None:
        source, destination, start, end = policy
        call(self.apps[source], self.apps[destination], ports=(start, end))

    # --- what must hold ---

    def settle(self) -> float:
        """Wait until everything that must hold does; the seconds it took."""
        began, found = time.monotonic(), ["never looked"]
        seen: dict[str, int] = {}
        while found:
            if time.monotonic() - began > patient(SECONDS):
                raise AssertionError("\n".join([*found, f"{seen}", self.history(), self.logs()]))
            time.sleep(0.1)
            try:
                found = self.wrong()
            except (MeshnetError, OSError) as exc:  # a daemon or an instance on its way
                found = [f"{type(exc).__name__}: {exc}"]
            if found:
                seen[found[0]] = seen.get(found[0], 0) + 1
        return time.monotonic() - began

    def wrong(self) -> list[str]:
        if not in_step(self.stage):
            return ["a proxy is not in step, or a Pilot not there"]
        stores = compiled.read(self.stage.paths, self.directory)
        return self._lost() or self._not_told(stores) or self._differing(stores)

    def _differing(self, stores: compiled.Stores) -> list[str]:
        return compiled.differences(self.stage.paths, stores)

    def _lost(self) -> list[str]:
        """What the API acknowledged and does not show."""
        names = {guid: name for name, guid in self.apps.items()}
        domains = {self.client.domain(d)["guid"]: d for d in (EXTERNAL, INTERNAL)}
        shown = {
            (domains.get(r["relationships"]["domain"]["data"]["guid"], ""), r["host"]): {
                names.get(d["app"]["guid"], "?"): d["weight"] for d in r["destinations"]
            }
            for r in self.client.routes()
            if r["host"].startswith("chaos-")
        }
        found = [] if shown == self.model.routes else [f"routes {shown} != {self.model.routes}"]
        for name, count in self.model.instances.items():
            if (now := self.client.process(self.apps[name])["instances"]) != count:
                found.append(f"{name} has {now} instances, not {count}")
            running = [i for i in self.client.stats(self.apps[name]) if i["state"] == "RUNNING"]
            if len(running) != count:
                found.append(f"{len(running)} of {count} instances of {name} run")
        policies = {
            (
                names[p["source"]["id"]],
                names[p["destination"]["id"]],
                p["destination"]["ports"]["start"],
                p["destination"]["ports"]["end"],
            )
            for p in self.client.policies()
            if p["source"]["id"] in names
        }
        if policies != self.model.policies:
            found.append(f"policies {policies ^ self.model.policies} differ")
        return found

    def _not_told(self, stores: compiled.Stores) -> list[str]:
        """What the Cloud Controller has and Copilot does not, or differently."""
        hosts = {guid: route.host for guid, route in stores.copilot.routes.items()}
        known: dict[str, dict[str, int]] = {
            host: {} for host in hosts.values() if host.startswith("chaos-")
        }
        for (route, process), weight in stores.copilot.mappings.items():
            if hosts.get(route, "").startswith("chaos-"):
                known[hosts[route]][process] = weight
        wanted = {
            f"{host}.{domain}": {self.apps[app]: weight or 1 for app, weight in to.items()}
            for (domain, host), to in self.model.routes.items()
        }
        return [] if known == wanted else [f"Copilot has {known}, not {wanted}"]

    def logs(self) -> str:
        """The lab's last words, for it is gone when the failure is read."""
        files = sorted(self.stage.paths.log.glob("*.log"))
        files = [f for f in files if not f.name.endswith((".app.log", ".etcd.log"))]
        tails = [(f.name, f.read_text("utf-8", "replace").splitlines()[-6:]) for f in files]
        instances = [str(row) for row in status.instances(self.stage.paths)]
        return "\n".join(
            [
                *instances,
                *(f"{name}: {line}" for name, tail in tails for line in tail),
                *last_words.of_proxies(self.stage.paths),
            ]
        )

    def history(self) -> str:
        return "what happened:\n  " + "\n  ".join(self.log[-40:])


@pytest.fixture
def chaos(stage: Stage, pytestconfig: pytest.Config, tmp_path: Path) -> Iterator[Chaos]:
    seed = pytestconfig.getoption("--seed")
    seed = random.SystemRandom().randrange(2**32) if seed is None else seed
    print(f"\nseed {seed}")
    made = Chaos(stage, seed, tmp_path)
    made.set()
    yield made
    made.clear()


def test_random_interleavings_lose_nothing(chaos: Chaos, pytestconfig: pytest.Config) -> None:
    count, began, slowest = pytestconfig.getoption("--interleavings"), time.monotonic(), 0.0
    stage = chaos.stage
    stage.until(stage.via_frontend("backend"), lambda code: code == 200)
    with (
        Load(stage.outside, f"http://hello.{EXTERNAL}/") as outside,
        Load(stage.outside, stage.via_frontend("backend")) as inside,
    ):
        chaos.settle()
        for number in range(count):
            chaos.log.append(f"--- {number}")
            chaos.interleave()
            slowest = max(slowest, chaos.settle())
            failed = [r for r in (*outside.so_far(), *inside.so_far()) if r.status != 200]
            assert failed == [], chaos.history()
        replies = [*outside.stop(), *inside.stop()]
    assert [r for r in replies if r.status != 200] == [], chaos.history()
    kills = sum(line.startswith("kill") for line in chaos.log)
    changes = len(chaos.log) - kills - count
    print(
        f"{count} interleavings, {changes} changes, {kills} kills, {len(replies)} requests to "
        f"untouched routes in {time.monotonic() - began:.0f} s; slowest to settle {slowest:.1f} s"
    )
