"""Transitions, each a unit of work: committed, remembered, told — or nothing of it."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from bbs_process import desired, net_info

from meshnet.bbs.auction import Auction
from meshnet.bbs.cells import Cell
from meshnet.bbs.converge import Balance, Room
from meshnet.bbs.domains import Domains
from meshnet.bbs.events import MAX_QUEUED, Hub
from meshnet.bbs.handlers import Handlers
from meshnet.bbs.lrps import Lrps
from meshnet.bbs.moves import Moves
from meshnet.bbs.reports import Reports
from meshnet.bbs.work import State
from meshnet.model.errors import Conflict, InputError, NotFound, PlatformError
from meshnet.store import Store
from meshnet.wire import bbs_api as api
from meshnet.wire.gen import bbs_pb2 as pb
from meshnet.wire.sse import Decoder


class RecordingHub(Hub):
    def __init__(self) -> None:
        super().__init__()
        self.heard: list[tuple[str, Any, tuple[str, ...]]] = []

    def publish(self, name: str, message: Any, cell_ids: tuple[str, ...] = ()) -> None:
        self.heard.append((name, message, cell_ids))

    def names(self) -> list[str]:
        names = [name for name, _, _ in self.heard]
        self.heard.clear()
        return names


def running_report(lrp: Any) -> Any:
    return pb.StartActualLRPRequest(
        actual_lrp_key=lrp.actual_lrp_key,
        actual_lrp_instance_key=lrp.actual_lrp_instance_key,
        actual_lrp_net_info=net_info(lrp),
    )


class World:
    def __init__(self, path: Path) -> None:
        self.store, self.hub, self.now = Store.open(path), RecordingHub(), 10**18
        self.lrps = Lrps(State(self.store, self.hub), lambda: self.now)
        self.reports, self.moves = Reports(self.lrps), Moves(self.lrps)

    def handlers(self) -> Handlers:
        return Handlers(self.lrps, Auction(self.lrps, self.store), Domains(self.store))

    def at(self, guid: str = "a", index: int = 0) -> Any:
        return self.lrps.table.get((guid, index))

    def start(self, lrp: Any) -> None:
        self.reports.start(running_report(lrp))

    def crash(self, lrp: Any) -> None:
        self.reports.crash(lrp.actual_lrp_key, lrp.actual_lrp_instance_key, "boom")

    def stored(self) -> tuple[dict[str, Any], dict[str, Any]]:
        return self.store.list("desired"), self.store.list("actual")


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path / "bbs.db")


def test_the_events_of_a_life(world: World) -> None:
    world.lrps.desire(desired("a"))
    assert world.hub.names() == [api.DESIRED_CREATED, api.CREATED]
    world.lrps.place([("a", 0)], ["cell-1"])
    [(name, message, cells)] = world.hub.heard
    assert (name, cells) == (api.CHANGED, ("", "cell-1"))
    assert api.changed_lrp(message) == world.at()
    world.hub.heard.clear()
    world.start(world.at())
    world.start(world.at())  # said again: nothing new
    assert world.hub.names() == [api.CHANGED]
    world.crash(world.at())
    assert world.hub.names() == [api.CRASHED_EVENT, api.CHANGED]
    world.lrps.remove("a")
    assert world.hub.names() == [api.REMOVED, api.DESIRED_REMOVED]
    assert world.stored() == ({}, {})


def test_an_instance_that_runs_is_routable_unless_its_cell_says_otherwise(world: World) -> None:
    world.lrps.desire(desired("a"))
    world.lrps.place([("a", 0)], ["cell-1"])
    assert not api.routable(world.at())
    world.start(world.at())
    assert api.routable(world.at())
    world.hub.heard.clear()
    for ready in (False, True):
        report = running_report(world.at())
        report.routable = ready
        since = world.at().since
        world.reports.start(report)
        world.reports.start(report)
        ((name, message, _),) = world.hub.heard
        assert name == api.CHANGED and api.routable(api.changed_lrp(message)) is ready
        assert (world.at().state, world.at().since) == (api.RUNNING, since)
        world.hub.heard.clear()


def test_a_crash_said_twice_counts_once_and_a_late_start_does_not_revive(world: World) -> None:
    world.lrps.desire(desired("a"))
    world.lrps.place([("a", 0)], ["cell-1"])
    claimed = world.at()
    world.crash(claimed)
    for late in (world.crash, world.start):
        with pytest.raises(Conflict, match="it is CRASHED"):
            late(claimed)
    assert (world.at().state, world.at().crash_count) == (api.CRASHED, 1)
    assert not world.at().HasField("actual_lrp_net_info")


def test_a_long_run_forgives_earlier_crashes(world: World) -> None:
    world.lrps.desire(desired("a"))
    for seconds, count in ((1, 1), (1, 2), (301, 1)):
        world.lrps.place([("a", 0)], ["cell-1"])
        world.start(world.at())
        world.now += seconds * 10**9
        world.crash(world.at())
        assert world.at().crash_count == count


def test_reports_about_another_instance_are_refused(world: World) -> None:
    world.lrps.desire(desired("a"))
    world.lrps.place([("a", 0)], ["cell-1"])
    old = world.at()
    world.moves.cell_lost("cell-1")
    world.lrps.place([("a", 0)], ["cell-2"])
    for report in (world.start, world.crash):
        with pytest.raises(Conflict, match="not wanted any longer"):
            report(old)
    with pytest.raises(Conflict):
        world.reports.remove("a", 0, old.actual_lrp_instance_key)
    assert world.at().state == api.CLAIMED


def test_a_cell_claims_by_itself(world: World) -> None:
    mine = pb.ActualLRPInstanceKey(instance_guid="i", cell_id="cell-1")
    with pytest.raises(NotFound):
        world.reports.claim("a", 0, mine)
    world.lrps.desire(desired("a"))
    with pytest.raises(InputError):
        world.reports.claim("a", 0, pb.ActualLRPInstanceKey())
    world.reports.claim("a", 0, mine)
    world.reports.claim("a", 0, mine)
    with pytest.raises(Conflict):
        world.reports.claim("a", 0, pb.ActualLRPInstanceKey(instance_guid="j", cell_id="cell-2"))
    assert world.at().actual_lrp_instance_key == mine


def test_a_stopped_instance_starts_over_only_if_wanted(world: World) -> None:
    world.lrps.desire(desired("a"))
    world.lrps.place([("a", 0)], ["cell-1"])
    world.hub.heard.clear()
    world.reports.remove("a", 0, world.at().actual_lrp_instance_key)
    assert world.hub.names() == [api.CREATED, api.REMOVED]
    assert world.at().state == api.UNCLAIMED
    world.lrps.update("a", pb.DesiredLRPUpdate(instances=0))
    assert world.at() is None


def test_a_desire_of_a_present_guid_takes_over_scale_and_mends(world: World) -> None:
    world.lrps.desire(desired("a", 2))
    world.hub.heard.clear()
    world.lrps.desire(desired("a", 2))
    assert world.hub.heard == []
    world.lrps.desire(desired("a", 3))
    assert len(world.lrps.table.of_process("a")) == 3
    world.hub.heard.clear()
    world.lrps.desire(desired("a", 3))
    assert world.hub.heard == []


@pytest.mark.parametrize("spoil", ["missing", "extra", "orphan"])
def test_a_start_mends_what_a_store_holds(tmp_path: Path, spoil: str) -> None:
    world = World(tmp_path / "bbs.db")
    world.lrps.desire(desired("a", 2))
    value = world.store.get("actual", "a/0")
    if spoil == "missing":
        world.store.delete("actual", "a/1")
    elif spoil == "extra":
        lrp = _with_key(world.at("a", 1), "a", 2)
        world.store.put("actual", "a/2", lrp)
    else:
        world.store.put("actual", "gone/0", _with_key(world.at("a", 0), "gone", 0))
    world.store.close()
    again = World(tmp_path / "bbs.db")

    async def resume() -> None:
        Auction(again.lrps, again.store).resume(grace_seconds=30)

    asyncio.run(resume())
    assert sorted(again.stored()[1]) == ["a/0", "a/1"]
    # Nothing but the mending: what was right is as it was, with no cell to place it on.
    stored = pb.ActualLRP.FromString(base64.b64decode(value))
    assert again.at().modification_tag.epoch == stored.modification_tag.epoch


def _with_key(lrp: Any, guid: str, index: int) -> str:
    twin = pb.ActualLRP.FromString(lrp.SerializeToString())
    twin.actual_lrp_key.process_guid, twin.actual_lrp_key.index = guid, index
    return base64.b64encode(twin.SerializeToString()).decode()


@pytest.mark.parametrize(
    "step",
    [
        lambda w: w.lrps.desire(desired("b", 3)),
        lambda w: w.lrps.update("a", pb.DesiredLRPUpdate(instances=5)),
        lambda w: w.lrps.remove("a"),
        lambda w: w.lrps.place([("a", 1)], ["cell-1", "cell-2"]),
        lambda w: w.start(w.at()),
        lambda w: w.crash(w.at()),
        lambda w: w.moves.cell_lost("cell-1"),
    ],
)
def test_what_cannot_be_committed_has_not_happened(
    world: World, step: Callable[[World], None]
) -> None:
    world.lrps.desire(desired("a", 2))
    world.lrps.place([("a", 0)], ["cell-1"])
    world.hub.heard.clear()
    before = world.stored(), dict(world.lrps.desired), list(world.lrps.table.all())
    balance = dict(world.lrps.table.balance._total)
    # What a full disk does, at the last of several writes.
    world.store._connection.execute(
        "CREATE TRIGGER full AFTER INSERT ON records BEGIN SELECT RAISE(ABORT, 'disk full'); END"
    )
    world.store._connection.execute(
        "CREATE TRIGGER full2 AFTER UPDATE ON records BEGIN SELECT RAISE(ABORT, 'disk full'); END"
    )
    world.store._connection.execute(
        "CREATE TRIGGER full3 AFTER DELETE ON records BEGIN SELECT RAISE(ABORT, 'disk full'); END"
    )
    with pytest.raises(PlatformError, match="disk full"):
        step(world)
    assert world.hub.heard == []
    after = world.stored(), dict(world.lrps.desired), list(world.lrps.table.all())
    assert after == before
    assert dict(world.lrps.table.balance._total) == balance
    for name in ("full", "full2", "full3"):
        world.store._connection.execute(f"DROP TRIGGER {name}")
    step(world)
    assert world.hub.heard


def test_cells_streams_hear_of_their_instances_and_of_desired_lrps_only() -> None:
    async def scenario() -> None:
        hub, decoder = Hub(), Decoder()
        stream = hub.subscribe("cell-1")
        assert await anext(stream) == b""
        event = pb.ActualLRPInstanceCreatedEvent()
        hub.publish("theirs", event, ("cell-2",))
        hub.publish("nobody's", event, ("",))
        hub.publish("mine", event, ("", "cell-1"))
        hub.publish("desired", event)
        heard = [decoder.feed(await anext(stream))[0] for _ in range(2)]
        assert [(e.id, e.name) for e in heard] == [(0, "mine"), (1, "desired")]
        await stream.aclose()  # type: ignore[attr-defined]
        assert len(hub) == 0

    asyncio.run(scenario())


def test_a_subscriber_too_far_behind_is_dropped_and_its_stream_ends() -> None:
    async def scenario() -> None:
        hub = Hub()
        slow = hub.subscribe("")
        for _ in range(MAX_QUEUED):
            hub.publish("e", pb.EmptyRequest())
        assert len(hub) == 1
        hub.publish("e", pb.EmptyRequest())
        assert len(hub) == 0
        assert len([chunk async for chunk in slow]) == 1 + MAX_QUEUED

    asyncio.run(scenario())


def test_presences_judged_late_are_not_judged(world: World) -> None:
    """After a stop of the whole process, cells get the chance to speak before they are lost."""

    async def scenario() -> None:
        auction = Auction(world.lrps, world.store)
        auction.present("cell-1", Cell("10.0.16.21"), 1.0)
        world.lrps.desire(desired("a"))
        auction.place_unclaimed()
        import time

        auction.cells._over("cell-1", time.monotonic() - 20)
        assert auction.cells.open() == ["cell-1"]
        auction.cells._over("cell-1", time.monotonic())
        assert auction.cells.open() == []
        assert (world.at().state, world.at().placement_error) == (
            api.UNCLAIMED,
            "found no compatible cell",
        )
        auction.present("cell-2", Cell("10.0.16.22"), 1.0)
        assert world.at().actual_lrp_instance_key.cell_id == "cell-2"

    asyncio.run(scenario())


def test_what_has_no_room_waits_and_says_so_until_there_is_room(world: World) -> None:
    async def scenario() -> None:
        handlers = world.handlers()
        room = pb.CellCapacity(containers=2)
        cell = pb.CellPresence(cell_id="cell-1", rep_address="10.0.16.21", capacity=room)
        handlers.presence(pb.CellPresenceRequest(cell=cell, ttl_seconds=60))
        handlers.desire(pb.DesireLRPRequest(desired_lrp=desired("a", 2)))
        handlers.desire(pb.DesireLRPRequest(desired_lrp=desired("b", 1)))
        assert world.at("a", 1).state == api.CLAIMED
        waiting = world.at("b")
        assert waiting.state == api.UNCLAIMED
        assert waiting.placement_error == "insufficient resources: containers"
        handlers.remove_desired(pb.RemoveDesiredLRPRequest(process_guid="a"))
        assert (world.at("b").state, world.at("b").placement_error) == (api.CLAIMED, "")

    asyncio.run(scenario())


def test_many_that_wait_cost_one_search_for_room(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []

    def choose(self: Balance, app: str, *rest: Any) -> str | None:
        calls.append(app)
        return real(self, app, *rest)

    async def scenario() -> None:
        handlers = world.handlers()
        handlers.auction.present("cell-1", Cell(room=Room(containers=2)), 9)
        world.lrps.desire(desired("a", instances=500))
        handlers.auction.place_unclaimed()
        assert len(calls) == 3, "two that have room, one that has none"
        waiting = world.lrps.table.unclaimed()
        assert len(waiting) == 498
        assert {lrp.placement_error for lrp in waiting} == {"insufficient resources: containers"}

    real = Balance.choose
    monkeypatch.setattr(Balance, "choose", choose)
    asyncio.run(scenario())


def test_a_cells_room_outlives_a_restart_of_bbs(world: World) -> None:
    async def scenario() -> None:
        Auction(world.lrps, world.store).present("cell-1", Cell("10.0.16.21", Room(1)), 60)
        again = Auction(world.lrps, world.store)
        again.resume(grace_seconds=60)
        world.lrps.desire(desired("a", 2))
        again.place_unclaimed()
        assert [world.at("a", n).state for n in (0, 1)] == [api.CLAIMED, api.UNCLAIMED]
        again.present("cell-1", Cell("10.0.16.21", Room(2)), 60)  # it has grown
        assert world.at("a", 1).state == api.CLAIMED

    asyncio.run(scenario())


def test_heart_beats_write_nothing(world: World) -> None:
    async def scenario() -> int:
        auction = Auction(world.lrps, world.store)
        auction.present("cell-1", Cell("10.0.16.21"), 5.0)
        before = world.store._connection.total_changes
        for _ in range(10):
            auction.present("cell-1", Cell("10.0.16.21"), 5.0)
        return world.store._connection.total_changes - before

    assert asyncio.run(scenario()) == 0


def test_what_a_timer_cannot_write_is_tried_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that is full when a back-off or a presence ends must not strand an instance."""
    monkeypatch.setattr("meshnet.bbs.auction._RETRY_SECONDS", 0.05)
    monkeypatch.setattr("meshnet.bbs.cells._RETRY_SECONDS", 0.05)
    sql = world.store._connection.execute
    full = "CREATE TRIGGER full BEFORE {} ON records BEGIN SELECT RAISE(ABORT, 'disk full'); END"

    async def scenario() -> None:
        auction = Auction(world.lrps, world.store)
        auction.present("cell-1", Cell("10.0.16.21"), 60)
        world.lrps.desire(desired("a"))
        auction.place_unclaimed()
        world.crash(world.at())
        sql(full.format("UPDATE"))
        auction.crashed("a", 0)
        await asyncio.sleep(0.02)
        assert world.at().state == api.CRASHED
        sql("DROP TRIGGER full")
        await _until(lambda: world.at().state == api.CLAIMED)
        sql(full.format("DELETE"))
        auction.present("cell-1", Cell("10.0.16.21"), 0.01)
        await asyncio.sleep(0.04)
        assert world.at().actual_lrp_instance_key.cell_id == "cell-1"
        sql("DROP TRIGGER full")
        await _until(lambda: world.at().state == api.UNCLAIMED)

    asyncio.run(scenario())


async def _until(what: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not what():
            await asyncio.sleep(0.01)
