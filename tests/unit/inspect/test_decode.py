"""Frames to values and lines, on frames that scapy made; and on anything else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.dns import DNS, DNSQR, DNSRR
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.l2 import ARP, Ether
from scapy.layers.vxlan import VXLAN

from meshnet.inspect.decode import decode, line


class Names:
    """Two containers and a cell."""

    def address(self, address: str) -> str:
        return {"10.255.1.2": "a/0", "10.255.2.3": "b/1", "10.0.16.21": "cell-1"}.get(
            address, address
        )

    def tag(self, tag: int) -> str:
        return {3: "a"}.get(tag, f"0x{tag:04x}")


INNER = Ether() / IP(src="10.255.1.2", dst="10.255.2.3") / TCP(sport=40000, dport=8080, flags="PA")
OUTER = Ether() / IP(src="10.0.16.21", dst="10.0.16.22") / UDP(dport=4789)
REQUEST = b"GET /x HTTP/1.1\r\nHost: b\r\n\r\n"


@pytest.mark.parametrize("body", [b"", b"x", b"no dns at all, only text"])
def test_a_datagram_to_port_53_that_is_no_dns_has_its_addresses_all_the_same(body: bytes) -> None:
    packet = decode(bytes(Ether() / IP(src="10.255.1.2", dst="10.255.2.3") / UDP(dport=53) / body))
    assert packet.flow == ("udp", "10.255.1.2", 53, "10.255.2.3", 53)


def test_tcp_with_its_first_line() -> None:
    packet = decode(bytes(INNER / REQUEST))
    assert packet.flow == ("tcp", "10.255.1.2", 40000, "10.255.2.3", 8080)
    assert (packet.flags, packet.length, packet.note) == ("P.", len(REQUEST), "GET /x HTTP/1.1")
    text = line(packet, Names())
    assert text.startswith("tcp a/0 10.255.1.2:40000 → b/1 10.255.2.3:8080 [P.] ")


@pytest.mark.parametrize(
    ("layer", "tag", "says"),
    [
        (VXLAN(flags=0x88, gpid=3, vni=7), 3, "vni 7 tag 0x0003 (a) | tcp"),
        (VXLAN(flags=0x08, vni=7), None, "vni 7 no policy tag | tcp"),
    ],
)
def test_vxlan_with_and_without_a_tag(layer: VXLAN, tag: int | None, says: str) -> None:
    packet = decode(bytes(OUTER / layer / INNER / REQUEST))
    assert packet.inner is not None
    assert (packet.tag, packet.vni, packet.inner.dport) == (tag, 7, 8080)
    assert says in line(packet, Names())


def test_another_vxlan_port() -> None:
    frame = bytes(OUTER / VXLAN(flags=0x88, gpid=3, vni=7) / INNER)
    assert decode(frame, 4790).inner is None


def test_dns_question_and_answer() -> None:
    ask = Ether() / IP() / UDP(dport=53) / DNS(qd=DNSQR(qname="b.apps.internal"))
    assert decode(bytes(ask)).note == "A? b.apps.internal"
    told = DNS(qr=1, qd=DNSQR(qname="b.x"), an=DNSRR(rrname="b.x", rdata="127.128.0.1"))
    # Answers as resolvers send them: the owner's name is a pointer to the question.
    wire = bytes(told)
    head, question = wire[:12], wire[12:21]
    answer = b"\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x00\x00\x04\x7f\x80\x00\x01"
    reply = bytes(Ether() / IP() / UDP(sport=53)) + head + question + answer
    frame = bytearray(reply)
    frame[16:18] = (len(reply) - 14).to_bytes(2)
    assert decode(bytes(frame)).note == "b.x A 127.128.0.1"


def test_arp_icmp_and_what_is_no_ip() -> None:
    assert (
        "who has 10.0.0.2? tell 10.0.0.1"
        in decode(bytes(Ether() / ARP(op=1, psrc="10.0.0.1", pdst="10.0.0.2"))).note
    )
    icmp = decode(bytes(Ether() / IP(src="10.255.1.2") / ICMP(type=3, code=4)))
    assert (icmp.protocol, icmp.note) == ("icmp", "type 3 code 4")
    assert "ethertype 0x86dd" in decode(b"\0" * 12 + b"\x86\xdd" + b"\0" * 40).note


@given(st.binary(max_size=120), st.integers(min_value=0, max_value=100))
def test_nothing_it_is_given_breaks_it(noise: bytes, cut: int) -> None:
    for frame in (noise, b"\0" * 12 + b"\x08\x00" + noise, bytes(INNER / REQUEST)[:cut],
                  bytes(OUTER / VXLAN(flags=0x88) / noise)):  # fmt: skip
        line(decode(frame), Names())
