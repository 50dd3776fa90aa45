"""`meshnet bench redirection` in a real lab: a short run, and one that is interrupted."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from meshnet.kernel import cgroup
from netns_lab.paths import Paths

from .conftest import meshnet

SHORT = ("bench", "redirection", "--quick", "--seconds", "1", "--connections", "8")


def left(lab: str) -> list[str]:
    """What is there of a lab: files, cgroups, namespaces, processes."""
    paths = Paths(lab)
    found = [str(p) for p in (paths.run, paths.state, cgroup.directory(paths.cgroup)) if p.exists()]
    found += [str(p) for p in Path("/run/netns").glob(f"{lab}-*")]
    line = ["pgrep", "-f", f"/run/meshnet/{lab}/"]
    return found + subprocess.run(line, capture_output=True, text=True).stdout.split()


@pytest.mark.timeout(180)
def test_a_short_run_measures_every_way_it_was_told_to(tmp_path: Path) -> None:
    ways = ("iptables-both", "ebpf-sockmap", "kernel")
    only = [word for way in ways for word in ("--only", way)]
    place = ("--place", "same", "--place", "across")
    output = tmp_path / "out"
    done = meshnet(*SHORT, *only, *place, "--rounds", "2", "--seed", "7", "-o", str(output),
                   timeout=170)  # fmt: skip
    assert done.returncode == 0, done.stderr + done.stdout
    assert "16/16" in done.stderr and "seed 7, 2 rounds" in done.stdout
    result = json.loads((output / "result.json").read_text())
    assert result["complete"] and not result["failed"] and result["seed"] == 7
    assert (output / "index.html").read_text().count("data:image/png") == 3
    rates = {}
    for sample in result["samples"]:
        rates.setdefault((sample["variant"], sample["place"]), []).append(sample)
    assert {way for way, _ in rates} == {"direct", *ways}
    for (way, place_), samples in rates.items():
        assert [s["round"] for s in samples] == [0, 1], (way, place_)
        proxied = way in ("iptables-both", "ebpf-sockmap")
        for s in samples:
            assert s["requests_per_second"] > 50 and s["paced"]["errors"] == 0
            assert s["cpu_ms"]["client"] > 0 and s["cpu_ms"]["app"] > 0
            # The figures are of the way they are said to be of.
            assert (s["cpu_ms"]["proxies"] > 5) == (s["proxy_private_kib"] > 1000) == proxied, s
    again = meshnet("bench", "compare", str(output), str(output / "result.json"))
    # Six ratios to direct; ebpf-sockmap's twin, iptables, was left out.
    assert again.returncode == 0 and "6 agree" in again.stdout


@pytest.mark.timeout(120)
def test_an_interrupted_run_leaves_nothing_behind_and_keeps_what_it_measured(
    tmp_path: Path,
) -> None:
    line = [sys.executable, "-m", "meshnet.cli.main", *SHORT, "--only", "kernel"]
    command = [*line, "--rounds", "900", "-o", str(tmp_path)]
    with subprocess.Popen(
        command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as run:
        lab = f"b{run.pid % 1_000_000}"
        assert run.stderr is not None and run.stdout is not None
        said = ""
        for text in run.stderr:
            said += text
            if text.startswith("4/1800"):
                break
        assert left(lab), said
        run.send_signal(signal.SIGTERM)
        said += run.stderr.read()
        table = run.stdout.read()
        assert run.wait() == 1, said
    assert "interrupted: 3 samples are kept" in said and "not complete (interrupted)" in table
    result = json.loads((tmp_path / "result.json").read_text())
    assert len(result["samples"]) == 3 and not result["complete"]
    assert left(lab) == []


@pytest.mark.parametrize(
    ("options", "word"),
    [
        (("--only", "nope"), "no variant 'nope': one of direct, iptables"),
        (("--connections", "0"), "--connections 0: 1 to 10000"),
        (("--kind", "nope"), "--kind 'nope': one of keep-alive, new"),
        (("--place", "nope"), "--place 'nope': one of same, across"),
    ],
)
def test_bad_input_is_one_line(options: tuple[str, str], word: str, tmp_path: Path) -> None:
    done = meshnet("bench", "redirection", *options, "-o", str(tmp_path / "x"))
    assert done.returncode == 2 and word in done.stderr
    assert len(done.stderr.splitlines()) == 1 and not (tmp_path / "x").exists()


@pytest.mark.timeout(300)
def test_convergence_measures_every_change_of_a_lab_whose_cell_is_simulated(tmp_path: Path) -> None:
    options = ("--routes", "10", "--instances", "20", "--rounds", "1", "--seed", "7")
    done = meshnet("bench", "convergence", *options, "-o", str(tmp_path), timeout=290)
    assert done.returncode == 0, done.stderr + done.stdout
    assert "8/8" in done.stderr and "seed 7" in done.stdout
    result = json.loads((tmp_path / "convergence.json").read_text())
    assert result["complete"] and not result["failed"]
    kinds = {"map-route", "unmap-route", "scale-up", "scale-down", "weights", "policy-add",
             "policy-remove"}  # fmt: skip
    watched = [s for s in result["samples"] if s["seconds"] is not None]
    costs = [s for s in result["samples"] if s["cpu_ms"] is not None]
    assert {s["kind"] for s in watched} == {s["kind"] for s in costs} == kinds
    assert all(0 < s["seconds"] < 10 for s in watched)
    # Every component had to do with it, and both arrows carried something.
    for name in ("capi", "copilot", "pilot", "ingress Envoys"):
        assert sum(s["cpu_ms"][name] for s in costs) > 0, name
    assert all(min(s["bytes"].values()) > 0 for s in costs)
    assert min(result["memory_mib"]["10"].values()) > 5
    assert "How long a change takes" in (tmp_path / "convergence.html").read_text()
