"""Instances' events as older clients of Diego's BBS hear them."""

from __future__ import annotations

import asyncio
from typing import Any

from meshnet.bbs.events import MAX_QUEUED, Hub
from meshnet.bbs.group_events import grouped
from meshnet.wire import bbs_api as api
from meshnet.wire.gen import bbs_pb2 as pb
from meshnet.wire.sse import Decoder


def lrp(state: str, presence: int = pb.ORDINARY) -> Any:
    return pb.ActualLRP(
        actual_lrp_key=pb.ActualLRPKey(process_guid="p", index=1),
        actual_lrp_instance_key=pb.ActualLRPInstanceKey(instance_guid="i", cell_id="c"),
        state=state,
        presence=presence,  # type: ignore[arg-type]
    )


def changed(before: Any, after: Any) -> Any:
    return pb.ActualLRPInstanceChangedEvent(
        actual_lrp_key=after.actual_lrp_key,
        actual_lrp_instance_key=after.actual_lrp_instance_key,
        before=api.info(before),
        after=api.info(after),
    )


def test_an_instances_event_is_its_groups() -> None:
    claimed, running = lrp(api.CLAIMED), lrp(api.RUNNING)
    leaving = lrp(api.RUNNING, pb.EVACUATING)
    created = pb.ActualLRPInstanceCreatedEvent(actual_lrp=claimed)
    assert grouped(api.CREATED, created) == [
        (
            "actual_lrp_created",
            pb.ActualLRPCreatedEvent(actual_lrp_group=pb.ActualLRPGroup(instance=claimed)),
        )
    ]
    assert grouped(api.CHANGED, changed(claimed, running)) == [
        (
            "actual_lrp_changed",
            pb.ActualLRPChangedEvent(
                before=pb.ActualLRPGroup(instance=claimed),
                after=pb.ActualLRPGroup(instance=running),
            ),
        )
    ]
    gone = pb.ActualLRPInstanceRemovedEvent(actual_lrp=leaving)
    removed = pb.ActualLRPRemovedEvent(actual_lrp_group=pb.ActualLRPGroup(evacuating=leaving))
    assert grouped(api.REMOVED, gone) == [("actual_lrp_removed", removed)]


def test_what_begins_to_leave_is_one_more_and_one_less() -> None:
    running, leaving = lrp(api.RUNNING), lrp(api.RUNNING, pb.EVACUATING)
    first, then = grouped(api.CHANGED, changed(running, leaving))
    assert first[0] == "actual_lrp_created" and first[1].actual_lrp_group.evacuating == leaving
    assert then[0] == "actual_lrp_removed" and then[1].actual_lrp_group.instance == running


def test_whose_cell_falls_silent_has_changed_and_is_not_gone() -> None:
    # Who hears that an instance is removed takes its routes away, and it may well be serving.
    ordinary, suspect = lrp(api.RUNNING), lrp(api.RUNNING, pb.SUSPECT)
    for before, after in ((ordinary, suspect), (suspect, ordinary)):
        ((name, event),) = grouped(api.CHANGED, changed(before, after))
        assert name == "actual_lrp_changed"
        assert (event.before.instance, event.after.instance) == (before, after)


def test_both_kinds_of_stream_hear_of_the_same_each_in_its_words() -> None:
    async def scenario() -> None:
        hub = Hub()
        streams = {kind: hub.subscribe("", groups=kind) for kind in (False, True)}
        for stream in streams.values():
            assert await anext(stream) == b""
        hub.publish(api.CREATED, pb.ActualLRPInstanceCreatedEvent(actual_lrp=lrp(api.CLAIMED)))
        hub.publish(api.DESIRED_REMOVED, pb.DesiredLRPRemovedEvent())
        heard = {}
        for kind, stream in streams.items():
            decoder = Decoder()
            found = [decoder.feed(await anext(stream))[0] for _ in range(2)]
            heard[kind] = [event.name for event in found]
            await stream.aclose()  # type: ignore[attr-defined]
        assert heard == {
            False: ["actual_lrp_instance_created", "desired_lrp_removed"],
            True: ["actual_lrp_created", "desired_lrp_removed"],
        }

    asyncio.run(scenario())


def test_a_stream_of_groups_too_far_behind_ends_as_any_other() -> None:
    async def scenario() -> None:
        hub = Hub()
        stream = hub.subscribe("", groups=True)
        running, leaving = lrp(api.RUNNING), lrp(api.RUNNING, pb.EVACUATING)
        for _ in range(MAX_QUEUED):  # two events each
            hub.publish(api.CHANGED, changed(running, leaving))
        assert len(hub) == 0
        assert sum([1 async for _ in stream]) == MAX_QUEUED + 1

    asyncio.run(scenario())
