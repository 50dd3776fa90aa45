"""Which instances take requests, from BBS's list and events."""

from __future__ import annotations

from typing import Any

from meshnet.copilot.backends import Backends
from meshnet.wire import bbs_api as api
from meshnet.wire.gen import bbs_pb2 as pb


def lrp(index: int, guid: str = "", state: str = api.RUNNING, presence: int = 0) -> Any:
    guid = guid or f"i{index}"
    return pb.ActualLRP(
        actual_lrp_key=pb.ActualLRPKey(process_guid="p", index=index),
        actual_lrp_instance_key=pb.ActualLRPInstanceKey(instance_guid=guid, cell_id="c"),
        state=state,
        presence=presence,  # type: ignore[arg-type]
        actual_lrp_net_info=pb.ActualLRPNetInfo(
            address="10.0.16.21",
            instance_address=f"10.255.1.{guid[1:]}",
            ports=[
                pb.PortMapping(container_port=2222, host_port=61100 + index),
                pb.PortMapping(container_port=8080, host_port=61000 + index),
            ],
        ),
    )


def changed(after: Any) -> Any:
    return pb.ActualLRPInstanceChangedEvent(
        actual_lrp_key=after.actual_lrp_key,
        actual_lrp_instance_key=after.actual_lrp_instance_key,
        after=api.info(after),
    )


def removed(one: Any) -> Any:
    return pb.ActualLRPInstanceRemovedEvent(actual_lrp=one)


def addresses(backends: Backends) -> list[str]:
    return [one.instance_address for one in backends.backends("p")]


def test_removing_one_instance_removes_that_one() -> None:
    backends = Backends()
    assert backends.replace([lrp(i) for i in range(3)]) == {"p"}
    assert backends.apply(api.REMOVED, removed(lrp(1))) == "p"
    assert addresses(backends) == ["10.255.1.0", "10.255.1.2"]
    assert backends.apply(api.REMOVED, removed(lrp(1))) is None


def test_an_instance_that_is_not_running_takes_no_requests() -> None:
    backends = Backends()
    assert backends.replace([lrp(0, state=api.CLAIMED)]) == set()
    assert backends.apply(api.CHANGED, changed(lrp(0))) == "p"
    assert addresses(backends) == ["10.255.1.0"]
    assert backends.apply(api.CHANGED, changed(lrp(0, state=api.CRASHED))) == "p"
    assert addresses(backends) == [] == backends.backends("other")


def test_nor_does_one_that_is_not_ready() -> None:
    backends, unready = Backends(), lrp(0)
    unready.routable = False
    assert backends.replace([lrp(0), lrp(1)]) == {"p"}
    assert backends.apply(api.CHANGED, changed(unready)) == "p"
    assert addresses(backends) == ["10.255.1.1"]
    assert backends.apply(api.CHANGED, changed(lrp(0))) == "p"
    assert addresses(backends) == ["10.255.1.0", "10.255.1.1"]


def test_ssh_is_no_port_for_requests() -> None:
    backends = Backends()
    backends.replace([lrp(0)])
    assert [(b.container_port, b.host_port) for b in backends.backends("p")] == [(8080, 61000)]


def test_an_evacuating_instance_takes_requests_until_its_replacement_runs() -> None:
    backends = Backends()
    backends.replace([lrp(0, "i1"), lrp(1, "i2")])
    backends.apply(api.CHANGED, changed(lrp(0, "i1", presence=pb.EVACUATING)))
    new = lrp(0, "i3", api.UNCLAIMED)
    backends.apply(api.CREATED, pb.ActualLRPInstanceCreatedEvent(actual_lrp=new))
    assert addresses(backends) == ["10.255.1.1", "10.255.1.2"]
    assert backends.apply(api.CHANGED, changed(lrp(0, "i3"))) == "p"
    assert addresses(backends) == ["10.255.1.2", "10.255.1.3"]
    backends.apply(api.REMOVED, removed(lrp(0, "i1", presence=pb.EVACUATING)))
    assert addresses(backends) == ["10.255.1.2", "10.255.1.3"]


def test_a_suspect_instance_takes_requests_beside_its_replacement() -> None:
    backends = Backends()
    backends.replace([lrp(0, "i1", presence=pb.SUSPECT), lrp(0, "i2")])
    assert addresses(backends) == ["10.255.1.1", "10.255.1.2"]


def test_a_list_replaces_all_and_says_what_differs() -> None:
    backends = Backends()
    backends.replace([lrp(0)])
    assert backends.replace([lrp(0)]) == set()
    assert backends.replace([]) == {"p"}
    assert addresses(backends) == []
