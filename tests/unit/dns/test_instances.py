"""Names of instances, kept from BBS's lists and events."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import dns.message
import dns.rcode
import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshnet.dns.answers import Found
from meshnet.dns.instances import Instances
from meshnet.dns.main import Config, Resolver
from meshnet.wire import bbs_api as api
from meshnet.wire.gen import bbs_pb2 as pb
from meshnet.wire.proxies import Sidecar

HOST, ASKER = "plain.apps.internal", "10.255.1.9"


def desired(guid: str, *hosts: str) -> Any:
    value = json.dumps([{"hostname": host} for host in hosts]).encode()
    routes = pb.ProtoRoutes(routes={api.INTERNAL_ROUTER: value})
    return pb.DesiredLRP(process_guid=guid, routes=routes)


def actual(guid: str, index: int, address: str, state: str = "RUNNING") -> Any:
    return pb.ActualLRP(
        actual_lrp_key=pb.ActualLRPKey(process_guid=guid, index=index),
        actual_lrp_instance_key=pb.ActualLRPInstanceKey(instance_guid="of " + address),
        actual_lrp_net_info=pb.ActualLRPNetInfo(instance_address=address),
        state=state,
    )


def changed(guid: str, index: int, address: str, state: str) -> Any:
    return pb.ActualLRPInstanceChangedEvent(
        actual_lrp_key=pb.ActualLRPKey(process_guid=guid, index=index),
        actual_lrp_instance_key=pb.ActualLRPInstanceKey(instance_guid="of " + address),
        after=pb.ActualLRPInfo(
            actual_lrp_net_info=pb.ActualLRPNetInfo(instance_address=address), state=state
        ),
    )


def listed() -> Instances:
    found = Instances()
    found.replace(
        [desired("p", "Plain.Apps.Internal", "other.apps.internal")],
        [actual("p", 0, "10.255.1.2"), actual("p", 1, "10.255.2.2"), actual("p", 2, "", "CLAIMED")],
    )
    return found


def test_hosts_and_indexes() -> None:
    found = listed()
    assert found.find(HOST) == found.find("other.apps.internal") == ("10.255.1.2", "10.255.2.2")
    assert found.find("1." + HOST) == ("10.255.2.2",)
    for name in ("2." + HOST, "x." + HOST, "-1." + HOST, "\u0661." + HOST, "9" * 5000 + "." + HOST):
        assert found.find(name) is None
    assert found.find("nobody.apps.internal") is None


def test_events() -> None:
    found = listed()
    found.apply(api.CHANGED, changed("p", 2, "10.255.1.3", "RUNNING"))
    assert found.find("2." + HOST) == ("10.255.1.3",)
    found.apply(api.CHANGED, changed("p", 0, "10.255.1.2", "CRASHED"))
    assert found.find(HOST) == ("10.255.2.2", "10.255.1.3")
    gone = pb.ActualLRPInstanceRemovedEvent(actual_lrp=actual("p", 1, "10.255.2.2"))
    found.apply(api.REMOVED, gone)
    assert found.find(HOST) == ("10.255.1.3",)


def test_the_end_of_an_old_instance_does_not_hide_its_successor() -> None:
    found = listed()
    new = pb.ActualLRPInstanceCreatedEvent(actual_lrp=actual("p", 0, "10.255.2.9"))
    found.apply(api.CREATED, new)
    old = pb.ActualLRPInstanceRemovedEvent(actual_lrp=actual("p", 0, "10.255.1.2"))
    found.apply(api.REMOVED, old)
    assert found.find("0." + HOST) == ("10.255.2.9",)


def test_an_unmapped_host_does_not_exist_and_one_without_instances_does() -> None:
    found = listed()
    event = pb.DesiredLRPChangedEvent(after=desired("p", HOST))
    found.apply(api.DESIRED_CHANGED, event)
    assert found.find("other.apps.internal") is None and found.find(HOST)
    found.apply(api.DESIRED_CREATED, pb.DesiredLRPCreatedEvent(desired_lrp=desired("q", HOST)))
    found.apply(api.DESIRED_REMOVED, pb.DesiredLRPRemovedEvent(desired_lrp=desired("p")))
    assert found.find(HOST) == ()
    found.apply(api.DESIRED_REMOVED, pb.DesiredLRPRemovedEvent(desired_lrp=desired("q")))
    assert found.find(HOST) is None


def test_routes_that_are_no_json_name_nothing() -> None:
    found = Instances()
    lrp = pb.DesiredLRP(process_guid="p")
    for value in (b"{", b"[1]", b"\xff", b'{"hostname": 1}', b"null"):
        lrp.routes.routes[api.INTERNAL_ROUTER] = value
        found.replace([lrp], [actual("p", 0, "10.255.1.2")])
        assert found.find(HOST) is None


step = st.tuples(
    st.sampled_from("pq"), st.integers(0, 2), st.sampled_from(["RUNNING", "CRASHED", "CLAIMED"])
)


@given(st.lists(step, max_size=30))
def test_events_lead_where_a_list_would(steps: list[tuple[str, int, str]]) -> None:
    wanted = [desired("p", HOST), desired("q", HOST, "other.apps.internal")]
    followed, rows = Instances(), {}
    followed.replace(wanted, [])
    for number, (guid, index, state) in enumerate(steps):
        address = f"10.255.{number // 200}.{number % 200 + 2}"
        before, after = rows.get((guid, index)), actual(guid, index, address, state)
        followed.apply(api.CREATED, pb.ActualLRPInstanceCreatedEvent(actual_lrp=after))
        if before is not None:
            followed.apply(api.REMOVED, pb.ActualLRPInstanceRemovedEvent(actual_lrp=before))
        rows[guid, index] = after
    fresh = Instances()
    fresh.replace(wanted, list(rows.values()))
    for name in (HOST, "other.apps.internal", "0." + HOST, "2.other.apps.internal"):
        assert followed.find(name) == fresh.find(name)


def resolver() -> Resolver:
    return Resolver(
        Config(
            listen_host="127.0.0.1",
            bbs_url="http://127.0.0.1:9",
            vip_resolver_addr="127.0.0.1:9",
            zone={"api.sys.mesh.lab": ["10.0.16.2"]},
            internal_domains=["apps.internal"],
        )
    )


@pytest.mark.parametrize(
    ("name", "cold", "warm"),
    [
        (HOST, "SERVFAIL", "NOERROR"),
        ("nobody.apps.internal", "SERVFAIL", "NXDOMAIN"),
        ("api.sys.mesh.lab", "NOERROR", "NOERROR"),
        ("example.com", "REFUSED", "REFUSED"),
    ],
)
def test_before_bbs_has_spoken_no_app_is_said_not_to_exist(name: str, cold: str, warm: str) -> None:
    async def scenario() -> None:
        asked = resolver()
        for expected in (cold, warm):
            reply = await asked.resolve(
                dns.message.make_query(name, "A").to_wire(), tcp=False, asker=ASKER
            )
            assert reply is not None
            assert dns.rcode.to_text(dns.message.from_wire(reply).rcode()) == expected
            asked.instances = listed()

    asyncio.run(scenario())


@given(st.binary(max_size=300))
def test_whatever_follows_a_header_is_answered_or_dropped(rest: bytes) -> None:
    async def scenario() -> None:
        asked = resolver()
        for flags in (b"\x01\x00", b"\x28\x00", b"\x20\x00", b"\x81\x80"):
            await asked.resolve(
                b"\x12\x34" + flags + b"\x00\x01\0\0\0\0\0\0" + rest, tcp=False, asker=ASKER
            )

    asyncio.run(scenario())


def test_a_container_without_the_mesh_is_told_instances_instead_of_vips() -> None:
    async def scenario() -> None:
        config = Config(
            listen_host="127.0.0.1",
            bbs_url="http://127.0.0.1:9",
            vip_resolver_addr="127.0.0.1:9",
            vip_domains=["apps.internal"],
        )
        asked = Resolver(config)
        asked.instances = listed()
        asked._vip = vip  # type: ignore[method-assign]
        asked.set_modes([Sidecar("g", "a", ASKER, "/s", 1, "off")])
        assert await addresses(asked, ASKER) == set(listed().find(HOST) or ())
        assert await addresses(asked, "10.255.1.8") == {"127.128.0.1"}
        asked.set_modes([Sidecar("g", "a", ASKER, "/s", 1, "kernel")])
        assert await addresses(asked, ASKER) == {"127.128.0.1"}

    async def vip(name: str) -> Found:
        return Found(("127.128.0.1",), 0)

    async def addresses(asked: Resolver, asker: str) -> set[str]:
        query = dns.message.make_query(HOST, "A").to_wire()
        reply = await asked.resolve(query, tcp=False, asker=asker)
        assert reply is not None
        return {str(row) for answer in dns.message.from_wire(reply).answer for row in answer}

    asyncio.run(scenario())
