"""Frames into values and lines: Ethernet, ARP, IPv4, TCP, UDP, ICMP, and VXLAN with its policy tag.

Pure; a frame may be anything, and may be cut.
"""

from __future__ import annotations

import contextlib
import socket
import struct
from dataclasses import dataclass
from typing import Protocol

VXLAN_PORT = 4789
_IPV4, _ARP = 0x0800, 0x0806
_ICMP, TCP, UDP = 1, 6, 17
_FLAGS = ((0x02, "S"), (0x01, "F"), (0x04, "R"), (0x08, "P"), (0x10, "."))
_GBP, _VNI = 0x80, 0x08  # draft-smith-vxlan-group-policy, section 2.1
_HTTP = (b"GET ", b"POST ", b"PUT ", b"HEAD ", b"DELETE ", b"PATCH ", b"OPTIONS ", b"HTTP/1.")


class Namer(Protocol):
    """Names of addresses and tags."""

    def address(self, address: str) -> str:
        """An address's name."""

    def tag(self, tag: int) -> str:
        """A tag's app."""


@dataclass(frozen=True)
class Packet:
    """What was found in a frame; `protocol` is "" where it is no IPv4.

    Attributes:
        tag: group policy id, of a VXLAN packet; None without one.
        inner: the packet inside a VXLAN packet.
        note: what a person wants to know beyond the fields.
    """

    protocol: str
    source: str = ""
    destination: str = ""
    sport: int = 0
    dport: int = 0
    flags: str = ""
    length: int = 0
    vni: int = 0
    tag: int | None = None
    inner: Packet | None = None
    note: str = ""
    seq: int = 0
    ack: int = 0

    @property
    def flow(self) -> tuple[str, str, int, str, int]:
        """(protocol, source, port, destination, port)."""
        return self.protocol, self.source, self.sport, self.destination, self.dport


def decode(frame: bytes, vxlan_port: int = VXLAN_PORT) -> Packet:
    """The packet in an Ethernet frame."""
    try:
        return _ethernet(frame, vxlan_port)
    except (struct.error, IndexError, ValueError, OSError):  # OSError: inet_ntoa
        return Packet("", note=f"cut off, {len(frame)} bytes")


def _ethernet(frame: bytes, vxlan_port: int) -> Packet:
    kind = struct.unpack_from("!H", frame, 12)[0]
    if kind == _IPV4:
        return _ipv4(frame[14:], vxlan_port)
    if kind == _ARP and len(frame) >= 42:
        asks = struct.unpack_from("!H", frame, 20)[0] == 1
        sender, target = socket.inet_ntoa(frame[28:32]), socket.inet_ntoa(frame[38:42])
        what = (
            f"who has {target}? tell {sender}" if asks else f"{sender} is at {_mac(frame[22:28])}"
        )
        return Packet("arp", sender, target, note=what)
    return Packet("", note=f"ethertype 0x{kind:04x}, {len(frame)} bytes")


def _mac(raw: bytes) -> str:
    return raw.hex(":")


def _ipv4(data: bytes, vxlan_port: int) -> Packet:
    header = (data[0] & 15) * 4
    total, fragment, protocol = struct.unpack_from("!2xH2xHxB", data)
    source, destination = socket.inet_ntoa(data[12:16]), socket.inet_ntoa(data[16:20])
    body = data[header:total] if total else data[header:]
    length = max(0, (total or len(data)) - header)
    if fragment & 0x1FFF:
        return Packet(f"ip-{protocol}", source, destination, length=length, note="fragment")
    if protocol == TCP:
        return _tcp(source, destination, body, length)
    if protocol == UDP:
        return _udp(source, destination, body, length, vxlan_port)
    if protocol == _ICMP:
        kind, code = body[0], body[1]
        return Packet("icmp", source, destination, length=length, note=f"type {kind} code {code}")
    return Packet(f"ip-{protocol}", source, destination, length=length)


def _tcp(source: str, destination: str, body: bytes, length: int) -> Packet:
    sport, dport, seq, ack, offset, flags = struct.unpack_from("!HHIIBB", body)
    payload = body[(offset >> 4) * 4 :]
    text = "".join(letter for bit, letter in _FLAGS if flags & bit)
    note = ""
    if payload.startswith(_HTTP):
        note = payload.split(b"\r\n", 1)[0][:100].decode("ascii", "replace")
    size = length - (offset >> 4) * 4
    return Packet("tcp", source, destination, sport, dport, text, size, note=note, seq=seq, ack=ack)


def _udp(source: str, destination: str, body: bytes, length: int, vxlan_port: int) -> Packet:
    sport, dport = struct.unpack_from("!HH", body)
    if dport == vxlan_port and len(body) >= 16:
        flags, group, vni = struct.unpack_from("!BxHI", body, 8)
        if flags & _VNI:
            tag = group if flags & _GBP else None
            inner = decode(body[16:], 0)
            return Packet("vxlan", source, destination, sport, dport, length=length - 8,
                          vni=vni >> 8, tag=tag, inner=inner)  # fmt: skip
    note = ""
    if 53 in (sport, dport):
        # What is no DNS, or is cut, is a datagram all the same.
        with contextlib.suppress(struct.error, IndexError, ValueError, OSError):
            note = _dns(body[8:])
    return Packet("udp", source, destination, sport, dport, length=length - 8, note=note)


def _dns(message: bytes) -> str:
    flags, _, answers = struct.unpack_from("!2xHHH", message)
    labels, at = [], 12
    while message[at]:
        labels.append(message[at + 1 : at + 1 + message[at]].decode("ascii", "replace"))
        at += 1 + message[at]
    kind = {1: "A", 28: "AAAA"}.get(struct.unpack_from("!H", message, at + 1)[0], "?")
    name = ".".join(labels)
    if not flags & 0x8000:
        return f"{kind}? {name}"
    addresses, at = [], at + 5
    for _ in range(min(answers, 8)):
        at += 2  # our resolver compresses the owner's name into a pointer
        rtype, size = struct.unpack_from("!H6xH", message, at)
        at += 10
        if rtype == 1:
            addresses.append(socket.inet_ntoa(message[at : at + 4]))
        at += size
    code = flags & 15
    said = {0: ", ".join(addresses) or "no address", 2: "SERVFAIL", 3: "NXDOMAIN", 5: "REFUSED"}
    return f"{name} {kind} {said.get(code, f'rcode {code}')}"


def line(packet: Packet, names: Namer) -> str:
    """A packet as one line, with the lab's names."""
    if packet.inner is not None:
        tag = "no policy tag"
        if packet.tag is not None:
            tag = f"tag 0x{packet.tag:04x} ({names.tag(packet.tag)})" if packet.tag else "tag 0"
        ends = f"{names.address(packet.source)} → {names.address(packet.destination)}"
        return f"vxlan {ends} vni {packet.vni} {tag} | {line(packet.inner, names)}"
    if not packet.protocol or packet.protocol == "arp":
        return f"{packet.protocol} {packet.note}".strip()
    source = _end(packet.source, packet.sport, names)
    destination = _end(packet.destination, packet.dport, names)
    flags = f" [{packet.flags}]" if packet.flags else ""
    note = f"  {packet.note}" if packet.note else ""
    return f"{packet.protocol} {source} → {destination}{flags} {packet.length} B{note}"


def _end(address: str, port: int, names: Namer) -> str:
    name = names.address(address)
    text = f"{name} {address}" if name != address else address
    return f"{text}:{port}" if port else text
