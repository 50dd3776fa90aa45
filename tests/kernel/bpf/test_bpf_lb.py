"""The load balancer's program, packet by packet, and its table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.l2 import ARP, Ether

from meshnet.kernel.bpf.datapath import LbDatapath
from meshnet.kernel.bpf.testrun import OK, REDIRECT, run_tc

pytestmark = pytest.mark.sudo

PUBLIC, CLIENT = "10.0.16.10", "10.0.16.100"
# eth_type_trans compares with lo's own address, which is all zeros.
OWN_MAC, CLIENT_MAC = "00:00:00:00:00:00", "02:00:00:00:00:64"
ROUTERS = [("10.0.16.11", "02:00:00:00:00:0b"), ("10.0.16.12", "02:00:00:00:00:0c")]


@pytest.fixture
def lb(bpffs: Path) -> Iterator[LbDatapath]:
    lb = LbDatapath.open(bpffs / "lb", PUBLIC)
    yield lb
    lb.close()


def packet(sport: int = 40000, dst: str = PUBLIC, l4=TCP, mac: str = OWN_MAC):
    return Ether(src=CLIENT_MAC, dst=mac) / IP(src=CLIENT, dst=dst) / l4(sport=sport, dport=80)


def sent_to(lb: LbDatapath, frame) -> str | None:
    done = run_tc(lb._objects.programs["tc_lb"], bytes(frame).ljust(60, b"\0"))
    after = Ether(done.packet)
    if done.verdict == OK:
        assert (after.src, after.dst) == (frame.src, frame.dst)
        return None
    assert done.verdict == REDIRECT
    assert after.src == OWN_MAC
    assert bytes(after)[14:] == bytes(frame).ljust(60, b"\0")[14:]
    return after.dst


def test_connections_spread_and_stay(lb):
    lb.set_routers(ROUTERS)
    first = {port: sent_to(lb, packet(port)) for port in range(40000, 40400)}
    share = Counter(first.values())
    assert set(share) == {mac for _, mac in ROUTERS}
    assert min(share.values()) > 120
    assert {port: sent_to(lb, packet(port)) for port in first} == first
    assert lb.counters() == {"lb_new_flow": 400, "lb_known_flow": 400, "lb_moved_flow": 0,
                             "lb_no_router": 0}  # fmt: skip


def test_only_a_gone_routers_connections_move(lb):
    lb.set_routers(ROUTERS)
    first = {port: sent_to(lb, packet(port)) for port in range(40000, 40100)}
    lb.set_routers(ROUTERS[1:])
    assert {sent_to(lb, packet(port)) for port in first} == {ROUTERS[1][1]}
    moved = sum(mac == ROUTERS[0][1] for mac in first.values())
    assert lb.counters()["lb_moved_flow"] == moved
    # And nothing moves back when it returns.
    lb.set_routers(ROUTERS)
    assert {sent_to(lb, packet(port)) for port in first} == {ROUTERS[1][1]}


def test_no_router_leaves_it_to_the_stack(lb):
    assert sent_to(lb, packet()) is None
    assert lb.counters()["lb_no_router"] == 1
    lb.set_routers(ROUTERS)
    lb.set_routers([])
    assert sent_to(lb, packet()) is None


@pytest.mark.parametrize(
    "frame",
    [packet(dst="10.0.16.11"), packet(l4=UDP), packet(mac="02:00:00:00:00:99"),
     Ether(dst=OWN_MAC) / ARP(pdst=PUBLIC), Ether(dst=OWN_MAC) / IP(dst=PUBLIC) / ICMP()],
)  # fmt: skip
def test_the_rest_is_the_stacks(lb, frame):
    lb.set_routers(ROUTERS)
    assert sent_to(lb, frame) is None


def test_flows_survive_a_restart_of_the_daemon(lb, bpffs):
    lb.set_routers(ROUTERS)
    sent_to(lb, packet())
    again = LbDatapath.open(bpffs / "lb", PUBLIC)
    assert sent_to(again, packet()) is not None
    assert again.counters()["lb_known_flow"] == 1
    again.close()
