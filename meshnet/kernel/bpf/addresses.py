"""Texts a person writes to numbers a BPF map holds, and back."""

from __future__ import annotations

import ipaddress
import struct

from meshnet.model.errors import InputError


def address_be(text: str) -> int:
    """An IPv4 address as a u32 whose bytes in memory are the address."""
    try:
        packed = ipaddress.IPv4Address(text).packed
    except ValueError as exc:
        raise InputError(f"{text!r} is not an IPv4 address") from exc
    return int(struct.unpack("<I", packed)[0])


def address_text(value: int) -> str:
    """The address of such a u32."""
    return str(ipaddress.IPv4Address(struct.pack("<I", value)))


def network_be(text: str) -> tuple[int, int]:
    """(network, mask) of an IPv4 network, each as a u32 in network byte order."""
    try:
        network = ipaddress.IPv4Network(text)
    except ValueError as exc:
        raise InputError(f"{text!r} is not an IPv4 network") from exc
    return address_be(str(network.network_address)), address_be(str(network.netmask))


def u16_be(value: int) -> int:
    """A port or tag as a u16 in network byte order."""
    if not 0 <= value <= 0xFFFF:
        raise InputError(f"{value} does not fit 16 bits")
    return int(struct.unpack("<H", struct.pack(">H", value))[0])


def mac_bytes(text: str) -> bytes:
    """The six bytes of a MAC address written with colons."""
    try:
        raw = bytes.fromhex(text.replace(":", ""))
    except ValueError:
        raw = b""
    if len(raw) != 6:
        raise InputError(f"{text!r} is not a MAC address")
    return raw


def mac_text(raw: bytes) -> str:
    """Six bytes as a MAC address with colons."""
    return raw.hex(":")
