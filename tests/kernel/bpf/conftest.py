from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from bpf_app import App
from bpf_world import World, run

from meshnet.kernel.bpf.datapath import CellDatapath, CellParams, PolicyRules

PARAMS = CellParams(
    vip_network="127.128.0.0/9",
    overlay_network="10.255.0.0/16",
    underlay_network="10.0.16.0/24",
    gateway="169.254.0.1",
    dns_address="169.254.0.2",
)


@pytest.fixture
def bpffs(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "bpffs"
    path.mkdir()
    subprocess.run(["mount", "-t", "bpf", "bpf", str(path)], check=True)
    yield path
    subprocess.run(["umount", str(path)], check=True)


@pytest.fixture
def world() -> Iterator[World]:
    with ExitStack() as stack:
        yield World(stack, f"{os.getpid() % 100000}")


@pytest.fixture
def params() -> CellParams:
    return PARAMS


@pytest.fixture
def datapath(bpffs: Path) -> Iterator[CellDatapath]:
    datapath = CellDatapath.open(bpffs / "cell", PARAMS)
    yield datapath
    datapath.close()


@pytest.fixture
def rules(datapath: CellDatapath, bpffs: Path) -> Iterator[PolicyRules]:
    rules = PolicyRules.open(bpffs / "cell")
    yield rules
    rules.close()


@pytest.fixture
def app(world: World, datapath: CellDatapath, bpffs: Path) -> App:
    one = App(world, datapath, bpffs / "links", world.netns("app"), world.cgroup("app"),
              world.cgroup("sidecar"))  # fmt: skip
    run("ip", "-n", one.netns, "addr", "add", "10.255.1.2/32", "dev", "lo")
    datapath.attach_app(one.app, one.links / "app")
    datapath.attach_sidecar(one.sidecar, one.links / "sidecar")
    return one
