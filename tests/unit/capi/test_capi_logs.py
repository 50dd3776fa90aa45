"""log-cache as the Cloud Controller uses it: usage in stats, staging and crashes in logs."""

from __future__ import annotations

import asyncio
import dataclasses
import time
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from capi_world import LogCache, world

from meshnet.capi.logs import Logs
from meshnet.model.errors import PeerError
from meshnet.wire import bbs_api
from meshnet.wire.gen import bbs_pb2 as pb
from meshnet.wire.gen import loggregator_pb2 as loggregator

APP = "6aae6df4-dae3-4efa-a6f2-91596f6b9e15"


def gauge(app: str, guid: str, ns: int, cpu: float) -> Any:
    values = {"cpu": cpu, "memory": 5e6, "disk": 7e6}
    metrics = {name: loggregator.GaugeValue(value=value) for name, value in values.items()}
    return loggregator.Envelope(
        timestamp=ns,
        source_id=app,
        tags={"process_instance_id": guid},
        gauge=loggregator.Gauge(metrics=metrics),
    )


def running(process: str, index: int, guid: str) -> Any:
    return pb.ActualLRP(
        actual_lrp_key=pb.ActualLRPKey(process_guid=process, index=index),
        actual_lrp_instance_key=pb.ActualLRPInstanceKey(instance_guid=guid, cell_id="cell-1"),
        state="RUNNING",
    )


def test_stats_show_what_each_instance_uses_now(tmp_path: Path) -> None:
    with world(tmp_path) as w:
        app = w.app("a", start=True)
        w.ask("POST", f"/v3/processes/{app}/actions/scale", {"instances": 3}, 202)
        (process,) = w.bbs.desired
        w.bbs.actual = [running(process, i, f"g{i}") for i in range(3)]
        now = time.time_ns()
        w.log_cache.envelopes += [
            gauge(app, "g0", now - 5_000_000_000, 90.0),
            gauge(app, "g0", now - 1_000_000_000, 12.5),
            gauge(app, "of an earlier instance 0", now, 99.0),
            gauge(app, "g1", now - 60_000_000_000, 50.0),
        ]
        rows = w.ask("GET", f"/v3/processes/{app}/stats")["resources"]
        used = rows[0]["usage"]
        assert (used["cpu"], used["mem"], used["disk"]) == (0.125, 5_000_000, 7_000_000)
        assert used["time"].endswith("Z")
        assert [row["usage"]["cpu"] for row in rows[1:]] == [0.0, 0.0]
        w.log_cache.away = True
        rows = w.ask("GET", f"/v3/processes/{app}/stats", None, 200)["resources"]
        assert [row["state"] for row in rows] == ["RUNNING"] * 3


def test_a_log_cache_that_is_away_is_said_to_be(tmp_path: Path) -> None:
    with world(tmp_path) as w:
        for path in ("/api/v1/info", "/api/v1/read/a?limit=1", "/v1/read/a"):
            assert w.ask("GET", path, None, 503)["error"] == "log-cache does not answer"


def test_a_parameter_that_is_there_twice_is_passed_on_twice(tmp_path: Path) -> None:
    with world(tmp_path) as w:
        asked: list[str] = []

        def answer(request: httpx.Request) -> httpx.Response:
            asked.append(request.url.query.decode())
            return httpx.Response(200, json={})

        http = httpx.AsyncClient(transport=httpx.MockTransport(answer), base_url="http://lc")
        w.asgi.state.service = dataclasses.replace(w.service, log_cache=http)
        query = "envelope_types=COUNTER&envelope_types=GAUGE&limit=5"
        w.ask("GET", f"/api/v1/read/a?{query}", None, 200)
        assert asked == [query]


def test_policies_of_those_without_a_token_are_not_taken_in(tmp_path: Path) -> None:
    with world(tmp_path) as w:
        taken: list[int] = []

        def answer(request: httpx.Request) -> httpx.Response:
            taken.append(len(request.content))
            return httpx.Response(200, json={})

        http = httpx.AsyncClient(transport=httpx.MockTransport(answer), base_url="http://p")
        w.asgi.state.service = dataclasses.replace(w.service, policy=http)
        for headers in ({}, {"authorization": "bearer x.y.z"}):
            path = "/networking/v1/external/policies"
            assert w.http.post(path, content=b"x" * 1000, headers=headers).status_code == 200
        assert taken == [1000, 0]


class Bbs:
    """An event stream of one crash."""

    async def events(self) -> AsyncIterator[Any]:
        yield SimpleNamespace()
        crash = pb.ActualLRPCrashedEvent(
            actual_lrp_key=pb.ActualLRPKey(process_guid=f"{APP}-v1", index=2),
            actual_lrp_instance_key=pb.ActualLRPInstanceKey(instance_guid="g", cell_id="cell-1"),
            crash_count=3,
            crash_reason='APP/PROC/WEB: Exited with "1"',
            since=7,
        )
        yield SimpleNamespace(name=bbs_api.CRASHED_EVENT, message=crash)
        yield SimpleNamespace(name=bbs_api.CREATED, message=None)
        await asyncio.sleep(0)
        raise PeerError("broken")


def test_a_crash_is_in_the_apps_log_as_cc_writes_it() -> None:
    cache, told = LogCache(), list[tuple[str, int]]()

    async def main() -> None:
        with pytest.raises(PeerError):
            await Logs(cache).report_crashes(
                Bbs(), lambda guid, data: told.append((guid, data["index"]))
            )  # type: ignore[arg-type]

    asyncio.run(main())
    assert told == [(APP, 2)]
    assert cache.said() == [
        'API OUT Process has crashed with type: "web"',
        f'API OUT App instance exited with guid {APP} payload: {{"instance"=>"g", "index"=>2, '
        '"cell_id"=>"cell-1", "reason"=>"CRASHED", "exit_description"=>'
        '"APP/PROC/WEB: Exited with \\"1\\"", "crash_count"=>3, "crash_timestamp"=>7, '
        '"version"=>"v1"}',
    ]
