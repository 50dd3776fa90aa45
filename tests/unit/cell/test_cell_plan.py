"""What the cell decides: values in, values out."""

from __future__ import annotations

from meshnet.cell.plan import plan, plan_healing
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
