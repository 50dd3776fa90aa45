"""The demo's lines: each does something to a real lab, shows what came back, and judges it."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from meshnet.kernel import links, netns
from meshnet.model.modes import PROXIED
from netns_lab.stage import EXTERNAL, POLICY_PORTS, Stage
from netns_lab.traffic import Load, Reply

CONNECT_TIMEOUT_SECONDS, MARGIN_SECONDS = 1.0, 0.5
DENIED_WITHIN_SECONDS = 1.0


@dataclass(frozen=True)
class Shown:
    """What a line showed: real output, and whether it is as it should be."""

    output: tuple[str, ...]
    good: bool


@dataclass(frozen=True)
class Scenario:
    """One line of the demo."""

    title: str
    play: Callable[[Stage], Shown]
    # What only a proxy on the path can do; empty where every mode serves the line.
    needs_proxy: str = ""


def _line(reply: Reply) -> str:
    return f"{reply.status} in {reply.seconds * 1000:.0f} ms  {reply.body.strip()[:140]}"


def ingress(stage: Stage) -> Shown:
    """Requests from outside reach both instances, spread over the lab's cells."""
    replies = stage.outside.get(f"http://hello.{EXTERNAL}/", times=20)
    cells = {i["guid"]: i["cell"] for i in stage.instances("hello")}
    seen = Counter(cells.get(r.json().get("instance_guid", ""), "nowhere") for r in replies)
    output = (
        _line(replies[0]),
        "20 requests: " + ", ".join(f"{c} {n}" for c, n in sorted(seen.items())),
    )
    indexes = {r.json().get("instance_index") for r in replies}
    spread = min(2, len(stage.cells()))
    return Shown(output, indexes == {0, 1} and len(seen) == spread and "nowhere" not in seen)


def app_to_app(stage: Stage) -> Shown:
    """The frontend reaches the backend by its VIP."""
    stage.until(stage.via_frontend("backend"), lambda status: status == 200)
    # Without a proxy the instance is one of chance: 20 times the same one is none.
    times = 6 if stage.mode in PROXIED else 20
    replies = stage.outside.get(stage.via_frontend("backend"), times=times)
    indexes = {r.json().get("instance_index") for r in replies}
    output = tuple(_line(r) for r in replies[:2])
    return Shown(output, all(r.status == 200 for r in replies) and indexes == {0, 1})


def policy(stage: Stage) -> Shown:
    """Without a policy the same request fails fast; with one it arrives."""
    # The sidecar's answer, whose connection the kernel resets or which is shown no route any more;
    # or that of the frontend whose own connection is reset.
    refusals = (503, 404) if stage.mode in PROXIED else (502,)
    pair = stage.guids["frontend"], stage.guids["backend"]
    url = stage.via_frontend("backend")
    stage.client.deny(*pair, ports=POLICY_PORTS)
    try:
        stage.until(url, lambda status: status in refusals)
        denied = stage.outside.get(url)[0]
    finally:
        stage.client.allow(*pair, ports=POLICY_PORTS)
    stage.until(url, lambda status: status == 200)
    allowed = stage.outside.get(url)[0]
    good = denied.status in refusals and denied.seconds < DENIED_WITHIN_SECONDS
    output = (f"without: {_line(denied)}", f"with:    {_line(allowed)}")
    return Shown(output, good and allowed.status == 200)


def retries(stage: Stage) -> Shown:
    """Three single requests to an app that fails two of three all succeed."""
    stage.until(stage.via_frontend("flaky"), lambda status: status == 200)
    replies = [stage.outside.get(stage.via_frontend("flaky"))[0] for _ in range(3)]
    return Shown(tuple(_line(r) for r in replies), all(r.status == 200 for r in replies))


@contextmanager
def link_down(stage: Stage, app: str, index: int) -> Iterator[str]:
    """The host link of an instance, down for the length of the block."""
    row = stage.instances(app)[index]
    cell = netns.path(f"{stage.paths.lab}-{row['cell']}")
    links.apply(cell, [links.Change(row["veth"], up=False)])
    try:
        yield f"{row['cell']}:{row['veth']}"
    finally:
        links.apply(cell, [links.Change(row["veth"], up=True)])


def connect_timeout(stage: Stage) -> Shown:
    """With one backend's link down, the other answers within the connect timeout and 0.5 s."""
    url = stage.via_frontend("backend")
    with link_down(stage, "backend", 0) as link:
        replies = stage.outside.get(url, times=4)
    healed = _heal(stage, url)
    slowest = max(r.seconds for r in replies)
    good = all(r.status == 200 and r.json().get("instance_index") == 1 for r in replies)
    output = (
        f"{link} down: 4 requests, slowest {slowest:.2f} s",
        _line(replies[0]),
        f"{link} up again: both instances answer after {healed:.1f} s",
    )
    return Shown(output, good and slowest < CONNECT_TIMEOUT_SECONDS + MARGIN_SECONDS)


def _heal(stage: Stage, url: str) -> float:
    """Wait until both backends answer again, quickly; the seconds that took."""
    began = time.monotonic()
    while time.monotonic() - began < 15:
        replies = stage.outside.get(url, times=4)
        both = {r.json().get("instance_index") for r in replies} == {0, 1}
        if both and max(r.seconds for r in replies) < 0.5:
            return time.monotonic() - began
    raise TimeoutError("the backend whose link was down does not answer again")


def weighted_split(stage: Stage) -> Shown:
    """A route with weights 20 and 80 splits its requests so."""
    client, host = stage.client, f"split.{EXTERNAL}"
    hello, hola = stage.guids["hello"], stage.guids["hola"]
    route = client.route(EXTERNAL, "split") or client.create_route(EXTERNAL, "split")
    client.split_route(route["guid"], {hello: 20, hola: 80})
    stage.until(f"http://{host}/", lambda status: status == 200)
    replies = stage.outside.get(f"http://{host}/", times=200, fresh=False)
    seen = Counter(r.json().get("greeting", f"HTTP {r.status}") for r in replies)
    output = ("200 requests: " + ", ".join(f"{k} {n}" for k, n in sorted(seen.items())),)
    # 4 standard deviations of a fair 80 % draw of 200.
    return Shown(output, set(seen) == {"hello", "hola"} and abs(seen["hola"] - 160) <= 23)


def context_path(stage: Stage) -> Shown:
    """A longer path on the same host leads to another app."""
    stage.until(f"http://hello.{EXTERNAL}/hola", lambda status: status == 200)
    root = stage.outside.get(f"http://hello.{EXTERNAL}/")[0]
    below = stage.outside.get(f"http://hello.{EXTERNAL}/hola/x")[0]
    greetings = root.json().get("greeting"), below.json().get("greeting")
    output = (f"/        {_line(root)}", f"/hola/x  {_line(below)}")
    return Shown(output, greetings == ("hello", "hola"))


def scaling(stage: Stage) -> Shown:
    """Scaling from 1 to 3 instances fails no request."""
    guid, url = stage.guids["hola"], f"http://hello.{EXTERNAL}/hola"
    with Load(stage.outside, url) as load:
        stage.client.scale(guid, 3)
        stage.client.wait_running(guid)
        wanted = {i["guid"] for i in stage.instances("hola")}
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            seen = {r.json().get("instance_guid") for r in load.so_far()}
            if wanted <= seen:
                break
            time.sleep(0.05)
        replies = load.stop()
    stage.client.scale(guid, 1)
    failed = [r for r in replies if r.status != 200]
    answered = len({r.json().get("instance_guid") for r in replies if r.status == 200})
    output = (
        f"{len(replies)} requests meanwhile, {len(failed)} failed, {answered} instances answered",
    )
    return Shown(output, not failed and answered >= 3)


SCENARIOS = (
    Scenario("ingress over all cells", ingress),
    Scenario("app to app by VIP", app_to_app),
    Scenario("denied without a policy, allowed with one", policy),
    Scenario("retries: three requests to the flaky app", retries, "retries"),
    Scenario(
        "connect timeout: one backend's link is down", connect_timeout, "timeouts and retries"
    ),
    Scenario("weighted split 20:80", weighted_split),
    Scenario("context path", context_path),
    Scenario("scaling from 1 to 3 instances", scaling),
)
