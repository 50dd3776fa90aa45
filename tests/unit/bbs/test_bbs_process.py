"""BBS as a real process: the life of an instance, kill -9, and its subscribers."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from collections import Counter
from pathlib import Path
from typing import Any

import httpx
import pytest
from bbs_process import Bbs, Listener, crash, desired, running, start, until

from meshnet.model.errors import Conflict, InputError, NotFound, PeerError
from meshnet.wire import bbs_api as api
from meshnet.wire.bbs_client import BbsClient
from meshnet.wire.gen import bbs_pb2 as pb
from meshnet.wire.sse import Decoder


async def _cells(client: BbsClient, *names: str, seconds: int = 30) -> None:
    for name in names:
        await client.presence(name, "10.0.16.2" + name[-1], seconds)


async def _in_state(client: BbsClient, guid: str, state: str, count: int = 1) -> list[Any]:
    async def found() -> list[Any]:
        lrps = await client.actual_lrps(process_guid=guid)
        return lrps if [lrp.state for lrp in lrps] == [state] * count else []

    return await until(found)


def test_an_instance_lives_from_desire_to_removal(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with running(tmp_path) as (bbs, client), Listener(bbs.url) as heard:
            await client.desire(desired("a", 2))
            waiting = await _in_state(client, "a", api.UNCLAIMED, 2)
            assert {lrp.placement_error for lrp in waiting} == {"found no compatible cell"}
            await _cells(client, "cell-1", "cell-2")
            claimed = await _in_state(client, "a", api.CLAIMED, 2)
            for lrp in claimed:
                await start(client, lrp)
            await _in_state(client, "a", api.RUNNING, 2)
            before = claimed[1].actual_lrp_instance_key
            await crash(client, claimed[1])
            [_, again] = await until(lambda: _states(client, "a", [api.RUNNING, api.CLAIMED]))
            assert again.actual_lrp_instance_key.instance_guid != before.instance_guid
            assert (again.crash_count, again.crash_reason) == (1, "exit status 1")
            await start(client, again)
            await client.remove_desired("a")
            assert await client.actual_lrps() == [] == await client.desired_lrps()
            await until(lambda: _last(heard, api.DESIRED_REMOVED))
            counts = Counter(heard.names())
            # The one that crashed ended, and another one began.
            assert counts[api.CREATED] == 3 == counts[api.REMOVED]
            assert counts[api.CRASHED_EVENT] == 1 == counts[api.DESIRED_CREATED]

    asyncio.run(scenario())


async def _states(client: BbsClient, guid: str, states: list[str]) -> list[Any]:
    lrps = await client.actual_lrps(process_guid=guid)
    return lrps if [lrp.state for lrp in lrps] == states else []


async def _last(heard: Listener, name: str) -> bool:
    return bool(heard.events) and heard.events[-1].name == name


def test_scaling_removes_the_highest_indexes_and_routes_are_updated(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with running(tmp_path) as (_, client):
            await _cells(client, "cell-1", "cell-2")
            await client.desire(desired("a", 4))
            placed = await _in_state(client, "a", api.CLAIMED, 4)
            on = Counter(lrp.actual_lrp_instance_key.cell_id for lrp in placed)
            assert on == {"cell-1": 2, "cell-2": 2}
            await client.update_desired("a", instances=2)
            left = await client.actual_lrps(process_guid="a")
            assert left == placed[:2]
            await client.update_desired("a", instances=3)
            assert len(await _in_state(client, "a", api.CLAIMED, 3)) == 3
            routes = pb.ProtoRoutes(routes={"internal-router": b'[{"hostname":"a.apps.internal"}]'})
            await client.update_desired("a", routes=routes)
            lrp = await client.desired_lrp("a")
            assert (lrp.routes, lrp.instances, lrp.modification_tag.index) == (routes, 3, 3)

    asyncio.run(scenario())


def test_nothing_acknowledged_is_lost_by_kill_9(tmp_path: Path) -> None:
    """Writers hammer BBS while it is killed; what they were told is there afterwards."""

    async def writer(client: BbsClient, number: int, done: list[str]) -> None:
        for count in range(10_000):
            guid = f"p{number}-{count}"
            try:
                await client.desire(desired(guid, 2))
            except PeerError:
                return
            done.append(guid)

    async def scenario() -> None:
        async with running(tmp_path) as (bbs, client):
            await _cells(client, "cell-1", "cell-2")
            for _ in range(3):
                done: list[str] = []
                prefix = len(await client.desired_lrps())
                writers = [
                    asyncio.create_task(writer(client, 1000 * prefix + n, done)) for n in range(4)
                ]
                while len(done) < 40:
                    await asyncio.sleep(0)
                bbs.kill()
                await asyncio.gather(*writers)
                await bbs.start()
                known = {lrp.process_guid for lrp in await client.desired_lrps()}
                assert set(done) <= known
                actual = await client.actual_lrps()
                # What was not acknowledged is there whole or not at all.
                assert Counter(a.actual_lrp_key.process_guid for a in actual) == dict.fromkeys(
                    known, 2
                )
                assert {a.state for a in actual} == {api.CLAIMED}

    asyncio.run(scenario())


def test_after_kill_9_the_state_is_back_and_subscribers_reconnect(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with (
            running(tmp_path) as (bbs, client),
            Listener(bbs.url) as heard,
            Listener(bbs.url, "cell-1") as cell,
        ):
            await _cells(client, "cell-1", "cell-2")
            await client.desire(desired("a", 2))
            for lrp in await _in_state(client, "a", api.CLAIMED, 2):
                await start(client, lrp)
            before = await client.actual_lrps(), await client.desired_lrps()
            bbs.kill()
            killed = time.monotonic()
            await bbs.start()
            assert (await client.actual_lrps(), await client.desired_lrps()) == before
            connections = lambda: _more(heard, cell)  # noqa: E731
            await until(connections, 5)
            assert time.monotonic() - killed < 5
            heard.events.clear()
            cell.events.clear()
            await client.desire(desired("b"))
            await until(lambda: _heard(heard, api.CLAIMED))
            # Nobody has spoken yet, but both cells are known: "b" goes to the first of them.
            [lrp] = await _in_state(client, "b", api.CLAIMED)
            assert lrp.actual_lrp_instance_key.cell_id == "cell-1"
            await until(lambda: _heard(cell, api.CLAIMED))

    asyncio.run(scenario())


async def _more(*listeners: Listener) -> bool:
    return all(one.connections > 1 for one in listeners)


async def _heard(listener: Listener, state: str) -> bool:
    return state in listener.states()


def test_a_back_off_goes_on_after_kill_9(tmp_path: Path) -> None:
    """A crashed instance that was due while BBS or every cell was away is not forgotten."""

    async def scenario() -> None:
        async with running(tmp_path, cell_grace_seconds=0.2) as (bbs, client):
            await _cells(client, "cell-1", seconds=1)
            await client.desire(desired("a"))
            for count in (1, 2):
                [lrp] = await _in_state(client, "a", api.CLAIMED)
                await crash(client, lrp)
                [lrp] = await _in_state(client, "a", api.CLAIMED)
                assert lrp.crash_count == count
            await crash(client, lrp)
            [lrp] = await _in_state(client, "a", api.CRASHED)
            assert lrp.crash_count == 3
            bbs.kill()
            _age(bbs, seconds=31)
            await bbs.start()
            await _in_state(client, "a", api.CLAIMED)  # the cell known before
            await _in_state(client, "a", api.UNCLAIMED)  # it did not come back
            await _cells(client, "cell-2")
            [lrp] = await _in_state(client, "a", api.CLAIMED)
            assert lrp.actual_lrp_instance_key.cell_id == "cell-2"

    asyncio.run(scenario())


def _age(bbs: Bbs, seconds: float) -> None:
    """Let the crash lie further back, as a clock would."""
    import base64

    from meshnet.store import Store

    store = Store.open(bbs.config["store"])
    for key, value in store.list("actual").items():
        lrp = pb.ActualLRP.FromString(base64.b64decode(value))
        lrp.since -= int(seconds * 1e9)
        store.put("actual", key, base64.b64encode(lrp.SerializeToString()).decode())
    store.close()


def test_a_silent_cells_instances_go_elsewhere(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with running(tmp_path) as (bbs, client), Listener(bbs.url, "cell-1") as old:
            await _cells(client, "cell-1", seconds=1)
            await client.desire(desired("a", 2))
            for lrp in await _in_state(client, "a", api.CLAIMED, 2):
                assert lrp.actual_lrp_instance_key.cell_id == "cell-1"
                await start(client, lrp)
            await _cells(client, "cell-2")
            found = await until(
                lambda: _states(client, "a", [api.CLAIMED, api.RUNNING, api.CLAIMED, api.RUNNING])
            )
            assert [x.presence for x in found] == [pb.ORDINARY, pb.SUSPECT] * 2
            assert [x.actual_lrp_instance_key.cell_id for x in found] == ["cell-2", "cell-1"] * 2
            assert [c.cell_id for c in await client.cells()] == ["cell-2"]
            assert api.REMOVED not in old.names()
            await start(client, lrp)  # who is silent is not believed, and not refused either
            for one in (found[0], found[2]):
                await start(client, one)
            await until(lambda: _states(client, "a", [api.RUNNING, api.RUNNING]))

            async def told() -> bool:
                return old.names().count(api.REMOVED) == 2

            # The old cell, if it lives after all, hears that it has to stop them.
            await until(told)
            with pytest.raises(Conflict):
                await start(client, lrp)

    asyncio.run(scenario())


def test_bad_requests_are_answered_in_band_and_change_nothing(tmp_path: Path) -> None:
    import httpx

    async def scenario() -> None:
        async with running(tmp_path) as (bbs, client):
            for lrp in (pb.DesiredLRP(process_guid="a"), desired("a", -1), desired("a", 2**31 - 1)):
                with pytest.raises(InputError):
                    await client.desire(lrp)
            with pytest.raises(InputError):
                await client.presence("", "10.0.16.21", 5)
            with pytest.raises(InputError):
                big = desired("a")
                big.routes.routes["x"] = b"x" * (2 * 1024 * 1024)
                await client.desire(big)
            with pytest.raises(NotFound):
                await client.update_desired("nobody", instances=1)
            with pytest.raises(NotFound):
                await client.remove_actual("nobody", 0)
            await client.remove_desired("nobody")
            async with httpx.AsyncClient(base_url=bbs.url) as http:
                reply = await http.post(api.DESIRE, content=b"\xff\xff\xff")
                error = pb.DesiredLRPLifecycleResponse.FromString(reply.content).error
                assert (reply.status_code, error.type) == (200, pb.Error.InvalidProtobufMessage)
                assert (await http.post(api.EVENTS, content=b"\xff\xff")).status_code == 400
                assert (await http.post(api.PING)).content == b"\x08\x01"
            assert await client.desired_lrps() == [] == await client.actual_lrps()

    asyncio.run(scenario())


def test_older_clients_get_a_stream_of_groups(tmp_path: Path) -> None:
    async def scenario() -> list[str]:
        async with (
            running(tmp_path) as (bbs, client),
            httpx.AsyncClient() as http,
            http.stream("GET", bbs.url + api.GROUP_EVENTS) as reply,
        ):
            assert reply.headers["content-type"].startswith("text/event-stream")
            await client.desire(desired("a"))
            decoder, names = Decoder(), list[str]()
            async with asyncio.timeout(10):
                async for chunk in reply.aiter_raw():
                    names += [event.name for event in decoder.feed(chunk)]
                    if len(names) >= 2:
                        return names
        raise AssertionError(names)

    assert asyncio.run(scenario())[:2] == [api.DESIRED_CREATED, "actual_lrp_created"]


def test_sigterm_ends_it_with_0_although_streams_are_open(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with running(tmp_path) as (bbs, _), Listener(bbs.url):
            began = time.monotonic()
            assert await asyncio.to_thread(bbs.end, signal.SIGTERM) == 0
            assert time.monotonic() - began < 3

    asyncio.run(scenario())


def test_a_second_bbs_waits_moves_nothing_and_follows_the_first(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with running(tmp_path) as (bbs, client):
            await _cells(client, "cell-1")
            await client.desire(desired("a"))
            before = await client.actual_lrps()
            second = bbs.spawn(cell_grace_seconds=30.0)
            try:
                assert second.stderr is not None
                line = await asyncio.to_thread(second.stderr.readline)
                assert b"another process holds the store" in line
                assert await client.actual_lrps() == before
                bbs.kill()

                async def follows() -> bool:
                    with contextlib.suppress(PeerError):
                        return bool(await client.actual_lrps() == before)
                    return False

                await until(follows)
            finally:
                second.kill()
                second.communicate()

    asyncio.run(scenario())
