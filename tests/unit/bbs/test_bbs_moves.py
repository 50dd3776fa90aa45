"""Cells that fall silent, come back or are emptied: instances serve on until others run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from bbs_process import desired
from test_bbs_lrps import World, running_report

from meshnet.model.errors import InputError, NotFound
from meshnet.wire import bbs_api as api
from meshnet.wire.gen import bbs_pb2 as pb


@pytest.fixture
def world(tmp_path: Path) -> World:
    """One instance of "a" that runs on cell-1; nothing of how it came about was heard."""
    made = World(tmp_path / "bbs.db")
    made.lrps.desire(desired("a"))
    made.lrps.place([("a", 0)], ["cell-1"])
    made.start(made.at())
    made.hub.heard.clear()
    return made


def evacuation(lrp: Any) -> Any:
    started = running_report(lrp)
    return pb.EvacuateRunningActualLRPRequest(
        actual_lrp_key=started.actual_lrp_key,
        actual_lrp_instance_key=started.actual_lrp_instance_key,
        actual_lrp_net_info=started.actual_lrp_net_info,
    )


def records(world: World) -> list[tuple[int, str, str]]:
    """(presence, state, cell) of every record at the place."""
    return [
        (lrp.presence, lrp.state, lrp.actual_lrp_instance_key.cell_id)
        for lrp in world.lrps.table.at(("a", 0))
    ]


def lose(world: World) -> None:
    """cell-1 falls silent, and the instance's replacement goes to cell-2."""
    assert world.moves.cell_lost("cell-1") == [("a", 0)]
    world.lrps.place([("a", 0)], ["cell-2"])


def test_an_instance_of_a_silent_cell_is_suspect_until_its_replacement_runs(world: World) -> None:
    lose(world)
    assert world.hub.names() == [api.CHANGED, api.CREATED, api.CHANGED]
    assert records(world) == [
        (pb.ORDINARY, api.CLAIMED, "cell-2"),
        (pb.SUSPECT, api.RUNNING, "cell-1"),
    ]
    world.start(world.at())
    # What runs is told before what goes.
    assert world.hub.names() == [api.CHANGED, api.REMOVED]
    assert records(world) == [(pb.ORDINARY, api.RUNNING, "cell-2")]


def test_an_instance_whose_cell_is_back_is_ordinary_again(world: World) -> None:
    instance = world.at().actual_lrp_instance_key
    lose(world)
    world.hub.heard.clear()
    world.moves.cell_back("cell-1")
    assert world.hub.names() == [api.CHANGED, api.REMOVED]
    assert records(world) == [(pb.ORDINARY, api.RUNNING, "cell-1")]
    assert world.at().actual_lrp_instance_key == instance
    world.moves.cell_back("cell-1")
    assert world.hub.names() == []


def test_a_suspect_that_crashed_after_all_is_removed(world: World) -> None:
    before = world.at()
    lose(world)
    world.hub.heard.clear()
    world.start(before)  # its cell is not back: nothing is believed yet
    assert world.hub.names() == []
    world.crash(before)
    assert world.hub.names() == [api.REMOVED]
    assert records(world) == [(pb.ORDINARY, api.CLAIMED, "cell-2")]


def test_a_second_cell_that_falls_silent_leaves_the_first_suspect(world: World) -> None:
    lose(world)
    world.start(world.at())
    world.moves.cell_lost("cell-2")
    world.lrps.place([("a", 0)], ["cell-3"])
    world.moves.cell_lost("cell-3")
    assert records(world) == [(pb.ORDINARY, api.UNCLAIMED, ""), (pb.SUSPECT, api.RUNNING, "cell-2")]


def test_what_is_not_wanted_any_longer_is_not_replaced(world: World) -> None:
    lose(world)
    world.lrps.update("a", pb.DesiredLRPUpdate(instances=0))
    assert records(world) == [] and world.stored()[1] == {}


def test_suspects_outlive_a_restart(world: World, tmp_path: Path) -> None:
    lose(world)
    before = records(world)
    world.store.close()
    again = World(tmp_path / "bbs.db")
    again.lrps.converge()
    assert records(again) == before
    again.moves.cell_back("cell-1")
    assert records(again) == [(pb.ORDINARY, api.RUNNING, "cell-1")]


def test_an_evacuating_instance_is_kept_until_its_replacement_runs(world: World) -> None:
    old = world.at()
    assert world.moves.evacuate_running(evacuation(old))
    assert world.hub.names() == [api.CHANGED, api.CREATED]
    assert records(world) == [
        (pb.ORDINARY, api.UNCLAIMED, ""),
        (pb.EVACUATING, "RUNNING", "cell-1"),
    ]
    assert world.moves.evacuate_running(evacuation(old))  # said again: nothing new
    assert world.hub.names() == []
    world.lrps.place([("a", 0)], ["cell-2"])
    assert world.moves.evacuate_running(evacuation(old))
    world.hub.heard.clear()
    world.start(world.at())
    assert world.hub.names() == [api.CHANGED, api.REMOVED]
    assert records(world) == [(pb.ORDINARY, api.RUNNING, "cell-2")]
    assert not world.moves.evacuate_running(evacuation(old))


def test_a_cell_that_is_emptied_and_dies_leaves_nothing(world: World) -> None:
    world.moves.evacuate_running(evacuation(world.at()))
    assert world.moves.cell_lost("cell-1") == []
    assert records(world) == [(pb.ORDINARY, api.UNCLAIMED, "")]


def test_an_evacuating_instance_is_not_kept_where_it_is_not_wanted(world: World) -> None:
    old = world.at()
    world.moves.evacuate_running(evacuation(old))
    world.lrps.remove("a")
    assert not world.moves.evacuate_running(evacuation(old))
    assert records(world) == []


def test_of_two_cells_that_are_emptied_one_keeps_the_instance(world: World) -> None:
    world.moves.evacuate_running(evacuation(world.at()))
    world.lrps.place([("a", 0)], ["cell-2"])
    other = pb.ActualLRP()
    other.CopyFrom(world.at())
    other.actual_lrp_instance_key.instance_guid = "another"
    assert not world.moves.evacuate_running(evacuation(other))


def test_an_instance_that_was_only_claimed_starts_over_elsewhere(world: World) -> None:
    world.lrps.update("a", pb.DesiredLRPUpdate(instances=2))
    world.lrps.place([("a", 1)], ["cell-1"])
    claimed = world.at("a", 1)
    world.hub.heard.clear()
    world.moves.evacuate_claimed(claimed.actual_lrp_key, claimed.actual_lrp_instance_key)
    assert world.hub.names() == [api.CREATED, api.REMOVED]
    assert world.at("a", 1).state == api.UNCLAIMED
    with pytest.raises(NotFound):
        world.moves.evacuate_claimed(claimed.actual_lrp_key, claimed.actual_lrp_instance_key)


def test_what_crashes_or_stops_while_it_is_evacuated_is_gone(world: World) -> None:
    old = world.at()
    key, instance = old.actual_lrp_key, old.actual_lrp_instance_key
    handlers = world.handlers()
    with pytest.raises(NotFound):
        world.moves.remove_evacuating(key, instance)
    for remove in (
        lambda: world.crash(old),
        lambda: world.reports.remove("a", 0, instance),
        lambda: world.moves.remove_evacuating(key, instance),
        lambda: handlers.evacuate_stopped(
            pb.EvacuateStoppedActualLRPRequest(actual_lrp_key=key, actual_lrp_instance_key=instance)
        ),
    ):
        assert world.moves.evacuate_running(evacuation(old))
        world.hub.heard.clear()
        remove()
        assert api.REMOVED in world.hub.names()
        assert [presence for presence, _, _ in records(world)] == [pb.ORDINARY]


def test_an_instance_is_stopped_wherever_it_is_and_starts_over(world: World) -> None:
    old = world.at()
    world.reports.retire(old.actual_lrp_key)
    assert world.hub.names() == [api.CREATED, api.REMOVED]
    assert records(world) == [(pb.ORDINARY, api.UNCLAIMED, "")]
    with pytest.raises(NotFound):
        world.reports.retire(pb.ActualLRPKey(process_guid="b"))


def test_what_could_not_be_placed_says_why(world: World) -> None:
    world.lrps.update("a", pb.DesiredLRPUpdate(instances=2))
    key = world.at("a", 1).actual_lrp_key
    world.hub.heard.clear()
    world.reports.fail(key, "no room")
    world.reports.fail(key, "no room")
    assert world.hub.names() == [api.CHANGED]
    assert world.at("a", 1).placement_error == "no room"


def test_a_cell_may_report_running_what_nobody_claimed(world: World) -> None:
    world.lrps.update("a", pb.DesiredLRPUpdate(instances=2))
    report = running_report(world.at("a", 1))
    report.actual_lrp_instance_key.instance_guid = "mine"
    report.actual_lrp_instance_key.cell_id = "cell-9"
    world.reports.start(report)
    assert world.at("a", 1).state == api.RUNNING


@pytest.mark.parametrize("index", [-1, -(2**31)])
def test_a_negative_index_is_refused_and_changes_nothing(world: World, index: int) -> None:
    key = pb.ActualLRPKey(process_guid="a", index=index)
    instance = world.at().actual_lrp_instance_key
    before = world.stored()
    for call in (
        lambda: world.reports.claim("a", index, instance),
        lambda: world.reports.crash(key, instance, ""),
        lambda: world.reports.fail(key, ""),
        lambda: world.reports.remove("a", index, None),
        lambda: world.reports.retire(key),
        lambda: world.moves.evacuate_claimed(key, instance),
        lambda: world.moves.remove_evacuating(key, instance),
    ):
        with pytest.raises(InputError, match="negative"):
            call()
    assert world.stored() == before
