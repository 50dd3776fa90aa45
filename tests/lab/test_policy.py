"""What the kernel lets through, seen from inside the containers: every rule both ways."""

from __future__ import annotations

import statistics
import subprocess
import time
from collections.abc import Callable

import pytest

from meshnet.kernel import launch, netns
from netns_lab import status
from netns_lab.stage import EXTERNAL, POLICY_PORTS, Stage

from .conftest import meshnet

pytestmark = pytest.mark.sudo

CONNECT = """
import socket, sys
s = socket.create_connection((sys.argv[1], int(sys.argv[2])), 3)
s.sendall(b"GET / HTTP/1.0\\r\\n\\r\\n")
print(s.recv(100).split(b"\\r\\n")[0].decode())
"""
CONNECT_MAPPED = """
import socket
s = socket.socket(socket.AF_INET6)
s.settimeout(5)
s.connect(("::ffff:127.128.0.{}", 8080))
s.sendall(b"GET / HTTP/1.0\\r\\nHost: b\\r\\n\\r\\n")
print(s.recv(100).split(b"\\r\\n")[0].decode(), s.getpeername()[0])
"""


def in_app(stage: Stage, app: str, *command: str) -> subprocess.CompletedProcess[str]:
    """Run a command as the app's user in all of its namespaces and its cgroup."""
    row = stage.instances(app)[0]
    line = launch.argv(command, container_pid=row["app_pid"], uid=row["uid"])
    return subprocess.run(line, capture_output=True, text=True, timeout=30)


def dial(stage: Stage, address: str, port: int) -> str:
    """The first line of an HTTP answer to the frontend app, or the error's name."""
    done = in_app(stage, "frontend", "python3", "-c", CONNECT, address, str(port))
    return done.stdout.strip() or done.stderr.strip().splitlines()[-1].partition(":")[0]


def wait(condition: Callable[[], bool], seconds: float = 15.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true"
        time.sleep(0.05)


def counter(stage: Stage, name: str) -> int:
    cells = status.collect(stage.paths)["cells"].values()
    return sum(cell["counters"].get(name, 0) for cell in cells)


class NoPolicy:
    """The frontend's policy to the backend, away for the length of the block."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._pair = stage.guids["frontend"], stage.guids["backend"]

    def __enter__(self) -> None:
        self._stage.client.deny(*self._pair, ports=POLICY_PORTS)
        address = self._stage.instances("backend")[0]["address"]
        wait(lambda: dial(self._stage, address, 8080) == "ConnectionRefusedError")

    def __exit__(self, *_: object) -> None:
        self._stage.client.allow(*self._pair, ports=POLICY_PORTS)
        self._stage.until(self._stage.via_frontend("backend"), lambda code: code == 200)


def test_a_direct_connection_needs_a_policy_and_its_refusal_is_counted(stage: Stage) -> None:
    backends = stage.instances("backend")
    for row in backends:
        wait(lambda row=row: dial(stage, row["address"], 8080).endswith("200 OK"))
    with NoPolicy(stage):
        before = counter(stage, "to_denied_policy")
        for row in backends:
            assert dial(stage, row["address"], 8080) == "ConnectionRefusedError"
        assert counter(stage, "to_denied_policy") >= before + len(backends)


def test_host_ports_are_closed_to_containers_whatever_the_policy(stage: Stage) -> None:
    nodes = {n["name"]: n["address"] for n in status.lab(stage.paths)["nodes"]}
    for row in stage.instances("backend"):
        cell = nodes[row["cell"]]
        assert dial(stage, cell, row["host_port"]) == "ConnectionRefusedError"
        with NoPolicy(stage):
            assert dial(stage, cell, row["host_port"]) == "ConnectionRefusedError"


def test_removing_a_policy_cuts_an_established_connection(stage: Stage) -> None:
    row, peer = stage.instances("frontend")[0], stage.instances("backend")[0]
    line = ["curl", "-sN", "--max-time", "20", f"http://{peer['address']}:8080/stream"]
    command = launch.argv(line, container_pid=row["app_pid"], uid=row["uid"])
    with subprocess.Popen(command, stdout=subprocess.PIPE) as stream:
        assert stream.stdout is not None and stream.stdout.readline() == b"0\n"
        with NoPolicy(stage):
            assert stream.wait(5) == 56  # curl: failure receiving data (reset)


def test_a_warm_path_fails_within_a_second_without_its_policy(stage: Stage) -> None:
    url = stage.via_frontend("backend")
    stage.until(url, lambda code: code == 200)
    stage.outside.get(url, times=5)
    with NoPolicy(stage):
        replies = stage.outside.get(url, times=5)
        # The kernel's reset is a 503; 404 once the sidecar is shown no route any more.
        assert {r.status for r in replies} <= {503, 404}
        # A silent drop would be the connect timeout, four times.
        assert statistics.median(r.seconds for r in replies) < 1.0


def test_a_policy_that_is_added_is_served_at_once(stage: Stage) -> None:
    """Kernel and sidecar hear of it by different ways: neither keeps the other waiting for long."""
    url, pair = stage.via_frontend("backend"), (stage.guids["frontend"], stage.guids["backend"])
    took = []
    for _ in range(5):
        stage.client.deny(*pair, ports=POLICY_PORTS)
        stage.until(url, lambda code: code == 404)
        stage.client.allow(*pair, ports=POLICY_PORTS)
        began = time.monotonic()
        stage.until(url, lambda code: code == 200)
        took.append(time.monotonic() - began)
        # What is there now stays: no step of the change takes it away again.
        assert [r.status for r in stage.outside.get(url, times=5)] == [200] * 5
    print(f"policy to first 200: median {statistics.median(took) * 1000:.0f} ms, "
          f"worst {max(took) * 1000:.0f} ms")  # fmt: skip
    assert statistics.median(took) < 1.0


def test_a_mapped_ipv6_connection_to_a_vip_takes_the_same_way(stage: Stage) -> None:
    stage.until(stage.via_frontend("backend"), lambda code: code == 200)
    vip = in_app(stage, "frontend", "getent", "ahostsv4", f"backend.{_internal()}").stdout.split()
    script = CONNECT_MAPPED.format(vip[0].rpartition(".")[2])
    done = in_app(stage, "frontend", "python3", "-c", script)
    assert done.stdout.split() == ["HTTP/1.0", "200", "OK", f"::ffff:{vip[0]}"], done.stderr


def _internal() -> str:
    from netns_lab.stage import INTERNAL

    return INTERNAL


@pytest.mark.parametrize("port", [15000, 15001, 15006, 15010, 15090])
def test_the_app_cannot_reach_its_proxys_ports(stage: Stage, port: int) -> None:
    own = stage.instances("frontend")[0]["address"]
    for address in ("127.0.0.1", own):
        assert dial(stage, address, port) == "PermissionError"


def test_the_app_sees_neither_admin_nor_ads(stage: Stage) -> None:
    found = in_app(stage, "frontend", "sh", "-c", "ls -d /run/envoy /run/ads /run/meshnet; id -u")
    assert found.stdout.split() == [str(stage.instances("frontend")[0]["uid"])]
    assert found.stderr.count("No such file") == 3


def test_metrics_answer_the_cell_and_nobody_else(stage: Stage) -> None:
    row = stage.instances("frontend")[0]
    url = f"http://{row['address']}:15090/stats/prometheus"
    inside = launch.argv(
        ["curl", "-s", "-m", "3", url], netns=netns.path(f"{stage.paths.lab}-{row['cell']}")
    )
    assert "envoy_" in subprocess.run(inside, capture_output=True, text=True).stdout
    other = stage.instances("hello")[0]
    for app in ("hello", "backend"):
        assert in_app(stage, app, "curl", "-s", "-m", "3", url).stdout == ""
    assert other["guid"] != row["guid"]


def test_a_container_reaches_neither_the_underlay_nor_its_cell(stage: Stage) -> None:
    nodes = {n["name"]: n["address"] for n in status.lab(stage.paths)["nodes"]}
    for node, port in (("control", 80), ("control", 9001), ("router-1", 80), ("cell-1", 22)):
        assert dial(stage, nodes[node], port) == "ConnectionRefusedError"


def test_exec_enters_the_apps_network_under_the_apps_policy(stage: Stage) -> None:
    lab = stage.paths.lab
    url = f"http://backend.{_internal()}:8080/"
    stage.until(stage.via_frontend("backend"), lambda code: code == 200)
    done = meshnet("lab", "exec", "frontend", "--", "curl", "-s", url, lab=lab)
    assert '"app": "backend"' in done.stdout
    denied = meshnet("lab", "exec", "hello", "--", "curl", "-s", "-w", "%{http_code}", url, lab=lab)
    assert denied.stdout.endswith("404") and "network policy" in denied.stdout
    by_name = f"http://hello.{EXTERNAL}/"
    outside = meshnet("lab", "exec", "client", "--", "curl", "-s", by_name, lab=lab)
    assert '"greeting": "hello"' in outside.stdout
    assert meshnet("lab", "exec", "client", "--", "sh", "-c", "exit 7", lab=lab).returncode == 7
