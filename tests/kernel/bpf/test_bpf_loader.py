"""Loading, pinning, adopting and replacing what is pinned; and what is refused."""

from __future__ import annotations

import errno
import struct
import time
from pathlib import Path

import pytest
from bpf_world import World

from meshnet.kernel.bpf import abi, attach, objects, programs, syscall
from meshnet.kernel.bpf.addresses import address_be
from meshnet.kernel.bpf.compile import compiled_file, ensure_compiled
from meshnet.kernel.bpf.datapath import CellDatapath, PolicyRule, PolicyRules
from meshnet.kernel.bpf.maps import Map
from meshnet.kernel.bpf.source import APP_HOOKS, CELL_HOOKS, content_hash
from meshnet.model.errors import KernelError, PlatformError

pytestmark = pytest.mark.sudo


def program_ids(datapath: CellDatapath) -> dict[str, int]:
    return {
        name: struct.unpack("<II", syscall.info(fd, 8))[1]
        for name, fd in datapath._objects.programs.items()
    }


def test_a_second_opening_adopts_the_first(datapath, bpffs, params):
    again = CellDatapath.open(bpffs / "cell", params)
    assert program_ids(again) == program_ids(datapath)
    datapath.set_container(5, "10.255.1.2", "ee:ee:0a:ff:01:02", 7)
    assert again.containers()[5].tag == 7
    again.delete_container(5)
    again.delete_container(5)
    assert datapath.containers() == {}
    again.close()
    again.close()


def test_new_programs_keep_the_maps_and_take_over_the_links(
    datapath, bpffs, params, world: World, monkeypatch
):
    cgroup, links = world.cgroup("app"), bpffs / "links" / "app"
    datapath.set_container(5, "10.255.1.2", "ee:ee:0a:ff:01:02", 7)
    datapath.attach_app(cgroup, links)
    old = program_ids(datapath)
    monkeypatch.setattr(objects, "content_hash", lambda: "another")
    newer = CellDatapath.open(bpffs / "cell", params)
    new = program_ids(newer)
    assert not set(old.values()) & set(new.values())
    assert [path.name for path in (bpffs / "cell" / "progs").iterdir()] == ["another"]
    assert list(newer.containers()) == [5]
    newer.attach_app(cgroup, links)
    for hook in APP_HOOKS:
        link = syscall.obj_get(links / hook.name)
        assert link is not None
        assert attach._target(link)[0] == new[hook.name]
    newer.close()


def test_links_of_a_gone_cgroup_are_dead_and_replaced(datapath, bpffs, world: World):
    links = bpffs / "links" / "app"
    first = world.cgroup("first")
    second = world.cgroup("second")
    datapath.attach_app(first, links)
    first.rmdir()
    first.mkdir()  # same path, another cgroup
    deadline = time.monotonic() + 5  # the kernel lets go of a removed cgroup in its own time
    while datapath.attached(links) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert datapath.attached(links) == set()
    datapath.attach_app(second, links)
    assert datapath.attached(links) == {hook.name for hook in APP_HOOKS}


def test_attaching_to_nothing_is_refused(datapath, bpffs, tmp_path):
    with pytest.raises(KernelError, match="cannot open the cgroup") as caught:
        datapath.attach_app(tmp_path / "none", bpffs / "links")
    assert caught.value.errno == errno.ENOENT
    with pytest.raises(KernelError, match="cannot attach"):
        datapath.attach_veth(99999, bpffs / "links")
    assert datapath.attached(bpffs / "links") == set()


def test_a_pin_directory_outside_a_bpffs_is_refused(tmp_path, params):
    with pytest.raises(KernelError):
        CellDatapath.open(tmp_path / "plain", params)


def test_a_map_of_another_layout_is_refused(bpffs, params):
    (bpffs / "cell" / "maps").mkdir(parents=True)
    fd = syscall.map_create("containers", 1, 4, 99, 16, 0)
    syscall.obj_pin(fd, bpffs / "cell" / "maps" / "containers")
    with pytest.raises(KernelError, match="another meshnet version"):
        CellDatapath.open(bpffs / "cell", params)


def test_the_verifiers_words_are_in_the_error():
    exit_without_r0 = struct.pack("<BBhi", 0x95, 0, 0, 0)
    with pytest.raises(KernelError, match="R0 !read_ok"):
        syscall.prog_load("bad", 3, exit_without_r0, 0)


def test_a_damaged_cache_says_so(tmp_path: Path, monkeypatch):
    damaged = tmp_path / content_hash() / "programs.json"
    damaged.parent.mkdir()
    damaged.write_text("{")
    monkeypatch.setattr(programs, "compiled_file", lambda: damaged)
    with pytest.raises(PlatformError, match="damaged: delete"):
        programs.read_programs(CELL_HOOKS)


def test_many_may_compile_at_once(tmp_path: Path, world: World):
    children = [world.start(lambda _say: ensure_compiled(tmp_path)) for _ in range(3)]
    for child in children:
        assert child.hear(100) is None
    assert sorted(path.name for path in tmp_path.iterdir()) == [content_hash(), "lock"]
    assert compiled_file(tmp_path).read_text() == compiled_file().read_text()


def test_rules_are_opened_only_where_the_cell_made_them(bpffs):
    with pytest.raises(KernelError, match="start the cell agent first") as caught:
        PolicyRules.open(bpffs / "none", wait_s=0.1)
    assert caught.value.errno == errno.ENOENT


def test_rules_are_replaced_by_their_difference(rules, bpffs):
    one, two = PolicyRule(1, 2, "tcp", 8080, 8080), PolicyRule(1, 2, "udp", 1, 3)
    assert rules.replace([one, one]) == (1, 0)
    assert rules.replace([one, two]) == (2, 0)
    again = PolicyRules.open(bpffs / "cell")
    assert again.replace([two]) == (0, 1)
    assert [(r.start_port, r.end_port) for r in again.items()] == [(1, 1), (2, 3)]
    # Two rules may share a prefix: taking one away leaves the other whole.
    wide = PolicyRule(1, 2, "udp", 2, 5)
    again.replace([two, wide])
    again.replace([two])
    assert [(r.start_port, r.end_port) for r in again.items()] == [(1, 1), (2, 3)]
    again.close()


def test_one_address_is_found_among_many_flows(datapath):
    flows = Map(datapath._objects.maps["ct_in"], abi.FlowKey, abi.FlowVal)
    mine, others = address_be("10.255.1.9"), 9000
    for number in range(others):
        flows.set(abi.FlowKey(src_be=number, dst_be=number + 1, protocol=6), abi.FlowVal(1))
    for number in range(50):
        flows.set(abi.FlowKey(src_be=mine, sport_be=number, protocol=6), abi.FlowVal(1))
        flows.set(abi.FlowKey(dst_be=mine, sport_be=number, protocol=17), abi.FlowVal(1))
    assert sum(map(len, flows.packed_keys())) == (others + 100) * 16
    assert datapath.purge_flows("10.255.1.9") == 100
    assert sum(map(len, flows.packed_keys())) == others * 16
