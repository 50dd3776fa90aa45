"""The event stream's framing, whatever pieces it arrives in."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshnet.model.errors import PeerError
from meshnet.wire import sse
from meshnet.wire.sse import Decoder, SseEvent, encode

EVENTS = [SseEvent(0, "actual_lrp_instance_created", b"\x00\n\n\xff"), SseEvent(1, "x", b"")]


def test_an_event_looks_as_diegos() -> None:
    text = encode(SseEvent(7, "actual_lrp_instance_removed", b"\x0a\x00"))
    assert text == b"id: 7\nevent: actual_lrp_instance_removed\ndata: CgA=\n\n"


@given(st.lists(st.integers(1, 9)))
def test_events_survive_any_cutting(sizes: list[int]) -> None:
    data, decoder, found = b"".join(map(encode, EVENTS)), Decoder(), []
    for size in sizes:
        found += decoder.feed(data[:size])
        data = data[size:]
    found += decoder.feed(data)
    assert found == EVENTS


def test_comments_and_blank_lines_are_no_events() -> None:
    data = b"\n\n: still here\n\n:\n\nid:3\nevent:x\ndata:CgA=\n\n\n"
    assert Decoder().feed(data) == [SseEvent(3, "x", b"\x0a\x00")]


@pytest.mark.parametrize(
    "data",
    [
        b"hello\n\n",
        b"id: x\nevent: a\ndata: CgA=\n\n",
        b"id: 1\nevent: a\ndata: ***\n\n",
        b"id: 1\nevent: a\n\n",
        b"id: 1\nevent: \xff\ndata: CgA=\n\n",
    ],
)
def test_what_is_no_event_is_said_to_be_none(data: bytes) -> None:
    with pytest.raises(PeerError, match="holds no event"):
        Decoder().feed(data)


def test_an_endless_event_is_refused() -> None:
    decoder = Decoder()
    decoder.feed(b"data: " + b"A" * (sse.MAX_EVENT_BYTES - 10))
    with pytest.raises(PeerError, match="larger than"):
        decoder.feed(b"A" * 20)
