"""Lab files: what they mean, and what is refused before anything is made."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from meshnet.cli.run import ROOMS
from meshnet.model.errors import Conflict, InputError, NotFound
from meshnet.wire.tls import Tls
from netns_lab import etcd, lab, paths, topology
from netns_lab.daemons import Secrets, daemons, room
from netns_lab.paths import Paths

LABS = Path(lab.__file__).parent / "labs"
DEFAULT = topology.load(LABS / "default.yml")


NODES = [{"name": role, "role": role} for role in ("control", "lb", "router", "cell")]


def document(**changes: Any) -> dict[str, Any]:
    return {"name": "x", "underlay": "10.0.99.0/24", "nodes": NODES, **changes}


def test_the_default_labs_addresses_read_without_a_look_up() -> None:
    addresses = {node.name: DEFAULT.address(node) for node in DEFAULT.nodes}
    assert addresses == {
        "client": "10.0.16.100",
        "lb": "10.0.16.10",
        "router-1": "10.0.16.11",
        "router-2": "10.0.16.12",
        "control": "10.0.16.2",
        "cell-1": "10.0.16.21",
        "cell-2": "10.0.16.22",
    }
    assert [DEFAULT.lease(cell) for cell in DEFAULT.of("cell")] == [
        "10.255.1.0/24",
        "10.255.2.0/24",
    ]


def more(role: str, count: int) -> list[dict[str, str]]:
    return [*NODES, *({"name": f"{role}-{n}", "role": role} for n in range(count))]


@pytest.mark.parametrize(
    ("change", "error", "says"),
    [
        ({"colour": "red"}, InputError, "'colour' was unexpected"),
        ({"name": "Mesh"}, InputError, "name"),
        ({"name": "a-name-too-long"}, InputError, "name"),
        ({"nodes": more("cell", 75)}, InputError, "at most 75 fit"),
        ({"nodes": [*NODES, {"name": "lb", "role": "client"}]}, Conflict, "named 'lb'"),
        ({"nodes": NODES[:3]}, InputError, "no node has the role 'cell'"),
        ({"nodes": [*NODES, {"name": "fabric", "role": "client"}]}, Conflict, "fabric"),
        ({"overlay": "10.0.0.0/8"}, Conflict, "overlaps"),
        ({"overlay": "10.255.0.0/24"}, InputError, "too small"),
        ({"vips": "10.128.0.0/9"}, InputError, "127.0.0.0/8"),
        ({"vips": "127.0.0.0/9"}, InputError, "127.0.0.1"),
        ({"underlay": "10.0.99.1/24"}, InputError, "no IPv4 network"),
        ({"underlay": "10.0.99.0/25"}, InputError, "too small"),
        ({"domains": [{"name": "a.lab"}]}, InputError, "istio"),
        ({"domains": [{"name": "a.lab", "istio": True}] * 2}, Conflict, "two domains"),
        ({"users": {}}, InputError, "users"),
    ],
)  # fmt: skip
def test_a_file_that_describes_no_lab_is_refused(
    change: dict[str, Any], error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says):
        topology.parse(document(**change))


def test_a_network_that_the_host_has_is_refused_and_auto_goes_around_it() -> None:
    taken = [("10.0.16.0/22", "this host (dev eth7)")]
    with pytest.raises(Conflict, match=r"which this host \(dev eth7\) has"):
        topology.check_networks(DEFAULT, taken)
    assert topology.free_network(taken) == "10.0.20.0/24"


def test_the_default_labs_network_is_the_last_to_be_given_away() -> None:
    assert topology.free_network([]) == "10.0.17.0/24"
    others = [(f"10.0.{n}.0/24", "lab") for n in range(17, 32)]
    assert topology.free_network(others) == "10.0.16.0/24"
    with pytest.raises(Conflict, match="no free /24"):
        topology.free_network([*others, ("10.0.16.0/24", "lab 'mesh'")])


@pytest.mark.parametrize("store", ["sqlite", "etcd"])
def test_every_daemons_configuration_fits_its_room(store: str) -> None:
    import importlib

    from meshnet.wire.runtime import parse

    lab = dataclasses.replace(DEFAULT, store=store)
    for daemon in daemons(lab, Paths("x"), Secrets("p"), "/envoy"):
        module = importlib.import_module(ROOMS[daemon.room])
        assert parse(module.Config, daemon.config)


@pytest.mark.parametrize(
    ("memory_mib", "cells", "most"),
    [(1024, 2, 16), (8192, 2, 64), (24105, 2, 229), (999999, 1, 250)],
)
def test_a_cell_takes_what_fits_into_the_memory(memory_mib: int, cells: int, most: int) -> None:
    assert room(memory_mib, cells) == most


def test_every_daemons_name_is_its_own() -> None:
    names = [d.name for d in daemons(DEFAULT, Paths("x"), Secrets("p"), "/envoy")]
    assert len(names) == len(set(names)) == 23


def test_a_lab_on_etcd_starts_three_members_first_and_each_room_has_its_own_prefix() -> None:
    lab = topology.parse(document(store="etcd"))
    found = daemons(lab, Paths("x"), Secrets("p"), "/envoy")
    assert [d.name for d in found[:3]] == ["control.etcd-1", "control.etcd-2", "control.etcd-3"]
    stores = [d.config["store"] for d in found if "store" in d.config]
    members = "127.0.0.1:2379,127.0.0.1:2381,127.0.0.1:2383"
    assert len(stores) == len(set(stores)) == 5
    assert all(url.startswith(f"etcd://{members}/meshnet/{lab.name}/") for url in stores)
    bbs = next(d.config for d in found if d.room == "bbs")
    tls = Tls(**bbs["tls"])
    assert bbs["store"].endswith(f"/bbs?ca={tls.ca}&cert={tls.certificate}&key={tls.key}")
    lines = [etcd.argv(etcd.Config(n, f"/d/{n}", tls)) for n in etcd.MEMBERS]
    for line in lines:  # to clients and to each other, only who shows a certificate
        assert {"--client-cert-auth=true", "--peer-client-cert-auth=true"} <= set(line)
        assert not any("http://" in word for word in line)
    assert len({line[line.index(f"--name=etcd-{n}")] for n, line in enumerate(lines, 1)}) == 3
    with pytest.raises(InputError, match="store"):
        topology.parse(document(store="redis"))


def test_a_cells_mode_is_its_own_or_the_labs() -> None:
    nodes = [*NODES, {"name": "cell-2", "role": "cell", "mode": "kernel"}]
    lab = topology.parse(document(mode="ebpf", sockmap=True, nodes=nodes))
    one, two = lab.of("cell")
    assert str(lab.redirection(one)) == "ebpf+sockmap"
    assert str(lab.redirection(two)) == "kernel"
    configs = {d.name: d.config for d in daemons(lab, Paths("x"), Secrets("p"), "/envoy")}
    assert (configs["cell.cell"]["mode"], configs["cell.cell"]["sockmap"]) == ("ebpf", True)
    assert (configs["cell-2.cell"]["mode"], configs["cell-2.cell"]["sockmap"]) == ("kernel", False)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"mode": "fast"}, "mode"),
        ({"mode": "kernel", "sockmap": True}, "sockmap"),
        ({"nodes": "client"}, "is no cell"),
    ],
)
def test_modes_that_make_no_sense_are_refused(changes: dict[str, Any], says: str) -> None:
    if "nodes" in changes:
        changes = {"nodes": [{**row, "mode": "off"} for row in document()["nodes"]]}
    with pytest.raises(InputError, match=says):
        topology.parse(document(**changes))


def test_an_empty_name_is_no_lab(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paths, "labs", lambda: ["mesh"])
    monkeypatch.setenv("MESHNET_LAB", "mesh")
    with pytest.raises(NotFound, match="lab '' is not up"):
        paths.chosen("")
    assert paths.chosen().lab == "mesh"
    monkeypatch.setenv("MESHNET_LAB", "")  # as where it is not set
    assert paths.chosen().lab == "mesh"


def test_what_is_taken_down_is_named_or_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MESHNET_LAB", raising=False)
    up = ["other"]
    monkeypatch.setattr(paths, "labs", lambda: up)
    assert paths.chosen().lab == "other"  # to look at it is harmless
    with pytest.raises(InputError, match=r"'mesh' is not up, but other is: .* --lab other"):
        paths.to_remove()
    assert paths.to_remove("other").lab == "other"
    with pytest.raises(NotFound, match="lab '' is not up"):
        paths.to_remove("")
    up.append("third")
    with pytest.raises(InputError, match=r"but other, third are: .* --lab NAME"):
        paths.to_remove()
    up.append("mesh")
    assert paths.to_remove().lab == "mesh"
    monkeypatch.setenv("MESHNET_LAB", "third")
    assert paths.to_remove().lab == "third"
    monkeypatch.setenv("MESHNET_LAB", "gone")
    with pytest.raises(NotFound, match="lab 'gone' is not up"):
        paths.to_remove()
    up.clear()
    monkeypatch.delenv("MESHNET_LAB")
    with pytest.raises(NotFound, match="lab 'mesh' is not up"):
        paths.to_remove()
