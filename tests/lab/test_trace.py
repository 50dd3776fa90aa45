"""Traces of real requests, in each mode and over each way, against captures of their own."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from meshnet.inspect import Lab
from meshnet.model.modes import MODES
from netns_lab import modes
from netns_lab.stage import Stage

from .conftest import meshnet
from .test_modes import URL, modal

__all__ = ["modal"]
pytestmark = pytest.mark.sudo
TRIES = 24  # an instance is chosen by turns or by chance


def trace(stage: Stage, *args: str, status: int = 0) -> dict[str, Any]:
    done = meshnet("trace", *args, "--json", lab=stage.paths.lab)
    assert done.returncode == status, (done.stdout, done.stderr)
    value: dict[str, Any] = json.loads(done.stdout)
    return value


def way(found: dict[str, Any]) -> list[str]:
    """The points where the request was captured, in order."""
    return [h["where"] for h in found["hops"] if h["what"].startswith("→ ") and not h["inferred"]]


def expected(stage: Stage, mode: str, index: int) -> list[str]:
    own, far = stage.instances("frontend")[0], stage.instances("backend")[index]
    points = ["frontend/0:eth0", "frontend/0:veth"]
    if own["cell"] != far["cell"]:
        points += [f"{own['cell']}:vtep", own["cell"], far["cell"], f"{far['cell']}:vtep"]
    points += [f"backend/{index}:veth", f"backend/{index}:eth0"]
    if mode in ("ebpf", "iptables"):
        points = ["frontend/0:lo", *points, f"backend/{index}:lo"]
    return points


@pytest.mark.parametrize("mode", MODES)
def test_every_hop_in_order_and_captures_agree(modal: Stage, mode: str) -> None:
    for app in ("frontend", "backend"):
        modes.set_mode(modal.paths, app, mode)
    lab, missing = Lab(modal.paths.lab), {0, 1}
    for _ in range(TRIES):
        with lab.capture("frontend:veth", "backend:veth", filter="tcp") as taps:
            found = trace(modal, "frontend", URL)
            marker = found["marker"].encode()
            frames = [one for one in taps.rest() if marker in one.frame.data]
        index = next(int(p[8]) for p in way(found) if p.startswith("backend/"))
        assert found["mode"] == mode and found["status"] == 200
        assert way(found) == expected(modal, mode, index)
        own = [one.point.name for one in frames]
        assert own == [point for point in way(found) if point.endswith(":veth")]
        for one in frames:
            hop = next(h for h in found["hops"]
                       if h["where"] == one.point.name and h["what"].startswith("→ "))  # fmt: skip
            assert abs(hop["time_ns"] - one.frame.time_ns) < 1_000_000
        assert all(hop["evidence"] for hop in found["hops"])
        missing.discard(index)
        if not missing:
            return
    pytest.fail(f"instance {missing} was not chosen in {TRIES} requests")


def test_ingress_from_the_client(stage: Stage) -> None:
    found = trace(stage, "client", "http://hello.istio.mesh.lab/")
    places = way(found)
    assert places[:2] == ["client", "lb"]
    assert places[2] == places[3] and places[2].startswith("router-")
    assert [p.partition(":")[2] for p in places[-3:]] == ["veth", "eth0", "lo"]
    texts = [hop["what"] for hop in found["hops"]]
    assert sum("netfilter: " in text for text in texts) == 2  # host port, and to the sidecar
    assert any(text.startswith("listener http-80, cluster ") for text in texts)


def test_retries_are_shown(stage: Stage) -> None:
    url = "http://flaky.istio.apps.internal:8080/"
    seen = [trace(stage, "frontend", url) for _ in range(3)]
    texts = [hop["what"] for found in seen for hop in found["hops"]]
    assert any("3 tries" in text for text in texts)
    assert any("503" in text for text in texts)


@pytest.mark.parametrize(
    ("source", "url", "says", "advice"),
    [
        ("hello", URL, "has no policy hello → backend tcp 8080",
         "add-network-policy hello backend"),
        ("frontend", "http://nobody.istio.apps.internal:8080/", "DNS says NXDOMAIN", "map-route"),
        ("frontend", "http://backend.istio.apps.internal:81/",
         "is served on port 8080, you asked for 81", URL),
        ("client", "http://nobody.istio.mesh.lab/", "has no route", "map-route"),
    ],
)  # fmt: skip
def test_a_failure_ends_with_its_reason_and_what_to_do(
    stage: Stage, source: str, url: str, says: str, advice: str
) -> None:
    last = trace(stage, source, url, status=1)["hops"][-1]
    assert last["failed"] and says in last["what"] and advice in last["advice"]


def test_listeners_are_called_as_proxy_config_calls_them(stage: Stage) -> None:
    for proxy, url, status in (("frontend", URL, 0), ("hello", URL, 1)):
        hops = trace(stage, proxy, url, status=status)["hops"]
        said = {re.split("[ ,:]", h["what"])[1] for h in hops if h["what"].startswith("listener ")}
        shown = meshnet("proxy-config", proxy, "listeners", lab=stage.paths.lab).stdout
        assert said and said <= {row.split()[0] for row in shown.splitlines()}, (said, shown)


def test_a_stopped_app(stage: Stage) -> None:
    guid = stage.guids["flaky"]
    stage.client.act(guid, "stop")
    try:
        stage.until(stage.via_frontend("flaky"), lambda status: status == 503)
        url = "http://flaky.istio.apps.internal:8080/"
        last = trace(stage, "frontend", url, status=1)["hops"][-1]
        assert "no instance" in last["what"] and "meshnet cf start" in last["advice"]
    finally:
        stage.client.act(guid, "start")
        stage.client.wait_running(guid)


def test_crafted_packets(stage: Stage) -> None:
    target = stage.instances("backend")[0]["address"]
    allowed = f"IP(dst='{target}')/TCP(dport=8080, flags='S')"
    assert "it arrived" in trace(stage, "frontend", "--packet", allowed)["hops"][-1]["what"]
    denied = f"IP(dst='{target}')/UDP(dport=9)"
    found = trace(stage, "frontend", "--packet", denied, status=1)
    assert "no policy" in found["hops"][-1]["what"]
    forged = f"IP(src='1.2.3.4', dst='{target}')/UDP(dport=9)"
    found = trace(stage, "frontend", "--packet", forged, status=1)
    assert way(found) == ["frontend/0:eth0", "frontend/0:veth"]
    assert "forged source address" in found["hops"][-1]["what"]


def test_tshark_opens_a_traces_file_and_reads_the_tags(stage: Stage, tmp_path: Path) -> None:
    path, own = tmp_path / "t.pcapng", stage.instances("frontend")[0]
    for _ in range(TRIES):
        found = trace(stage, "frontend", URL, "--pcap", str(path))
        if any(":vtep" in point for point in way(found)):
            break
    fields = ["-T", "fields", "-e", "frame.interface_name", "-e", "vxlan.gbp", "-e", "vxlan.vni"]
    done = subprocess.run(
        ["tshark", "-r", str(path), "-Y", f"vxlan && ip.src == {own['address']}", *fields],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    rows = {tuple(line.split("\t")) for line in done.stdout.splitlines()}
    assert {(own["cell"], str(own["tag"]), "1")} <= rows


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (("nobody", URL), "no point 'nobody'"),
        (("frontend", "ftp://x"), "wants an http URL"),
        (("frontend",), "trace what?"),
        (("frontend/9", URL), "no point 'frontend/9'"),
        (("frontend", "--packet", "nonsense("), "--packet"),
    ],
)
def test_bad_input_is_one_line(stage: Stage, args: tuple[str, ...], says: str) -> None:
    done = meshnet("trace", *args, lab=stage.paths.lab)
    assert done.returncode != 0 and says in done.stderr and len(done.stderr.splitlines()) == 1
