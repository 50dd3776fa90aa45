"""The life of instances on one cell, as BBS, a router and the machine see it."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from cell_world import CELL, STRANGER, World, wait_for

from meshnet.cell import network
from meshnet.cell.config import GATEWAY, Config
from meshnet.cell.evacuation import Evacuation
from meshnet.cell.record import Record
from meshnet.cell.sidecar import MOST
from meshnet.kernel import cgroup, links, netns, oci
from meshnet.kernel.bpf.datapath import CellDatapath, CellParams
from meshnet.kernel.iptables import Iptables
from meshnet.model.errors import KernelError
from meshnet.model.modes import Redirection
from meshnet.wire.gen import bbs_pb2 as pb

PARAMS = CellParams("127.128.0.0/9", "10.255.0.0/16", "10.0.16.0/24", GATEWAY, "169.254.0.2")
pytestmark = [pytest.mark.sudo, pytest.mark.timeout(180)]


@pytest.fixture
def world() -> Iterator[World]:
    made = World(f"ci{os.getpid() % 100000}")
    yield made
    made.close()


def test_an_instance_runs_is_reached_by_its_host_port_and_leaves_nothing(world: World) -> None:
    world.agent()
    world.desire("app-1", instances=2)
    found = world.running("app-1", 2)
    for lrp in found:
        net = lrp.actual_lrp_net_info
        assert net.address == CELL
        assert net.instance_address in ("10.255.1.2", "10.255.1.3")
        assert [p.container_port for p in net.ports] == [8080]
        answer = world.get(CELL, net.ports[0].host_port)
        guid = lrp.actual_lrp_instance_key.instance_guid
        assert answer["env"]["CF_INSTANCE_GUID"] == guid
        assert answer["env"]["CF_INSTANCE_INDEX"] == str(lrp.actual_lrp_key.index)
        assert answer["env"]["CF_INSTANCE_INTERNAL_IP"] == net.instance_address
        assert answer["env"]["GREETING"] == "hello"
        assert answer["uid"] >= 60001 and answer["cwd"] == "/home/vcap/app"
        with pytest.raises(OSError):
            world.get(CELL, net.ports[0].host_port, source=STRANGER)
    world.bbs(lambda client: client.remove_desired("app-1"))
    wait_for(lambda: not world.traces(), 20, f"nothing left: {world.traces()}")


def test_instances_outlive_the_agent_and_are_adopted(world: World) -> None:
    agent = world.agent()
    world.desire("app-1")
    (lrp,) = world.running("app-1")
    guid = lrp.actual_lrp_instance_key.instance_guid
    port = lrp.actual_lrp_net_info.ports[0].host_port
    before = world.rows()[guid]
    for number in (signal.SIGKILL, signal.SIGTERM):
        agent.kill(number)
        assert world.get(CELL, port)["env"]["CF_INSTANCE_GUID"] == guid
        agent.start()
        after = wait_for(lambda: world.rows().get(guid), 10, "adopted")
        assert (after["app_pid"], after["sidecar_pid"]) == (
            before["app_pid"],
            before["sidecar_pid"],
        )
        assert world.get(CELL, port)["env"]["CF_INSTANCE_GUID"] == guid
    (lrp,) = world.running("app-1")
    assert lrp.crash_count == 0
    assert lrp.actual_lrp_instance_key.instance_guid == guid
    world.bbs(lambda client: client.remove_desired("app-1"))
    wait_for(lambda: not world.traces(), 20, "nothing left")


def test_the_end_of_an_app_is_a_crash_and_a_new_instance_follows(world: World) -> None:
    world.agent()
    world.desire("app-1")
    (lrp,) = world.running("app-1")
    guid = lrp.actual_lrp_instance_key.instance_guid
    os.kill(world.rows()[guid]["app_pid"], signal.SIGKILL)
    crashed(world, guid)


def crashed(world: World, guid: str) -> None:
    wait_for(lambda: world.actual("app-1")[0].crash_count == 1, 10, "crash reported")
    (lrp,) = world.running("app-1")
    assert lrp.crash_reason.endswith(": Exited with status 137")
    assert lrp.actual_lrp_instance_key.instance_guid != guid
    assert world.get(CELL, lrp.actual_lrp_net_info.ports[0].host_port)
    wait_for(lambda: set(world.rows()) == {lrp.actual_lrp_instance_key.instance_guid}, 10, "one")


def test_a_sidecar_that_ends_comes_back_beside_its_app_but_not_for_ever(world: World) -> None:
    agent = world.agent()
    world.desire("app-1")
    (lrp,) = world.running("app-1")
    guid = lrp.actual_lrp_instance_key.instance_guid
    port = lrp.actual_lrp_net_info.ports[0].host_port
    first = world.rows()[guid]
    for _ in range(MOST):
        old = world.rows()[guid]["sidecar_pid"]
        os.kill(old, signal.SIGKILL)
        wait_for(lambda old=old: world.rows()[guid]["sidecar_pid"] not in (0, old), 10, "another")
        wait_for(lambda: answers(world, port), 10, "serves again")
        assert world.get(CELL, port)["env"]["CF_INSTANCE_GUID"] == guid
    after = world.rows()[guid]
    assert (after["app_pid"], after["state"]) == (first["app_pid"], "RUNNING")
    assert (first["sidecar_restarts"], after["sidecar_restarts"]) == (0, MOST)
    assert world.actual("app-1")[0].crash_count == 0
    # An agent that was restarted finds the new one.
    agent.kill()
    agent.start()
    adopted = wait_for(lambda: world.rows().get(guid), 10, "adopted")
    assert adopted["sidecar_pid"] == after["sidecar_pid"]
    for _ in range(MOST):
        old = world.rows()[guid]["sidecar_pid"]
        os.kill(old, signal.SIGKILL)
        wait_for(lambda old=old: world.rows()[guid]["sidecar_pid"] not in (0, old), 10, "another")
        wait_for(lambda: answers(world, port), 10, "serves again")
    os.kill(world.rows()[guid]["sidecar_pid"], signal.SIGKILL)
    crashed(world, guid)


def test_an_agent_killed_at_any_moment_of_a_start_finds_its_way(world: World) -> None:
    agent = world.agent()
    for number in range(8):
        guid = f"app-{number}"
        world.desire(guid)
        wait_for(lambda guid=guid: world.actual(guid)[0].state != "UNCLAIMED", 5, "placed")
        time.sleep(0.12 * number)  # no synchronisation: the kill is to come anywhere
        agent.kill()
        agent.start()
        world.running(guid)
        world.bbs(lambda client, guid=guid: client.remove_desired(guid))
    wait_for(lambda: not world.traces(), 20, f"nothing left: {world.traces()}")


def test_an_instance_taken_back_at_any_moment_of_its_start_leaves_nothing(world: World) -> None:
    agent = world.agent()
    before = len(os.listdir(f"/proc/{agent.pid}/fd"))
    for number in range(10):
        world.desire(f"app-{number}")
        time.sleep(0.08 * number)  # no synchronisation: the removal is to come anywhere
        world.bbs(lambda client, number=number: client.remove_desired(f"app-{number}"))
    wait_for(lambda: not world.rows() and not world.traces(), 30, f"left: {world.traces()}")
    world.desire("last")
    world.running("last")

    def held() -> int:
        return len(os.listdir(f"/proc/{agent.pid}/fd")) - before

    # One instance and connections to peers; the logs of the others are let go once they are sent.
    wait_for(lambda: held() < 16, 10, f"descriptors given back: {held()} more than at first")


def test_apps_that_are_slow_to_listen_or_deaf_to_sigterm_hold_nobody_up(world: World) -> None:
    world.agent()
    world.desire("dumb", instances=5, command="exec sleep 1000")
    wait_for(lambda: [r["state"] for r in world.rows().values()] == ["STARTING"] * 5, 20, "five")
    world.desire("app-1")
    world.running("app-1", seconds=10)
    world.bbs(lambda client: client.remove_desired("dumb"))
    world.desire("deaf", instances=8, command="exec python3 app.py deaf")
    world.running("deaf", 8)
    world.bbs(lambda client: client.remove_desired("deaf"))
    world.desire("app-2")
    world.running("app-2", seconds=8)
    assert sum(row["state"] == "STOPPING" for row in world.rows().values()) == 8
    wait_for(lambda: len(world.rows()) == 2, 20, "the deaf killed")


def test_an_instance_that_lost_its_sidecar_while_the_agent_was_away_is_replaced(
    world: World,
) -> None:
    agent = world.agent()
    world.desire("app-1")
    (lrp,) = world.running("app-1")
    guid = lrp.actual_lrp_instance_key.instance_guid
    app = world.rows()[guid]["app_pid"]
    agent.kill()
    cgroup.kill(f"{world.group}/cell-1/{guid}/sidecar")
    agent.start()
    (lrp,) = wait_for(lambda: [a for a in world.actual("app-1") if a.crash_count == 1], 10, "crash")
    wait_for(lambda: not Path(f"/proc/{app}").exists(), 10, "its app killed")
    world.running("app-1")


def test_a_namespace_that_is_a_mere_name_goes_with_its_instance(world: World) -> None:
    agent = world.agent()
    world.desire("app-1")
    (lrp,) = world.running("app-1")
    guid = lrp.actual_lrp_instance_key.instance_guid
    (name,) = world.traces()["netns"]
    agent.kill()
    cgroup.kill(f"{world.group}/cell-1/{guid}")
    netns.delete(name)
    (Path(netns.NETNS_DIR) / name).touch()  # as an agent killed in the middle of making it leaves
    world.bbs(lambda client: client.remove_desired("app-1"))
    agent.start()
    wait_for(lambda: not world.traces(), 20, f"nothing left: {world.traces()}")


def test_a_link_set_down_and_up_carries_again(world: World) -> None:
    world.agent()
    world.desire("app-1")
    (lrp,) = world.running("app-1")
    port = lrp.actual_lrp_net_info.ports[0].host_port
    veth = world.rows()[lrp.actual_lrp_instance_key.instance_guid]["veth"]
    assert world.get(CELL, port)
    links.apply(world.cell, [links.Change(veth, up=False)])
    links.apply(world.cell, [links.Change(veth, up=True)])
    wait_for(lambda: answers(world, port), 3, "answers again")


def test_hooks_that_were_lost_are_back_once_the_instance_is_adopted(world: World) -> None:
    agent = world.agent()
    world.desire("app-1")
    (lrp,) = world.running("app-1")
    guid = lrp.actual_lrp_instance_key.instance_guid
    pins = world.bpf / "cell-1" / "links" / guid
    before = {d.name: CellDatapath.attached(d) for d in pins.iterdir()}
    assert {"app", "sidecar", "veth"} == set(before) and all(before.values())
    agent.kill()
    for pin in [*(pins / "app").iterdir(), *(pins / "veth").iterdir()]:
        pin.unlink()
    agent.start()
    wait_for(lambda: world.rows().get(guid, {}).get("state") == "RUNNING", 10, "adopted")
    assert {d.name: CellDatapath.attached(d) for d in pins.iterdir()} == before


def test_without_the_policy_server_an_instance_has_no_tag_until_it_is_back(world: World) -> None:
    world.agent()
    world.daemons["policy"].kill()
    world.desire("app-1")
    world.running("app-1")
    datapath = CellDatapath.open(world.bpf / "cell-1", PARAMS)
    try:
        assert [c.tag for c in datapath.containers().values()] == [0]
        world.daemons["policy"].start()
        wait_for(lambda: [c.tag for c in datapath.containers().values()] == [1], 10, "tag 1")
    finally:
        datapath.close()


def test_bbs_may_go_and_come_back(world: World) -> None:
    world.agent()
    world.desire("app-1", instances=2)
    one, two = world.running("app-1", 2)
    world.daemons["bbs"].kill()
    os.kill(world.rows()[one.actual_lrp_instance_key.instance_guid]["app_pid"], signal.SIGKILL)
    assert world.get(CELL, two.actual_lrp_net_info.ports[0].host_port)
    world.daemons["bbs"].start()
    wait_for(world.present, 10, "present again")
    wait_for(lambda: sorted(a.crash_count for a in world.actual("app-1")) == [0, 1], 10, "told")
    survivor = two.actual_lrp_instance_key.instance_guid
    running = [lrp for lrp in world.actual("app-1") if lrp.state == "RUNNING"]
    assert survivor in [lrp.actual_lrp_instance_key.instance_guid for lrp in running]
    world.desire("app-2")
    world.running("app-2")


def test_a_container_without_hooks_starts_nothing(world: World) -> None:
    class Unattached(CellDatapath):
        def attach_app(self, cgroup_dir: Path, link_dir: Path) -> None:
            """Attach nothing, as if the kernel had lost it."""

    config = Config(**world.config())
    datapath = Unattached.open(world.bpf / "cell-1", PARAMS)
    rec = Record("0123-4567-89", "p", 0, "d", "a", "10.255.1.2", 61000, 60001)

    def make(tables: Iptables) -> None:
        network.make(config, rec, 1, Redirection(), datapath, tables)

    try:
        with Iptables() as tables, pytest.raises(KernelError, match="cgroup_connect4"):
            netns.run(world.cell, lambda: make(tables))
        assert not cgroup.pids(f"{world.group}/cell-1")
        netns.run(world.cell, lambda: network.remove(config, rec, datapath))
        assert not world.traces()
    finally:
        datapath.close()


def test_what_only_the_agent_can_tell_is_in_its_status(world: World) -> None:
    world.agent()
    world.desire("app-1")
    (lrp,) = world.running("app-1")
    status = world.status()
    assert status["cell_id"] == "cell-1" and status["lease"] == "10.255.1.0/24"
    (row,) = status["instances"]
    assert row["guid"] == lrp.actual_lrp_instance_key.instance_guid
    assert row["state"] == "RUNNING" and row["uid"] == 60001 and row["host_port"] == 61000
    lines = Path(row["app_log"]).read_text().splitlines()
    assert [text for _, _, text in oci.log_lines(lines)] == ["serving"]


def answers(world: World, port: int) -> bool:
    try:
        return bool(world.get(CELL, port))
    except OSError:
        return False


def test_an_agent_restarted_while_its_cell_is_emptied_serves_on_until_another_cell_does(
    world: World,
) -> None:
    agent = world.agent()
    world.desire("app-1")
    (lrp,) = world.running("app-1")
    old, port = lrp.actual_lrp_instance_key.instance_guid, lrp.actual_lrp_net_info.ports[0]
    world.bbs(lambda client: client.presence("cell-2", STRANGER, 60, 10))
    Evacuation(world.dir / "cell").switch(True)

    def next_one() -> Any:
        return next((a for a in world.actual("app-1") if a.state == "CLAIMED"), None)

    following = wait_for(next_one, 15, "another cell has it")
    agent.kill()
    agent.start()
    wait_for(lambda: world.rows().get(old, {}).get("state") == "RUNNING", 15, "adopted")
    end = time.monotonic() + 2  # what an agent says of what it found is said at once
    wait_for(lambda: time.monotonic() > end or not answers(world, port.host_port))
    assert world.rows()[old]["state"] == "RUNNING"
    key, mine = following.actual_lrp_key, following.actual_lrp_instance_key
    net = pb.ActualLRPNetInfo(address=STRANGER, instance_address="10.255.2.2", ports=[port])
    world.bbs(lambda client: client.start_actual(key, mine, net))
    wait_for(lambda: old not in world.rows(), 30, "the old one stops")
