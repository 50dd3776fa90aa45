"""The overlay: two cells reach each other's subnet exactly while a lease says so."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator

import pytest

from meshnet.kernel import links, netns, vxlan
from meshnet.kernel.links import Address, Change, Veth
from meshnet.kernel.vxlan import RemoteLease, Vtep
from meshnet.model.errors import NotFound

ONE, TWO = f"b-vx-{os.getpid()}-1", f"b-vx-{os.getpid()}-2"


def vtep(cell: int) -> Vtep:
    return Vtep(f"10.255.{cell}.0", "10.255.0.0/16", f"10.0.16.2{cell}", "eth0")


def lease(cell: int) -> RemoteLease:
    mac = vxlan.hardware_address(f"10.255.{cell}.0")
    return RemoteLease(f"10.255.{cell}.0/24", mac, f"10.0.16.2{cell}")


@pytest.fixture
def cells() -> Iterator[None]:
    for name in (ONE, TWO):
        netns.create(name)
    links.apply(ONE, [Veth("eth0", "eth0", peer_netns=TWO, mtu=1500)])
    for cell, name in ((1, ONE), (2, TWO)):
        links.apply(name, [Change("eth0", up=True), Address("eth0", f"10.0.16.2{cell}/24")])
        assert vxlan.create(vtep(cell), name) == 1450
    yield
    for name in (ONE, TWO):
        netns.delete(name)


def reaches(seconds: float) -> bool:
    """Whether a connection arrives; a SYN that a link just made drops is sent again after 1 s."""
    with netns.run(TWO, lambda: socket.create_server(("10.255.2.0", 8080))):
        try:
            netns.run(ONE, lambda: socket.create_connection(("10.255.2.0", 8080), seconds)).close()
        except OSError:
            return False
    return True


@pytest.mark.sudo
@pytest.mark.usefixtures("cells")
def test_packets_cross_while_both_leases_stand() -> None:
    assert not reaches(1.5)
    vxlan.sync_leases(vtep(1), [lease(1), lease(2)], ONE)
    vxlan.sync_leases(vtep(2), [lease(1), lease(2)], TWO)
    assert reaches(10)
    vxlan.sync_leases(vtep(1), [lease(1)], ONE)
    assert not reaches(1.5)


@pytest.mark.sudo
@pytest.mark.usefixtures("cells")
def test_only_what_differs_is_touched() -> None:
    leases = [lease(n) for n in range(1, 6)]
    assert vxlan.sync_leases(vtep(1), leases, ONE) == (12, 0)
    assert vxlan.sync_leases(vtep(1), leases, ONE) == (0, 0)
    moved = RemoteLease(leases[1].subnet, leases[1].mac, "10.0.16.99")
    assert vxlan.sync_leases(vtep(1), [leases[0], moved, *leases[2:]], ONE) == (1, 0)
    assert vxlan.sync_leases(vtep(1), [], ONE) == (0, 12)


@pytest.mark.sudo
@pytest.mark.usefixtures("cells")
def test_an_equal_device_is_kept_and_another_replaced() -> None:
    vxlan.sync_leases(vtep(1), [lease(2)], ONE)
    before = links.ifindex("silk-vtep", ONE)
    vxlan.create(vtep(1), ONE)
    assert links.ifindex("silk-vtep", ONE) == before
    assert vxlan.sync_leases(vtep(1), [lease(2)], ONE) == (0, 0)
    other = Vtep("10.255.1.0", "10.255.0.0/16", "10.0.16.21", "eth0", vni=7)
    vxlan.create(other, ONE)
    assert vxlan.sync_leases(vtep(1), [lease(2)], ONE) == (3, 0)
    vxlan.delete(other, ONE)
    with pytest.raises(NotFound):
        vxlan.delete(other, ONE)


def test_own_and_foreign_leases_are_skipped() -> None:
    stranger = RemoteLease("192.168.1.0/24", "ee:ee:c0:a8:01:00", "10.0.16.9")
    found = vxlan.entries(vtep(1), [lease(1), lease(2), stranger])
    assert found.routes == {"10.255.2.0/24": "10.255.2.0"}
    assert found.neighbours == {"10.255.2.0": "ee:ee:0a:ff:02:00"}
    assert found.forwarding == {"ee:ee:0a:ff:02:00": "10.0.16.22"}
