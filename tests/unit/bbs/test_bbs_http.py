"""BBS's HTTP face in one process: every call's lists, raw bytes, and the event stream's framing."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from bbs_process import desired
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_bbs_lrps import World, running_report

from meshnet.bbs import app
from meshnet.bbs.auction import Auction
from meshnet.bbs.cells import Cell
from meshnet.bbs.converge import Room
from meshnet.bbs.domains import Domains
from meshnet.bbs.events import Hub
from meshnet.bbs.handlers import Handlers
from meshnet.bbs.queries import Queries
from meshnet.wire import bbs_api as api
from meshnet.wire.bbs_running import Running
from meshnet.wire.gen import bbs_pb2 as pb


class Http(World):
    """BBS with one cell, one running instance, one that waits; asked over HTTP."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.loop = asyncio.new_event_loop()
        self.auction = Auction(self.lrps, self.store)
        self.domains = Domains(self.store, lambda: self.now / 1e9)
        handlers = Handlers(self.lrps, self.auction, self.domains)
        self.calls = {call.path: call for call in app.calls(handlers, Queries(self.lrps))}
        self.stream = Hub()
        self.app = app.application(handlers, Queries(self.lrps), self.stream)
        self.fill()

    def fill(self) -> None:
        async def filled() -> None:
            cell = Cell("10.0.16.21", Room(1, 100, "z1"))
            self.auction.present("cell-1", cell, 3600)

        self.loop.run_until_complete(filled())
        for guid in list(self.lrps.desired):
            self.lrps.remove(guid)
        self.lrps.desire(desired("a", 2))
        self.loop.run_until_complete(self._place())
        self.start(self.at())

    async def _place(self) -> None:
        self.auction.place_unclaimed()

    def run(self, work: Callable[[httpx.AsyncClient], Awaitable[Any]]) -> Any:
        async def scenario() -> Any:
            transport = httpx.ASGITransport(app=self.app)
            async with httpx.AsyncClient(transport=transport, base_url="http://bbs") as client:
                return await work(client)

        return self.loop.run_until_complete(scenario())

    def post(self, path: str, body: bytes) -> httpx.Response:
        reply: httpx.Response = self.run(lambda client: client.post(path, content=body))
        return reply

    def ask(self, path: str, request: Any = None) -> Any:
        """The reply's message."""
        reply = self.post(path, request.SerializeToString() if request else b"")
        assert (reply.status_code, reply.headers["content-type"]) == (200, api.CONTENT_TYPE)
        return self.calls[path].response.FromString(reply.content)


@pytest.fixture
def http(tmp_path: Path) -> Iterator[Http]:
    made = Http(tmp_path / "bbs.db")
    yield made
    made.loop.close()


def test_actual_lrps_are_listed_by_cell_process_index_and_guids(http: Http) -> None:
    running, waiting = http.at("a", 0), http.at("a", 1)
    assert sorted(
        http.ask(api.ACTUAL_LIST).actual_lrps, key=lambda lrp: lrp.actual_lrp_key.index
    ) == [running, waiting]
    for request, found in (
        (pb.ActualLRPsRequest(cell_id="cell-1"), [running]),
        (pb.ActualLRPsRequest(process_guid="a", index=1), [waiting]),
        (pb.ActualLRPsRequest(process_guid="a", index=0), [running]),
        (pb.ActualLRPsRequest(domain="cf-apps"), [running, waiting]),
        (pb.ActualLRPsRequest(domain="other"), []),
        (pb.ActualLRPsRequest(index=-1), []),
    ):
        listed = http.ask(api.ACTUAL_LIST, request).actual_lrps
        assert sorted(listed, key=lambda lrp: lrp.actual_lrp_key.index) == found
    some = pb.ActualLRPsByProcessGuidsRequest(process_guids=["nobody", "a", "a"])
    assert list(http.ask(api.ACTUAL_BY_GUIDS, some).actual_lrps) == [running, waiting]


def test_a_group_shows_the_suspect_until_its_replacement_runs(http: Http) -> None:
    http.moves.cell_lost("cell-1")
    request = pb.ActualLRPGroupByProcessGuidAndIndexRequest(process_guid="a", index=0)
    group = http.ask(api.GROUP_BY_INDEX, request).actual_lrp_group
    assert group.instance == http.lrps.table.get(("a", 0), pb.SUSPECT)
    assert not group.HasField("evacuating")
    report = running_report(http.at())
    report.actual_lrp_instance_key.instance_guid = "new"
    report.actual_lrp_instance_key.cell_id = "cell-2"
    http.reports.start(report)
    assert http.ask(api.GROUP_BY_INDEX, request).actual_lrp_group.instance == http.at()
    of_process = pb.ActualLRPGroupsByProcessGuidRequest(process_guid="a")
    assert len(http.ask(api.GROUPS_BY_GUID, of_process).actual_lrp_groups) == 2
    on_cell = pb.ActualLRPGroupsRequest(cell_id="cell-2")
    assert len(http.ask(api.GROUP_LIST, on_cell).actual_lrp_groups) == 1
    request.index = 7
    assert http.ask(api.GROUP_BY_INDEX, request).error.type == pb.Error.ResourceNotFound


def test_desired_lrps_are_listed_whole_and_in_parts(http: Http) -> None:
    whole = http.lrps.desired["a"]
    assert list(http.ask(api.DESIRED_LIST).desired_lrps) == [whole]
    some = pb.DesiredLRPsRequest(process_guids=["nobody", "a"], domain="cf-apps")
    assert list(http.ask(api.DESIRED_LIST, some).desired_lrps) == [whole]
    [routing] = http.ask(api.ROUTING_LIST).desired_lrps
    assert (routing.process_guid, routing.instances) == ("a", 2) and not routing.HasField("action")
    [info] = http.ask(api.SCHEDULING_LIST).desired_lrp_scheduling_infos
    assert (info.desired_lrp_key.process_guid, info.instances) == ("a", 2)
    by_guid = pb.DesiredLRPByProcessGuidRequest(process_guid="a")
    one = http.ask(api.SCHEDULING_BY_GUID, by_guid).desired_lrp_scheduling_info
    assert one == info
    by_guid.process_guid = "nobody"
    for path in (api.SCHEDULING_BY_GUID, api.DESIRED_BY_GUID):
        assert http.ask(path, by_guid).error.type == pb.Error.ResourceNotFound


def test_a_cell_is_listed_with_what_it_takes(http: Http) -> None:
    [cell] = http.ask(api.CELLS).cells
    assert (cell.cell_id, cell.rep_address, cell.zone) == ("cell-1", "10.0.16.21", "z1")
    assert (cell.capacity.memory_mb, cell.capacity.containers) == (100, 1)


def test_nothing_new_goes_to_a_cell_that_is_being_emptied(http: Http) -> None:
    cell = pb.CellPresence(cell_id="cell-2", capacity=pb.CellCapacity(containers=9))
    leaving = pb.CellPresenceRequest(cell=cell, ttl_seconds=60, evacuating=True)
    http.ask(api.PRESENCE, leaving)
    assert http.at("a", 1).state == api.UNCLAIMED
    assert http.at("a", 1).placement_error == "insufficient resources: containers"
    http.ask(api.PRESENCE, pb.CellPresenceRequest(cell=cell, ttl_seconds=60))
    assert http.at("a", 1).actual_lrp_instance_key.cell_id == "cell-2"


def test_what_needs_more_memory_than_there_is_waits_and_says_so(http: Http) -> None:
    cell = pb.CellPresence(cell_id="cell-2", capacity=pb.CellCapacity(memory_mb=64))
    http.ask(api.PRESENCE, pb.CellPresenceRequest(cell=cell, ttl_seconds=60))
    http.lrps.remove("a")
    big = desired("big", 1)
    big.memory_mb = 101
    http.ask(api.DESIRE, pb.DesireLRPRequest(desired_lrp=big))
    assert http.at("big").placement_error == "insufficient resources: memory"
    big.process_guid, big.memory_mb = "less", 100
    http.ask(api.DESIRE, pb.DesireLRPRequest(desired_lrp=big))
    assert http.at("less").actual_lrp_instance_key.cell_id == "cell-1"


def test_a_domain_is_fresh_as_long_as_was_said(http: Http) -> None:
    for domain, ttl in (("cf-apps", 120), ("for-ever", 0)):
        http.ask(api.UPSERT_DOMAIN, pb.UpsertDomainRequest(domain=domain, ttl=ttl))
    assert list(http.ask(api.DOMAINS).domains) == ["cf-apps", "for-ever"]
    http.now += 120 * 10**9
    assert list(http.ask(api.DOMAINS).domains) == ["for-ever"]
    error = http.ask(api.UPSERT_DOMAIN, pb.UpsertDomainRequest(ttl=1)).error
    assert error.type == pb.Error.InvalidRequest


def test_older_names_of_a_call_are_answered_too(http: Http) -> None:
    for new, old in api.OLDER.items():
        if new not in (api.EVENTS, api.GROUP_EVENTS):  # which end never
            assert http.post(old, b"").content == http.post(new, b"").content


@pytest.mark.parametrize("guid", ["", "a/b", "a b", "ä", "a\n", "../a"])
def test_a_process_guid_of_other_characters_is_refused(http: Http, guid: str) -> None:
    before = http.stored()
    reply = http.ask(api.DESIRE, pb.DesireLRPRequest(desired_lrp=desired(guid)))
    assert reply.error.type == pb.Error.InvalidRequest
    assert http.stored() == before


def test_a_body_too_large_is_refused_in_band(http: Http) -> None:
    before = http.stored()
    reply = http.post(api.DESIRE, b"\0" * (1024 * 1024 + 1))
    error = pb.DesiredLRPLifecycleResponse.FromString(reply.content).error
    assert (reply.status_code, error.type) == (200, pb.Error.InvalidRequest)
    assert http.stored() == before


_PATHS = sorted(
    call.path for call in app.calls(Handlers.__new__(Handlers), Queries.__new__(Queries))
)


@given(st.sampled_from(_PATHS), st.binary(max_size=120))
@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
def test_any_bytes_are_done_or_refused_in_band_with_nothing_changed(
    http: Http, path: str, body: bytes
) -> None:
    before = http.stored()
    reply = http.post(path, body)
    assert reply.status_code == 200
    message = http.calls[path].response.FromString(reply.content)
    if message.HasField("error"):
        assert message.error.message
        assert http.stored() == before
    else:
        http.fill()


_KEYS = st.builds(
    pb.ActualLRPKey,
    process_guid=st.sampled_from(["a", "b", ""]),
    index=st.sampled_from([0, 1, 2, -1, 2**31 - 1, -(2**31)]),
)
_REPORTS = st.sampled_from(
    [
        (api.START, pb.StartActualLRPRequest),
        (api.CRASH, pb.CrashActualLRPRequest),
        (api.FAIL, pb.FailActualLRPRequest),
        (api.RETIRE, pb.RetireActualLRPRequest),
        (api.EVACUATE_CLAIMED, pb.EvacuateClaimedActualLRPRequest),
        (api.EVACUATE_CRASHED, pb.EvacuateCrashedActualLRPRequest),
        (api.EVACUATE_STOPPED, pb.EvacuateStoppedActualLRPRequest),
        (api.EVACUATE_RUNNING, pb.EvacuateRunningActualLRPRequest),
        (api.REMOVE_EVACUATING, pb.RemoveEvacuatingActualLRPRequest),
    ]
)


_STEPS = st.one_of(
    st.tuples(_REPORTS, _KEYS, st.sampled_from(["", "own", "x"])),
    st.sampled_from(["lost cell-1", "lost cell-2", "back cell-1", "place"]),
)


@given(st.lists(_STEPS, max_size=20))
@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
def test_whatever_cells_report_each_place_has_one_ordinary_record_and_what_is_told_is_what_is(
    http: Http, steps: list[Any]
) -> None:
    http.fill()
    http.hub.heard.clear()
    before = list(http.lrps.table.all())
    known = {_name(lrp): lrp for lrp in before}
    for step in steps:
        if isinstance(step, str):
            _move(http, *step.split())
            continue
        (path, kind), key, guid = step
        request = kind(actual_lrp_key=key)
        if hasattr(request, "actual_lrp_instance_key"):
            own = http.lrps.table.get((key.process_guid, key.index))
            if guid == "own" and own is not None:
                request.actual_lrp_instance_key.CopyFrom(own.actual_lrp_instance_key)
            elif guid:
                instance = pb.ActualLRPInstanceKey(instance_guid=guid, cell_id="cell-1")
                request.actual_lrp_instance_key.CopyFrom(instance)
        http.ask(path, request)
    rows = list(http.lrps.table.all())
    ordinary = [lrp.actual_lrp_key.index for lrp in rows if lrp.presence == pb.ORDINARY]
    assert sorted(ordinary) == [0, 1]
    # Who follows the events knows what who lists knows.
    for name, message, _ in http.hub.heard:
        if name == api.CREATED:
            known[_name(message.actual_lrp)] = message.actual_lrp
        elif name == api.CHANGED:
            after = api.changed_lrp(message)
            known.pop((after.actual_lrp_key.index, ""), None)
            known[_name(after)] = after
        elif name == api.REMOVED:
            known.pop(_name(message.actual_lrp), None)
    seen = {_name(lrp): (lrp.state, lrp.presence) for lrp in rows}
    assert {name: (lrp.state, lrp.presence) for name, lrp in known.items()} == seen
    followed, listed = Running(), Running()
    followed.replace(before)
    for name, message, _ in http.hub.heard:
        followed.apply(name, message)
    listed.replace(rows)
    assert followed.of("a") == listed.of("a")


def _move(http: Http, what: str, cell: str = "") -> None:
    if what == "lost":
        http.moves.cell_lost(cell)
    elif what == "back":
        http.moves.cell_back(cell)
    else:
        http.lrps.place([("a", 0), ("a", 1)], ["cell-1", "cell-2"])


def _name(lrp: Any) -> tuple[int, str]:
    return lrp.actual_lrp_key.index, lrp.actual_lrp_instance_key.instance_guid


def test_an_event_stream_is_framed_as_diegos(http: Http) -> None:
    async def heard() -> tuple[list[dict[str, Any]], bytes]:
        sent: list[dict[str, Any]] = []
        done = asyncio.Event()
        bodies = [pb.EventsByCellId(cell_id="cell-1").SerializeToString()]

        async def receive() -> dict[str, Any]:
            if bodies:
                return {"type": "http.request", "body": bodies.pop(), "more_body": False}
            await done.wait()
            return {"type": "http.disconnect"}

        async def send(message: dict[str, Any]) -> None:
            sent.append(message)

        scope = {
            "type": "http", "method": "POST", "path": api.EVENTS, "headers": [],
            "query_string": b"", "asgi": {"version": "3.0"},
        }  # fmt: skip
        task = asyncio.ensure_future(http.app(scope, receive, send))  # type: ignore[arg-type]
        while not http.stream:
            await asyncio.sleep(0)
        for index in range(2):
            key = pb.ActualLRPKey(process_guid="a", index=index)
            event = pb.ActualLRPCrashedEvent(actual_lrp_key=key)
            http.stream.publish(api.CRASHED_EVENT, event, ("cell-1",))
        http.stream.publish(api.CREATED, pb.ActualLRPInstanceCreatedEvent(), ("cell-2",))
        while len(sent) < 4:
            await asyncio.sleep(0)
        done.set()
        await asyncio.wait_for(task, 10)
        return sent, b"".join(one.get("body", b"") for one in sent)

    sent, body = http.loop.run_until_complete(heard())
    headers = dict(sent[0]["headers"])
    assert headers[b"content-type"] == b"text/event-stream; charset=utf-8"
    assert headers[b"cache-control"] == b"no-cache, no-store, must-revalidate"
    assert headers[b"connection"] == b"keep-alive"
    keys = [pb.ActualLRPKey(process_guid="a", index=index) for index in range(2)]
    data = [pb.ActualLRPCrashedEvent(actual_lrp_key=key).SerializeToString() for key in keys]
    assert body == b"".join(
        b"id: %d\nevent: actual_lrp_crashed\ndata: %b\n\n" % (n, base64.b64encode(one))
        for n, one in enumerate(data)
    )
