"""What the cell decides: values in, values out."""

from __future__ import annotations

from meshnet.cell.plan import environment, listens, plan, plan_healing
from meshnet.kernel.link_watch import LinkState
from meshnet.wire.gen import bbs_pb2 as pb


def lrp(guid: str, state: str) -> pb.ActualLRP:
    return pb.ActualLRP(
        actual_lrp_instance_key=pb.ActualLRPInstanceKey(instance_guid=guid, cell_id="cell-1"),
        state=state,
    )


def test_claimed_is_started_lost_is_reported_and_the_unwanted_stopped() -> None:
    wanted = [
        lrp("new", "CLAIMED"),
        lrp("starting", "CLAIMED"),
        lrp("runs", "RUNNING"),
        lrp("lost", "RUNNING"),
        lrp("crashed", "CRASHED"),
        lrp("", "UNCLAIMED"),
    ]
    found = plan(wanted, ["starting", "runs", "crashed", "forgotten"])
    assert [one.actual_lrp_instance_key.instance_guid for one in found.start] == ["new"]
    assert [one.actual_lrp_instance_key.instance_guid for one in found.crashed] == ["lost"]
    assert found.stop == ("crashed", "forgotten")


def test_nothing_to_do() -> None:
    found = plan([lrp("a", "RUNNING"), lrp("b", "CLAIMED")], ["a", "b"])
    assert (found.start, found.stop, found.crashed) == ((), (), ())


def test_the_cells_own_variables_win_and_the_users_win_over_defaults() -> None:
    env = environment(
        {"PORT": "8080", "PATH": "/opt/bin", "CF_INSTANCE_GUID": "forged"},
        guid="g",
        index=3,
        address="10.255.1.2",
        cell_ip="10.0.16.21",
        host_port=61007,
    )
    assert env["CF_INSTANCE_GUID"] == env["INSTANCE_GUID"] == "g"
    assert env["CF_INSTANCE_INDEX"] == "3"
    assert env["PATH"] == "/opt/bin"
    assert env["HOME"] == "/home/vcap/app"
    assert env["CF_INSTANCE_ADDR"] == "10.0.16.21:61007"
    assert env["CF_INSTANCE_INTERNAL_IP"] == "10.255.1.2"
    assert env["CF_INSTANCE_PORTS"] == '[{"external":61007,"internal":8080}]'


TCP = """\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0201FF0A:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000 60001 0 1 1 0 100 0 0 10
   1: 0201FF0A:3A9E 00000000:0000 0A 00000000:00000000 00:00000000 00000000 50001 0 2 1 0 100 0 0 10
   2: 0201FF0A:2328 0101FF0A:1F91 01 00000000:00000000 00:00000000 00000000 60001 0 3 1 0 100 0 0 10
"""
TCP6 = """\
  sl  local_address                         remote_address                        st tx_queue
   0: 00000000000000000000000000000000:1F91 00000000000000000000000000000000:0000 0A 00000000
"""


def test_a_listener_is_seen_and_a_connection_is_none() -> None:
    assert listens(TCP, 8080)
    assert listens(TCP, 15006)
    assert not listens(TCP, 9000)  # port 9000 of an established connection
    assert listens(TCP6, 8081)
    assert not listens(TCP6, 8080)
    assert not listens("", 8080)


def test_a_link_that_went_down_and_up_is_healed_once() -> None:
    down: set[str] = set()
    assert plan_healing([LinkState("a", False), LinkState("b", True)], down) == set()
    assert down == {"a"}
    assert plan_healing([LinkState("a", True)], down) == {"a"}
    assert plan_healing([LinkState("a", True)], down) == set()
    flap = [LinkState("a", False), LinkState("a", True), LinkState("a", False)]
    assert plan_healing(flap, down) == set()
    assert down == {"a"}


def test_lost_news_mean_that_any_link_may_need_it() -> None:
    assert plan_healing(None, set()) is None
