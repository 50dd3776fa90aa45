"""What a change costs, counted and not timed: the same at ten routes and at thousands."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from meshnet.copilot.main import Copilot
from meshnet.copilot.state import State
from meshnet.model.policy import Policy
from meshnet.model.routes import Route
from meshnet.store import Store
from meshnet.wire import bbs_api as api
from meshnet.wire.gen import bbs_pb2 as pb
from meshnet.wire.mcp_sink import Sink
from meshnet.wire.mcp_source import SourceStream
from meshnet.wire.policy_client import Update
from meshnet.wire.policy_json import Delta, Tagged

FEW, MANY = 10, 2000


def calls_of(work: Callable[[], Any]) -> int:
    """Python calls that a piece of work makes, C functions included."""
    count = 0

    def counted(frame: Any, event: str, argument: Any) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(counted)
    try:
        work()
    finally:
        sys.setprofile(None)
    return count


def running(process: str, index: int) -> Any:
    return pb.ActualLRP(
        actual_lrp_key=pb.ActualLRPKey(process_guid=process, index=index),
        actual_lrp_instance_key=pb.ActualLRPInstanceKey(instance_guid=f"{process}/{index}"),
        state=api.RUNNING,
        actual_lrp_net_info=pb.ActualLRPNetInfo(
            address="10.0.16.21",
            instance_address=f"10.255.1.{index + 2}",
            ports=[pb.PortMapping(container_port=8080, host_port=61000 + index)],
        ),
    )


class World:
    """Copilot with so many routes, each of an app of its own, and a sink that knows them all."""

    def __init__(self, path: Path, routes: int) -> None:
        self.state = State(Store.open(path), "127.128.0.0/9")
        numbers = range(routes)
        self.state.replace(
            {f"r{n}": Route(f"r{n}", f"h{n}.x", internal=bool(n % 2)) for n in numbers},
            {(f"r{n}", f"p{n}"): 1 for n in numbers},
            {f"p{n}": [f"p{n}-1"] for n in numbers},
        )
        self.copilot = Copilot(self.state)
        self.copilot.changed = lambda: None  # type: ignore[method-assign]
        policies = [allowed(n, n + 1) for n in range(routes - 1)]
        self.copilot.take_policies(Update(1, True, Delta(policies, [])))
        self.copilot._take_list([running(f"p{n}-1", 0) for n in numbers])
        self.stream = SourceStream(self.copilot.source.catalog)
        self.sink, self.bytes = Sink("pilot"), 0
        self.copilot._publish()
        for request in self.sink.open():
            self.stream.receive(request)
        self.exchange()
        self.sink.news()

    def exchange(self) -> None:
        """Send what is due and take the answers, until nothing is due."""
        while responses := self.stream.send():
            for response in responses:
                self.bytes += response.ByteSize()
                self.stream.receive(self.sink.receive(response))

    def publish(self) -> None:
        catalog = self.copilot.source.catalog
        update, differ = catalog.update, dict[str, set[str]]()
        catalog.update = lambda changes: differ.update(update(changes)) or differ  # type: ignore[method-assign,func-returns-value]
        self.copilot._publish()
        catalog.update = update  # type: ignore[method-assign]
        self.stream.changed(differ)
        self.exchange()

    def cost(self, change: Callable[[State, Copilot], Any]) -> tuple[int, int]:
        """(calls, bytes to the sink) of a change, from the request to the sink's news."""
        self.bytes = 0

        def work() -> None:
            change(self.state, self.copilot)
            self.publish()

        calls = calls_of(work)
        assert self.bytes and self.sink.news()
        return calls, self.bytes


def one_runs(state: State, copilot: Copilot) -> None:
    event = pb.ActualLRPInstanceCreatedEvent(actual_lrp=running("p3-1", 1))
    guid = copilot._backends.apply(api.CREATED, event)
    assert guid is not None
    copilot._take_backends([guid])


def allowed(source: int, destination: int, port: int = 8080) -> Tagged:
    policy = Policy(f"p{source}", f"p{destination}", "tcp", port, port)
    return Tagged(policy, source + 1, destination + 1)


def policies_change(added: list[Tagged], removed: list[Tagged]) -> Callable[[State, Copilot], Any]:
    update = Update(2, False, Delta(added, removed))
    return lambda _, copilot: copilot.take_policies(update)


CHANGES: list[Callable[[State, Copilot], Any]] = [
    lambda state, _: state.upsert_route(Route("r3", "other.x", internal=True)),
    lambda state, _: state.map_route("r3", "p4", 7),
    lambda state, _: state.unmap_route("r3", "p4", 7),
    lambda state, _: state.delete_route("r5"),
    lambda state, _: state.associate("p3", ["p3-2"]),
    lambda state, _: state.associate("p3", ["p3-1"]),
    one_runs,
    policies_change([allowed(3, 1)], []),
    policies_change([allowed(3, 1, 9090), allowed(3, 7)], [allowed(3, 1)]),
    policies_change([], [allowed(3, 7)]),
]


@pytest.fixture(scope="module")
def costs(tmp_path_factory: pytest.TempPathFactory) -> dict[int, list[tuple[int, int]]]:
    async def measured() -> dict[int, list[tuple[int, int]]]:
        directory = tmp_path_factory.mktemp("costs")
        found = {}
        for routes in (FEW, MANY):
            world = World(directory / f"{routes}.db", routes)
            found[routes] = [world.cost(change) for change in CHANGES]
        return found

    return asyncio.run(measured())


@pytest.mark.parametrize("number", range(len(CHANGES)))
def test_a_change_costs_the_same_at_any_number_of_routes(
    costs: dict[int, list[tuple[int, int]]], number: int
) -> None:
    (few_calls, few_bytes), (calls, sent) = costs[FEW][number], costs[MANY][number]
    assert calls <= few_calls * 1.5 + 50
    assert sent <= few_bytes * 1.2 + 50
