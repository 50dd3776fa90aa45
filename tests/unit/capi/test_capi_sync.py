"""Healing: each peer is told everything until it has heard it, whatever the others do."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from capi_world import World, world

from meshnet.capi import sync as capi_sync
from meshnet.wire.gen import bbs_pb2 as pb


async def _heal_until(w: World, done: Callable[[], bool]) -> None:
    task = asyncio.create_task(w.sync.heal())
    try:
        async with asyncio.timeout(5):
            while not done():
                assert not task.done(), "healing ended"
                await asyncio.sleep(0.01)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def _bulks(w: World) -> list[tuple[object, ...]]:
    return [call for call in w.copilot.calls if call[0] == "bulk"]


def test_a_write_is_kept_and_sent_later_when_peers_are_away(tmp_path: Path) -> None:
    with world(tmp_path) as w:
        w.bbs.away = w.copilot.away = True
        app = w.app("a", start=True)
        route = w.route("istio.mesh.lab", "r")
        w.map(route, app)
        assert w.ask("GET", f"/v3/apps/{app}")["state"] == "STARTED"
        w.bbs.away = w.copilot.away = False
        asyncio.run(_heal_until(w, lambda: bool(_bulks(w))))
        (process,) = w.bbs.desired
        _, hosts, mappings, associations = _bulks(w)[-1]
        assert hosts == ["r.istio.mesh.lab"] and mappings == {(route, app): 1}
        assert associations == {app: [process]}


def test_one_peer_away_keeps_nothing_from_the_other(tmp_path: Path) -> None:
    with world(tmp_path) as w:
        w.bbs.away = w.copilot.away = True
        w.app("a", start=True)
        w.bbs.away = False
        asyncio.run(_heal_until(w, lambda: bool(w.bbs.desired)))
        w.bbs.away, w.copilot.away = True, False
        asyncio.run(_heal_until(w, lambda: bool(_bulks(w))))


def test_only_our_obsolete_processes_are_removed(tmp_path: Path) -> None:
    with world(tmp_path) as w:
        w.app("a", start=True)
        (wanted,) = w.bbs.desired
        w.bbs.desired["stale"] = pb.DesiredLRP(process_guid="stale", domain="cf-apps")
        w.bbs.desired["task"] = pb.DesiredLRP(process_guid="task", domain="cf-tasks")
        asyncio.run(_heal_until(w, lambda: "stale" not in w.bbs.desired))
        assert set(w.bbs.desired) == {wanted, "task"}


def test_an_odd_record_does_not_end_healing(tmp_path: Path) -> None:
    with world(tmp_path) as w:
        app = w.app("a", start=True)
        # No request can make it so any more; a record written by an older version may be.
        w.records.apps.put(replace(w.records.apps.get(app), disk_in_mb=10**12))
        asyncio.run(_heal_until(w, lambda: len(_bulks(w)) >= 2))


def test_a_deleted_apps_policies_are_still_to_be_forgotten_after_a_restart(tmp_path: Path) -> None:
    with world(tmp_path) as w:
        app = w.app("a")
        w.ask("DELETE", f"/v3/apps/{app}", None, 202)  # no policy server in this test
    with world(tmp_path) as w:
        assert [d.guid for d in w.records.departed] == [app]


def test_a_change_goes_between_the_parts_of_healing(tmp_path: Path) -> None:
    with world(tmp_path) as w:
        for name in ("a", "b", "c"):
            w.app(name, start=True)
        route = w.records.routes.get(w.route("istio.mesh.lab", "r"))
        order: list[str] = []
        first = asyncio.Event()

        async def desire(lrp: object) -> None:
            order.append("app")
            first.set()
            await asyncio.sleep(0.02)

        async def run() -> None:
            healing = asyncio.create_task(w.sync.heal())
            await first.wait()
            await w.sync.route_changed(None, route)
            order.append("change")
            async with asyncio.timeout(5):
                while order.count("app") < 3:
                    await asyncio.sleep(0.01)
            healing.cancel()
            await asyncio.gather(healing, return_exceptions=True)

        w.bbs.desire = desire  # type: ignore[method-assign]
        asyncio.run(run())
        assert order.index("change") < len(order) - 1, order


def test_a_peer_that_says_nothing_delays_answers_no_longer_than_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(capi_sync, "_ANSWER_SECONDS", 0.05)
    with world(tmp_path) as w:
        routes = [w.records.routes.get(w.route("istio.mesh.lab", f"r{n}")) for n in range(3)]
        told: list[str] = []

        async def run() -> None:
            answers = asyncio.Event()

            async def upsert(route: Any) -> None:
                await answers.wait()
                told.append(route.guid)

            w.copilot.upsert_route = upsert  # type: ignore[method-assign]
            async with asyncio.timeout(5):
                for route in routes:
                    await w.sync.route_changed(None, route)
                assert not told
                answers.set()
                while len(told) < len(routes):
                    await asyncio.sleep(0.01)

        asyncio.run(run())
        assert told == [route.guid for route in routes], "in the order of the writes"


def test_what_goes_with_many_things_waits_once_for_a_peer_that_says_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with world(tmp_path) as w:
        apps = [w.app(name, start=True) for name in ("a", "b", "c")]
        for n, app in enumerate(apps):
            w.map(w.route("istio.mesh.lab", f"r{n}"), app)
        space, seconds = w.space, 1.0
        answers, told = asyncio.Event(), list[tuple[str, str]]()

        def hanging(word: str) -> Callable[[str], Any]:
            async def call(guid: str) -> None:
                await answers.wait()
                told.append((word, guid))

            return call

        w.copilot.delete_route = hanging("route")  # type: ignore[method-assign]
        w.copilot.dissociate = hanging("app")  # type: ignore[method-assign]
        monkeypatch.setattr(capi_sync, "_ANSWER_SECONDS", seconds)
        began = time.monotonic()
        w.ask("DELETE", f"/v3/spaces/{space}", None, 202)
        assert time.monotonic() - began < 4 * seconds and not told

        async def go_on() -> None:
            answers.set()
            async with asyncio.timeout(5):
                while len(told) < 6:
                    await asyncio.sleep(0.01)

        w.http.run(go_on())
        assert [word for word, _ in told] == ["route"] * 3 + ["app"] * 3, "in their order"
