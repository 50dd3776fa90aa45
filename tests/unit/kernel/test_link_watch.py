"""rtnetlink's link messages, byte for byte."""

from __future__ import annotations

import struct

from meshnet.kernel.link_watch import LinkState, parse

NEWLINK, DELLINK = 16, 17


def message(name: bytes, flags: int, kind: int = NEWLINK) -> bytes:
    text = name + b"\0"
    attributes = struct.pack("=HHI", 8, 13, 1000)  # IFLA_TXQLEN, of no interest
    attributes += struct.pack("=HH", 4 + len(text), 3) + text
    attributes += b"\0" * (-len(attributes) % 4)
    body = struct.pack("=BxHiII", 0, 1, 7, flags, 0) + attributes
    return struct.pack("=IHHII", 16 + len(body), kind, 0, 0, 0) + body


def test_names_and_states_in_order() -> None:
    data = message(b"s-010255001002", 0x1043) + message(b"eth0", 0x1002)
    assert parse(data) == [LinkState("s-010255001002", True), LinkState("eth0", False)]


def test_other_messages_are_skipped() -> None:
    data = message(b"a", 1, DELLINK) + message(b"b", 1)
    assert parse(data) == [LinkState("b", True)]


def test_torn_data_ends_it() -> None:
    whole = message(b"a", 1)
    assert parse(b"") == []
    assert parse(whole[:10]) == []
    assert parse(whole + whole[:20]) == [LinkState("a", True)]
    assert parse(struct.pack("=IHHII", 0, NEWLINK, 0, 0, 0) + whole) == []
