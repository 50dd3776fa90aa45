"""The tc programs' verdicts, packet by packet, through BPF_PROG_TEST_RUN."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import ARP, Dot1Q, Ether
from scapy.packet import Packet, Raw

from meshnet.kernel.bpf import abi
from meshnet.kernel.bpf.addresses import address_be, u16_be
from meshnet.kernel.bpf.datapath import CellDatapath, PolicyRule, PolicyRules
from meshnet.kernel.bpf.maps import Map
from meshnet.kernel.bpf.testrun import LOOPBACK, OK, REDIRECT, SHOT, TcRun, run_tc

pytestmark = pytest.mark.sudo

ME, PEER, ROUTER, STRANGER = "10.255.1.2", "10.255.2.3", "10.0.16.11", "10.0.16.99"
GATEWAY, DNS = "169.254.0.1", "169.254.0.2"
MY_MAC, HOST_MAC = "ee:ee:0a:ff:01:02", "aa:aa:0a:ff:01:02"
MY_TAG, PEER_TAG = 7, 0x101
SEQ, ACK = 1000, 2000


@dataclass
class Veth:
    """One container's veth as the programs see it."""

    datapath: CellDatapath
    last: dict[str, int] = field(default_factory=dict)

    def _run(self, program: str, packet: Packet, **context: int) -> TcRun:
        before = self.datapath.counters()
        fd = self.datapath._objects.programs[program]
        done = run_tc(fd, bytes(packet).ljust(60, b"\0"), **context)
        after = self.datapath.counters()
        self.last = {
            name: after[name] - before[name] for name in after if after[name] != before[name]
        }
        return done

    def send(self, packet: Packet, **context: int) -> TcRun:
        return self._run("tc_from_container", packet, **context)

    def receive(self, packet: Packet, **context: int) -> TcRun:
        return self._run("tc_to_container", packet, **context)


@pytest.fixture
def veth(datapath: CellDatapath) -> Veth:
    datapath.set_container(LOOPBACK, ME, MY_MAC, MY_TAG)
    datapath.set_routers([ROUTER])
    return Veth(datapath)


def out(l4: Packet, dst: str = PEER, src: str = ME, mac: str = MY_MAC, **ip) -> Packet:
    return Ether(src=mac, dst=HOST_MAC) / IP(src=src, dst=dst, **ip) / l4


def into(l4: Packet, src: str = PEER, dst: str = ME, **ip) -> Packet:
    return Ether(src=HOST_MAC, dst=MY_MAC) / IP(src=src, dst=dst, **ip) / l4


def tcp(sport: int, dport: int, flags: str = "S", data: bytes = b"", **options) -> Packet:
    return TCP(sport=sport, dport=dport, flags=flags, seq=SEQ, ack=ACK, **options) / Raw(data)


def expect_reset(done: TcRun, src, dst, *, seq: int, ack: int | None) -> None:
    """A reset with both checksums right, from (address, port, mac) to (address, port, mac)."""
    assert done.verdict == REDIRECT
    assert done.mark == abi.RESET_MARK
    assert len(done.packet) == 54
    packet = Ether(done.packet)
    assert (packet.src, packet.dst) == (src[2], dst[2])
    ip, segment = packet[IP], packet[TCP]
    assert (ip.src, segment.sport, ip.dst, segment.dport) == (*src[:2], *dst[:2])
    assert segment.seq == seq
    assert segment.flags == ("R" if ack is None else "RA")
    assert segment.ack == (ack or 0)
    rebuilt = packet.copy()
    del rebuilt[IP].chksum, rebuilt[TCP].chksum, rebuilt[IP].len
    assert bytes(rebuilt) == done.packet


# --- from the container ---


@pytest.mark.parametrize(
    ("packet", "reason"),
    [
        (out(tcp(40000, 8080)), "from_passed_overlay"),
        (out(UDP(sport=40000, dport=9)), "from_passed_overlay"),
        (out(UDP(sport=40000, dport=53), dst=DNS), "from_passed_dns"),
        (out(tcp(40000, 53), dst=DNS), "from_passed_dns"),
    ],
)
def test_what_may_leave_is_tagged(veth, packet, reason):
    done = veth.send(packet)
    assert (done.verdict, done.mark) == (OK, MY_TAG)
    assert veth.last == {reason: 1}


@pytest.mark.parametrize(
    ("packet", "reason"),
    [
        (out(UDP(dport=9), src=PEER), "from_dropped_spoofed_address"),
        (out(tcp(1, 2), src=GATEWAY), "from_dropped_spoofed_address"),
        (out(tcp(1, 2), mac="02:00:00:00:00:01"), "from_dropped_spoofed_mac"),
        (Ether(src=MY_MAC, dst=HOST_MAC) / ARP(), "from_dropped_not_ipv4"),
        (Ether(src=MY_MAC, dst=HOST_MAC) / IPv6() / UDP(), "from_dropped_not_ipv4"),
        (Ether(src=MY_MAC) / Dot1Q(vlan=5) / IP(src=ME) / UDP(), "from_dropped_not_ipv4"),
        (out(UDP(dport=9), flags="MF"), "from_dropped_fragment"),
        (out(Raw(b"x" * 40), frag=3, proto=17), "from_dropped_fragment"),
        (out(ICMP()), "from_dropped_protocol"),
        (out(Raw(b"x" * 40), proto=132), "from_dropped_protocol"),
        (out(UDP(dport=9), dst=GATEWAY), "from_denied_destination"),
        (out(UDP(dport=9), dst=ROUTER), "from_denied_destination"),
        (out(UDP(dport=9), dst="8.8.8.8"), "from_denied_destination"),
        (out(UDP(dport=54), dst=DNS), "from_denied_destination"),
        (out(UDP(dport=9), dst="10.255.2.0"), "from_denied_destination"),
        (out(tcp(1, 2), len=19), "from_dropped_malformed"),
        (out(tcp(1, 2), len=2000), "from_dropped_malformed"),
        (out(tcp(1, 2, dataofs=4)), "from_dropped_malformed"),
        (out(tcp(1, 2, dataofs=15)), "from_dropped_malformed"),
        (out(tcp(1, 2), options=b"\1" * 4), "from_dropped_malformed"),
    ],
)
def test_what_may_not_leave_is_dropped(veth, packet, reason):
    assert veth.send(packet).verdict == SHOT
    assert veth.last == {reason: 1}


@pytest.mark.parametrize("dst", [GATEWAY, ROUTER, STRANGER, "8.8.8.8", "10.255.2.0", "10.255.1.0"])
def test_denied_connections_are_reset_to_the_container(veth, dst):
    done = veth.send(out(tcp(40000, 80), dst=dst))
    expect_reset(done, (dst, 80, HOST_MAC), (ME, 40000, MY_MAC), seq=0, ack=SEQ + 1)
    assert veth.last == {"from_denied_destination": 1, "resets_made": 1}


def test_a_segment_of_no_known_flow_is_reset(veth):
    done = veth.send(out(tcp(40000, 8080, "PA", b"hello")))
    expect_reset(done, (PEER, 8080, HOST_MAC), (ME, 40000, MY_MAC), seq=ACK, ack=None)
    assert veth.send(out(tcp(40000, 8080, "R"))).verdict == SHOT
    assert veth.last == {"from_denied_no_flow": 1}


def test_an_opened_connection_goes_on(veth):
    assert veth.send(out(tcp(40000, 8080))).verdict == OK
    done = veth.send(out(tcp(40000, 8080, "PA", b"x" * 1000)))
    assert (done.verdict, done.mark) == (OK, MY_TAG)
    assert veth.last == {"from_passed_flow": 1}


def test_an_unknown_veth_passes_nothing(veth):
    veth.datapath.delete_container(LOOPBACK)
    assert veth.send(out(tcp(40000, 8080))).verdict == SHOT
    assert veth.last == {"from_dropped_unknown_veth": 1}
    assert veth.receive(into(tcp(1, 8080), src=ROUTER)).verdict == SHOT
    assert veth.last == {"to_dropped_unknown_veth": 1}


def test_a_reset_we_made_leaves_with_the_tag(veth):
    done = veth.send(out(tcp(8080, 40000, "RA")), mark=abi.RESET_MARK)
    assert (done.verdict, done.mark) == (OK, MY_TAG)
    assert veth.last == {"from_passed_reset": 1}


# --- to the container ---


@pytest.mark.parametrize(
    ("packet", "context", "reason"),
    [
        (into(tcp(1, 8080), src=ROUTER), {}, "to_passed_router"),
        (into(tcp(1, 8080), src=GATEWAY), {}, "to_passed_cell"),
        (into(tcp(1, 15090), src=GATEWAY), {}, "to_passed_cell"),
        (into(ICMP(type=3, code=4), src=GATEWAY), {}, "to_passed_icmp_error"),
        (into(ICMP(type=3, code=3), src=DNS), {}, "to_passed_icmp_error"),
        (into(ICMP(type=11), src=GATEWAY), {}, "to_passed_icmp_error"),
        (into(tcp(1, 2, "R")), {"mark": abi.RESET_MARK}, "to_passed_reset"),
    ],
)
def test_what_may_enter_without_a_policy(veth, packet, context, reason):
    assert veth.receive(packet, **context).verdict == OK
    assert veth.last == {reason: 1}


@pytest.mark.parametrize(
    ("packet", "context", "reason"),
    [
        (into(UDP(dport=8080)), {"mark": PEER_TAG}, "to_denied_policy"),
        (into(UDP(dport=8080)), {}, "to_denied_no_tag"),
        (into(UDP(dport=8080), src=STRANGER), {}, "to_denied_no_tag"),
        (into(UDP(dport=8080), src=STRANGER), {"mark": 0xFFFF0000}, "to_denied_no_tag"),
        (into(UDP(dport=8080), src=ROUTER), {"mark": PEER_TAG}, "to_denied_policy"),
        (into(UDP(dport=15006), src=ROUTER), {}, "to_denied_proxy_port"),
        (into(UDP(dport=8080), src=GATEWAY), {"ingress_ifindex": 1}, "to_dropped_spoofed_gateway"),
        (into(ICMP(type=3), src=GATEWAY), {"ingress_ifindex": 1}, "to_dropped_spoofed_gateway"),
        (into(ICMP(type=8), src=GATEWAY), {}, "to_dropped_protocol"),
        (into(ICMP(type=8), src=ROUTER), {}, "to_dropped_protocol"),
        (into(ICMP(type=3), src=PEER), {"mark": PEER_TAG}, "to_dropped_protocol"),
        (into(Raw(b"x" * 40), proto=132), {"mark": PEER_TAG}, "to_dropped_protocol"),
        (into(UDP(), flags="MF"), {"mark": PEER_TAG}, "to_dropped_fragment"),
        (into(tcp(1, 2), dst=PEER), {}, "to_dropped_misrouted"),
        (into(tcp(1, 2, dataofs=4)), {}, "to_dropped_malformed"),
        (Ether(src=HOST_MAC, dst=MY_MAC) / IPv6() / UDP(), {}, "to_dropped_not_ipv4"),
        (into(tcp(1, 8080, "R")), {"mark": PEER_TAG}, "to_denied_policy"),
    ],
)
def test_what_may_not_enter_is_dropped(veth, packet, context, reason):
    assert veth.receive(packet, **context).verdict == SHOT
    assert veth.last == {reason: 1}


@pytest.mark.parametrize(
    ("packet", "seq", "ack"),
    [
        (tcp(40000, 8080), 0, SEQ + 1),
        (
            tcp(40000, 8080, "S", options=[("MSS", 1400), ("SAckOK", b""), ("WScale", 7)]),
            0,
            SEQ + 1,
        ),
        (tcp(40000, 8080, "SA"), ACK, None),
        (tcp(40000, 8080, "A"), ACK, None),
        (tcp(40000, 8080, "PA", b"x" * 1001), ACK, None),
        (tcp(40000, 8080, "FA"), ACK, None),
        (tcp(40000, 8080, "F", b"xyz"), 0, SEQ + 4),
        (tcp(40000, 8080, "", b"xyz"), 0, SEQ + 3),
    ],
)
def test_denied_segments_come_back_as_resets(veth, packet, seq, ack):
    done = veth.receive(into(packet), mark=PEER_TAG)
    expect_reset(done, (ME, 8080, MY_MAC), (PEER, 40000, HOST_MAC), seq=seq, ack=ack)
    assert veth.last == {"to_denied_policy": 1, "resets_made": 1}


@pytest.mark.parametrize("port", [15000, 15001, 15006, 15090])
@pytest.mark.parametrize(("src", "mark"), [(ROUTER, 0), (PEER, PEER_TAG)])
def test_proxy_ports_are_the_cells_alone(veth, rules, src, mark, port):
    rules.replace([PolicyRule(PEER_TAG, MY_TAG, "tcp", 1, 65535)])
    assert veth.receive(into(tcp(1, port), src=src), mark=mark).verdict == REDIRECT
    assert veth.last == {"to_denied_proxy_port": 1, "resets_made": 1}


@pytest.mark.parametrize(
    ("rule", "mark", "packet", "verdict"),
    [
        (PolicyRule(PEER_TAG, MY_TAG, "tcp", 8080, 8080), PEER_TAG, tcp(1, 8080), OK),
        (PolicyRule(PEER_TAG, MY_TAG, "tcp", 8080, 8080), 0x400000 | PEER_TAG, tcp(1, 8080), OK),
        (PolicyRule(PEER_TAG, MY_TAG, "tcp", 8080, 8080), PEER_TAG, tcp(1, 8081), REDIRECT),
        (PolicyRule(PEER_TAG, MY_TAG, "tcp", 8080, 8080), PEER_TAG, tcp(1, 8079), REDIRECT),
        (PolicyRule(PEER_TAG, MY_TAG, "tcp", 8080, 8080), PEER_TAG + 1, tcp(1, 8080), REDIRECT),
        (PolicyRule(PEER_TAG, MY_TAG + 1, "tcp", 8080, 8080), PEER_TAG, tcp(1, 8080), REDIRECT),
        (PolicyRule(MY_TAG, PEER_TAG, "tcp", 8080, 8080), PEER_TAG, tcp(1, 8080), REDIRECT),
        (PolicyRule(PEER_TAG, MY_TAG, "udp", 8080, 8080), PEER_TAG, tcp(1, 8080), REDIRECT),
        (PolicyRule(PEER_TAG, MY_TAG, "udp", 8080, 8080), PEER_TAG, UDP(sport=1, dport=8080), OK),
        (PolicyRule(PEER_TAG, MY_TAG, "tcp", 8080, 8080), PEER_TAG, UDP(dport=8080), SHOT),
        (PolicyRule(PEER_TAG, MY_TAG, "tcp", 1000, 2000), PEER_TAG, tcp(1, 1000), OK),
        (PolicyRule(PEER_TAG, MY_TAG, "tcp", 1000, 2000), PEER_TAG, tcp(1, 2000), OK),
        (PolicyRule(PEER_TAG, MY_TAG, "tcp", 1000, 2000), PEER_TAG, tcp(1, 999), REDIRECT),
        (PolicyRule(PEER_TAG, MY_TAG, "tcp", 1000, 2000), PEER_TAG, tcp(1, 2001), REDIRECT),
        (PolicyRule(PEER_TAG, MY_TAG, "tcp", 1, 65535), PEER_TAG, tcp(1, 65535), OK),
    ],
)
def test_policy(veth, rules: PolicyRules, rule, mark, packet, verdict):
    rules.replace([rule])
    assert veth.receive(into(packet), mark=mark).verdict == verdict
    rules.replace([])
    assert veth.receive(into(packet), mark=mark).verdict != OK


def test_answers_to_the_container_need_no_policy(veth):
    veth.send(out(tcp(40000, 8080)))
    for flags in ("SA", "A", "PA", "FA", "R", "RA"):
        assert veth.receive(into(tcp(8080, 40000, flags)), mark=PEER_TAG).verdict == OK
        assert veth.last == {"to_passed_reply": 1}
    # The flow's own tuple, but a call: the server may not ring back.
    assert veth.receive(into(tcp(8080, 40000, "S")), mark=PEER_TAG).verdict == REDIRECT
    assert veth.receive(into(tcp(8081, 40000, "SA")), mark=PEER_TAG).verdict == REDIRECT


def test_answers_of_the_container_go_to_those_admitted_only(veth, rules):
    answer = out(tcp(8080, 40000, "SA"))
    assert veth.send(answer).verdict == REDIRECT
    rule = PolicyRule(PEER_TAG, MY_TAG, "tcp", 8080, 8080)
    rules.replace([rule])
    assert veth.receive(into(tcp(40000, 8080)), mark=PEER_TAG).verdict == OK
    assert veth.send(answer).verdict == OK
    assert veth.last == {"from_passed_reply": 1}
    # Taken away: the client's next segment is cut, and then the server's.
    rules.replace([])
    assert veth.receive(into(tcp(40000, 8080, "PA", b"x")), mark=PEER_TAG).verdict == REDIRECT
    assert veth.send(answer).verdict == REDIRECT


@pytest.mark.parametrize("src", [ROUTER, GATEWAY])
def test_answers_to_routers_and_the_cell(veth, src):
    veth.receive(into(tcp(40000, 8080), src=src))
    assert veth.send(out(tcp(8080, 40000, "SA"), dst=src)).verdict == OK
    assert veth.send(out(tcp(8080, 40000, "S"), dst=src)).verdict == REDIRECT


def test_resets_make_no_flow(veth):
    veth.receive(into(tcp(40000, 8080, "R"), src=ROUTER))
    assert veth.send(out(tcp(8080, 40000, "A"), dst=ROUTER)).verdict == REDIRECT


def test_an_idle_udp_flow_ends(veth, datapath):
    veth.send(out(UDP(sport=40000, dport=53), dst=DNS))
    reply = into(UDP(sport=53, dport=40000), src=DNS)
    assert veth.receive(reply, ingress_ifindex=1).verdict == OK
    flows = Map(datapath._objects.maps["ct_out"], abi.FlowKey, abi.FlowVal)
    key = abi.FlowKey(src_be=address_be(ME), dst_be=address_be(DNS), sport_be=u16_be(40000),
                      dport_be=u16_be(53), protocol=17)  # fmt: skip
    assert flows.get(key) is not None
    long_ago = time.clock_gettime_ns(time.CLOCK_MONOTONIC) - 121 * 10**9
    flows.set(key, abi.FlowVal(seen_ns=max(0, long_ago)))
    if long_ago > 0:
        assert veth.receive(reply, ingress_ifindex=1).verdict == SHOT


def test_purged_flows_are_forgotten(veth, datapath):
    veth.send(out(tcp(40000, 8080)))
    veth.receive(into(tcp(1, 8080), src=ROUTER))
    assert datapath.purge_flows("10.255.9.9") == 0
    assert datapath.purge_flows(ME) == 2
    assert veth.receive(into(tcp(8080, 40000, "SA")), mark=PEER_TAG).verdict == REDIRECT


def test_routers_are_replaced(veth, datapath):
    datapath.set_routers([STRANGER])
    assert veth.receive(into(tcp(1, 8080), src=ROUTER)).verdict == REDIRECT
    assert veth.receive(into(tcp(1, 8080), src=STRANGER)).verdict == OK


def test_an_app_without_a_tag_has_no_policy(veth, datapath, rules):
    rules.replace([PolicyRule(PEER_TAG, MY_TAG, "tcp", 8080, 8080)])
    datapath.set_container(LOOPBACK, ME, MY_MAC, 0)
    assert veth.receive(into(tcp(1, 8080)), mark=PEER_TAG).verdict == REDIRECT
    assert veth.send(out(tcp(40000, 8080))).mark == 0
