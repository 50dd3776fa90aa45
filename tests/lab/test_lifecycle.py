"""Up, down, side by side, after crashes, and lab files that describe nothing."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from pathlib import Path

import pytest

from meshnet.kernel import cgroup
from netns_lab import lab as labs
from netns_lab import status, topology
from netns_lab.paths import Paths

from .conftest import default_topology, meshnet
from .test_policy import wait

pytestmark = pytest.mark.sudo
ONE_CELL = Path(labs.__file__).parent / "labs" / "one-cell.yml"


def quiet(text: str) -> None:
    """No progress."""


def traces(name: str) -> dict[str, object]:
    """Whatever of a lab the machine still shows."""

    def run(*line: str) -> list[str]:
        out = subprocess.run(line, capture_output=True, text=True).stdout
        return [text for text in out.splitlines() if re.search(rf"(?<!\w){name}\b", text)]

    hierarchies = [cgroup.v2_root(), *cgroup.v1_roots()]
    return {
        "netns": [one.name for one in Path("/run/netns").glob(f"{name}-*")],
        "link": run("ip", "-o", "link"),
        "route": run("ip", "route"),
        "mount": [m for m in Path("/proc/mounts").read_text().splitlines() if f"/{name}/" in m],
        "cgroup": [str(h) for h in hierarchies if (h / "meshnet" / name).exists()],
        "process": run("pgrep", "-af", f"/{name}/"),
        "dir": [p for p in (Paths(name).run, Paths(name).state) if p.exists()],
    }


NOTHING = {k: [] for k in ("netns", "link", "route", "mount", "cgroup", "process", "dir")}


def small(name: str) -> topology.Topology:
    return topology.load(ONE_CELL, name)


def root_state() -> list[str]:
    """The root namespace's rules and the BPF programs loaded."""
    rules = subprocess.run(["iptables-legacy-save"], capture_output=True, text=True).stdout
    return [line for line in rules.splitlines() if line.startswith("-A")]


def test_down_leaves_nothing_and_two_labs_do_not_meet() -> None:
    first, second = f"a{os.getpid()}", f"b{os.getpid()}"
    rules = root_state()
    try:
        labs.up(small(first), quiet)
        labs.up(small(second), quiet)
        nets = {status.lab(Paths(n))["underlay"] for n in (first, second)}
        assert len(nets) == 2
        assert labs.up(small(first), quiet) == 0.0
        assert labs.down(Paths(first)) == []
        assert traces(first) == NOTHING
        assert status.well(Paths(second))
    finally:
        for name in (first, second):
            if Paths(name).run.exists():
                assert labs.down(Paths(name)) == []
    assert traces(second) == NOTHING
    assert root_state() == rules


def test_a_lab_whose_supervisor_was_killed_comes_up_again_with_its_apps() -> None:
    name = f"c{os.getpid()}"
    try:
        labs.up(small(name), quiet)
        value = status.lab(Paths(name))
        from meshnet.cli.client import of_lab

        client = of_lab(value)
        client.create_route("istio.mesh.lab", "kept")
        for pid in cgroup.pids(Paths(name).cgroup):
            os.kill(pid, signal.SIGKILL)
        wait(lambda: not status.well(Paths(name)))
        assert labs.up(small(name), quiet) > 0
        value = status.lab(Paths(name))
        client = of_lab(value)
        assert client.route("istio.mesh.lab", "kept") is not None
    finally:
        assert labs.down(Paths(name)) == []
    assert traces(name) == NOTHING


def test_an_up_that_fails_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    name = f"d{os.getpid()}"
    monkeypatch.setattr(labs, "READY_SECONDS", 0.0)
    with pytest.raises(Exception, match="not ready within"):
        labs.up(small(name), quiet)
    assert traces(name) == NOTHING


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("name: x\nnodes: []\ncolour: red\n", "'colour' was unexpected"),
        (
            "name: x\nnodes:\n- {name: a, role: cell}\n- {name: a, role: lb}\n",
            "two nodes are named 'a'",
        ),
        ("name: X!\nnodes: []\n", "name"),
        ("name: x\nnodes: [}\n", "is not YAML at line 2"),
    ],
    ids=["unknown key", "duplicate name", "bad name", "no yaml"],
)  # fmt: skip
def test_a_bad_lab_file_is_one_line_and_changes_nothing(
    tmp_path: Path, text: str, says: str
) -> None:
    path = tmp_path / "lab.yml"
    path.write_text(text)
    done = meshnet("lab", "up", "-f", str(path))
    assert done.returncode == 2 and says in done.stderr
    assert done.stderr.strip().splitlines()[-1].startswith("meshnet: ")
    assert not Paths("x").run.exists()


def test_a_network_the_host_has_is_refused() -> None:
    name = f"e{os.getpid()}"
    labs.up(small(name), quiet)
    try:
        taken = status.lab(Paths(name))["underlay"]
        other = default_topology(f"f{os.getpid()}").with_underlay(taken)
        with pytest.raises(Exception, match="overlaps"):
            labs.up(other, quiet)
        assert traces(other.name) == NOTHING
        assert status.well(Paths(name))
    finally:
        assert labs.down(Paths(name)) == []


def test_not_being_root_is_said_plainly(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from meshnet.cli.main import main

    monkeypatch.setattr(os, "geteuid", lambda: 65534)
    for command in (["lab", "up"], ["lab", "down"], ["doctor"]):
        with pytest.raises(SystemExit) as ended:
            main(command)
        assert ended.value.code == 3
        assert capsys.readouterr().err.splitlines()[-1].startswith("meshnet: needs root")
