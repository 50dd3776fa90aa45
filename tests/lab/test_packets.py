"""On the wire: no packet to a VIP, the source app's tag in the overlay; and the proxy's count."""

from __future__ import annotations

import json
import re
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from meshnet.kernel import launch, netns
from netns_lab import pki, status
from netns_lab.stage import Stage

from .test_policy import wait

pytestmark = pytest.mark.sudo


@contextmanager
def capture(where: str, interface: str, expression: str, path: Path) -> Iterator[None]:
    """tcpdump in a network namespace for the length of the block, into `path`."""
    line = ["tcpdump", "-i", interface, "-U", "-w", str(path), "-Z", "root", expression]
    with subprocess.Popen(
        launch.argv(line, netns=netns.path(where)), stderr=subprocess.PIPE, text=True
    ) as tcpdump:
        assert tcpdump.stderr is not None
        while "listening on" not in (said := tcpdump.stderr.readline()):
            assert said, "tcpdump did not start"
        yield
        tcpdump.terminate()
        tcpdump.stderr.read()


def packets(path: Path) -> list[object]:
    from scapy.utils import rdpcap

    return list(rdpcap(str(path)))


def ask(stage: Stage, times: int = 6) -> None:
    url = stage.via_frontend("backend")
    stage.until(url, lambda code: code == 200)
    assert {r.status for r in stage.outside.get(url, times=times)} == {200}


def test_no_packet_is_addressed_to_a_vip(stage: Stage, tmp_path: Path) -> None:
    frontend = stage.instances("frontend")[0]["netns"]
    vips, others = tmp_path / "vips.pcap", tmp_path / "others.pcap"
    backends = " or ".join(f"host {row['address']}" for row in stage.instances("backend"))
    with (
        capture(frontend, "any", "net 127.128.0.0/9", vips),
        capture(frontend, "any", backends, others),
    ):
        ask(stage)
        wait(lambda: len(packets(others)) > 0)
    assert packets(vips) == []
    assert packets(others) != []


def tag_of(stage: Stage, app: str) -> int:
    nodes = {n["name"]: n["address"] for n in status.lab(stage.paths)["nodes"]}
    url = f"https://{nodes['control']}:4003/networking/v1/internal/policies"
    trust = pki.used(stage.paths)["control.copilot"].client_context()
    with urllib.request.urlopen(url, timeout=5, context=trust) as reply:
        policies = json.load(reply)["policies"]
    tags = {p["source"]["id"]: p["source"]["tag"] for p in policies}
    return int(tags[stage.guids[app]], 16)


def test_the_overlay_carries_the_source_apps_tag(stage: Stage, tmp_path: Path) -> None:
    from scapy.layers.inet import IP
    from scapy.layers.vxlan import VXLAN

    frontend = stage.instances("frontend")[0]
    far = next(r for r in stage.instances("backend") if r["cell"] != frontend["cell"])
    path = tmp_path / "vxlan.pcap"
    cell = f"{stage.paths.lab}-{far['cell']}"
    with capture(cell, "eth0", "udp port 4789", path):
        ask(stage)
        wait(lambda: len(packets(path)) > 0)
    tags = {
        p[VXLAN].gpid
        for p in packets(path)
        if VXLAN in p and p[VXLAN].payload[IP].src == frontend["address"]
    }
    assert tags == {tag_of(stage, "frontend")}


def upstream_requests(stage: Stage) -> int:
    row = stage.instances("frontend")[0]
    url = f"http://{row['address']}:15090/stats/prometheus"
    where = netns.path(f"{stage.paths.lab}-{row['cell']}")
    text = subprocess.run(
        launch.argv(["curl", "-s", "-m", "5", url], netns=where), capture_output=True, text=True
    ).stdout
    found = re.findall(
        r"^envoy_cluster_upstream_rq_total\{.*backend.*\} (\d+)$", text, flags=re.MULTILINE
    )
    return sum(map(int, found))


def test_the_sidecars_counters_show_the_requests(stage: Stage) -> None:
    ask(stage, times=1)
    before = upstream_requests(stage)
    ask(stage, times=6)
    assert upstream_requests(stage) >= before + 6
