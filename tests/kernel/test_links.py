"""Links, addresses, routes: the layout of a cell and a container, as packets see it."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator

import pytest

from meshnet.kernel import links, netns, vxlan
from meshnet.kernel.links import (
    Address,
    Bridge,
    Change,
    Delete,
    Neighbour,
    Route,
    Sysctl,
    Veth,
)
from meshnet.model.errors import Conflict, KernelError, NotFound

pytestmark = pytest.mark.sudo

CELL, APP = f"b-li-{os.getpid()}-cell", f"b-li-{os.getpid()}-app"
ADDRESS, GATEWAY, HOST_LINK = "10.255.1.7", "169.254.0.1", "s-010255001007"


@pytest.fixture(autouse=True)
def namespaces() -> Iterator[None]:
    for name in (CELL, APP):
        netns.create(name)
    yield
    for name in (CELL, APP):
        netns.delete(name)


def host_side() -> list[links.Operation]:
    mac, host_mac = vxlan.hardware_address(ADDRESS), vxlan.host_hardware_address(ADDRESS)
    return [
        Veth(HOST_LINK, "eth0", peer_netns=APP, mac=host_mac, peer_mac=mac, mtu=1450),
        Change(HOST_LINK, up=True, arp=False),
        Address(HOST_LINK, f"{GATEWAY}/32", peer=ADDRESS, scope="link"),
        Neighbour(HOST_LINK, ADDRESS, mac),
        Sysctl(f"net.ipv4.conf.{HOST_LINK}.rp_filter", 1),
    ]


def app_side() -> list[links.Operation]:
    return [
        Change("eth0", up=True, arp=False),
        Address("eth0", f"{ADDRESS}/32", peer=GATEWAY, scope="link"),
        Neighbour("eth0", GATEWAY, vxlan.host_hardware_address(ADDRESS)),
        Route("default", name="eth0", via=GATEWAY, src=ADDRESS),
    ]


def listen(name: str, address: str) -> socket.socket:
    return netns.run(name, lambda: socket.create_server((address, 8080)))


def reaches(name: str, address: str, seconds: float = 10) -> str:
    """The address a connection from inside `name` arrives with; "" if it does not arrive.

    The kernel brings a link up behind our back (linkwatch) and drops what is sent before; a SYN is
    sent again after 1 s only, so that what must arrive needs more.
    """

    def connect() -> str:
        with socket.create_connection((address, 8080), seconds) as s:
            return str(s.getsockname()[0])

    try:
        return netns.run(name, connect)
    except OSError:
        return ""


def test_a_container_talks_to_its_gateway_without_arp() -> None:
    links.apply(CELL, host_side())
    links.apply(APP, app_side())
    with listen(CELL, GATEWAY), listen(APP, ADDRESS):
        assert reaches(APP, GATEWAY) == ADDRESS
        assert reaches(CELL, ADDRESS) == GATEWAY
    found = {link.name: link for link in links.show(CELL)}
    assert found[HOST_LINK].mtu == 1450 and found[HOST_LINK].mac == "aa:aa:0a:ff:01:07"
    assert found[HOST_LINK].kind == "veth" and found[HOST_LINK].up


def test_without_the_neighbour_entry_nothing_arrives() -> None:
    links.apply(CELL, [op for op in host_side() if not isinstance(op, Neighbour)])
    links.apply(APP, [op for op in app_side() if not isinstance(op, Neighbour)])
    with listen(CELL, GATEWAY):
        assert reaches(APP, GATEWAY, 1.5) == ""


def test_all_but_the_link_can_be_applied_again() -> None:
    for _ in range(2):
        links.apply(CELL, host_side()[0 if not _ else 1 :])
        links.apply(APP, app_side())
    with pytest.raises(Conflict):
        links.apply(CELL, host_side())


def test_a_bridge_joins_its_ports() -> None:
    links.apply(
        CELL,
        [
            Bridge("br0", mac="02:00:00:00:00:01"),
            Address("br0", "10.0.16.1/24"),
            Veth("port0", "eth0", peer_netns=APP),
            Change("port0", up=True, master="br0"),
        ],
    )
    links.apply(APP, [Change("eth0", up=True), Address("eth0", "10.0.16.2/24")])
    with listen(CELL, "10.0.16.1"):
        assert reaches(APP, "10.0.16.1") == "10.0.16.2"


def test_a_link_is_deleted_only_by_the_number_it_was_made_with() -> None:
    number = links.unused_ifindex()
    links.apply(CELL, [Veth("x0", "x1", ifindex=number)])
    assert links.ifindex("x0", CELL) == number
    with pytest.raises(NotFound, match="another one"):
        links.apply(CELL, [Delete("x0", number + 1)])
    assert links.ifindex("x0", CELL) == number
    links.apply(CELL, [Delete("x0", number)])
    with pytest.raises(NotFound):
        links.ifindex("x1", CELL)


def test_what_the_kernel_refuses_is_named() -> None:
    with pytest.raises(KernelError, match=r"10\.9\.0\.0/16.*unreachable") as caught:
        links.apply(CELL, [Route("10.9.0.0/16", via="1.2.3.4")])
    assert caught.value.errno == 101
    with pytest.raises(NotFound, match="nope"):
        links.apply(CELL, [Change("nope", up=True)])
    with pytest.raises(NotFound, match="b-absent"):
        links.apply("b-absent", [])
