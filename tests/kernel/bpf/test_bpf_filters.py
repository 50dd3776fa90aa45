"""tc programs as filters: attached once, told truly, gone when detached."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from bpf_world import World

from meshnet.kernel.bpf import attach
from meshnet.kernel.bpf.datapath import CellDatapath, CellParams

pytestmark = pytest.mark.sudo
BOTH = {"tc_from_container", "tc_to_container"}


@pytest.fixture
def datapath(
    monkeypatch: pytest.MonkeyPatch, bpffs: Path, params: CellParams
) -> Iterator[CellDatapath]:
    monkeypatch.setenv(attach.NO_TCX, "1")
    attach.tcx_works.cache_clear()
    opened = CellDatapath.open(bpffs / "cell", params)
    yield opened
    opened.close()
    attach.tcx_works.cache_clear()


@pytest.fixture
def inside(world: World) -> Callable[..., Any]:
    """Run a function in a namespace of its own that has a veth, number 77."""
    netns = world.netns("filters")
    pair = ["link", "add", "v0", "index", "77", "type", "veth", "peer", "name", "v1"]
    subprocess.run(["ip", "-n", netns, *pair], check=True)
    return lambda fn, *args: world.do(fn, *args, netns=netns)


def filters(direction: str) -> int:
    line = ["tc", "filter", "show", "dev", "v0", direction]
    return subprocess.run(line, capture_output=True, text=True).stdout.count("direct-action")


def test_attaching_twice_leaves_one_filter_each_way(datapath, bpffs, inside) -> None:
    links = bpffs / "links"
    for _ in range(2):
        inside(datapath.attach_veth, 77, links)
    assert inside(datapath.attached, links) == BOTH
    assert [inside(filters, way) for way in ("ingress", "egress")] == [1, 1]


def test_a_filter_deleted_behind_our_back_counts_as_not_attached(datapath, bpffs, inside) -> None:
    links = bpffs / "links"
    inside(datapath.attach_veth, 77, links)
    inside(subprocess.check_call, ["tc", "filter", "del", "dev", "v0", "egress"])
    assert inside(datapath.attached, links) == {"tc_from_container"}
    inside(datapath.attach_veth, 77, links)
    assert inside(datapath.attached, links) == BOTH


def test_detaching_leaves_nothing_and_can_be_repeated(datapath, bpffs, inside) -> None:
    links = bpffs / "links"
    inside(datapath.attach_veth, 77, links)
    for _ in range(2):
        inside(datapath.detach, links)
    assert [inside(filters, way) for way in ("ingress", "egress")] == [0, 0]
    assert not links.exists()


def test_detaching_works_when_the_interface_is_gone(datapath, bpffs, inside) -> None:
    links = bpffs / "links"
    inside(datapath.attach_veth, 77, links)
    inside(subprocess.check_call, ["ip", "link", "del", "v0"])
    assert inside(datapath.attached, links) == set()
    inside(datapath.detach, links)
    assert not links.exists()
