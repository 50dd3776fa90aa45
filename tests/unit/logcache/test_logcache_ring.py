"""What log-cache keeps, and what it gives back."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from meshnet.logcache.ring import Ring
from meshnet.wire.gen import loggregator_pb2 as pb


def line(ns: int, text: str = "x", source: str = "a", instance: str = "0") -> Any:
    log = pb.Log(payload=text.encode())
    return pb.Envelope(timestamp=ns, source_id=source, instance_id=instance, log=log)


def gauge(ns: int) -> Any:
    metrics = {"cpu": pb.GaugeValue(value=1.0)}
    return pb.Envelope(timestamp=ns, source_id="a", gauge=pb.Gauge(metrics=metrics))


def get(ring: Ring, source: str = "a", **asked: Any) -> list[int]:
    found = ring.get(source, **{"start": -(2**63), "end": 10**19, "limit": 1000, **asked})
    return [one.timestamp for one in found]


def test_envelopes_come_by_time_however_they_arrive() -> None:
    ring = Ring()
    ring.put([line(3), line(1)])
    ring.put([line(2), line(4, source="b")])
    assert get(ring) == [1, 2, 3]
    assert get(ring, descending=True) == [3, 2, 1]
    assert get(ring, "b") == [4] and get(ring, "nobody") == []


def test_start_is_included_end_is_not_and_the_limit_counts_from_the_right_side() -> None:
    ring = Ring()
    ring.put(line(ns) for ns in range(1, 6))
    assert get(ring, start=2, end=4) == [2, 3]
    assert get(ring, limit=2) == [1, 2]
    assert get(ring, limit=2, descending=True) == [5, 4]
    assert get(ring, start=4, end=2) == []


def test_kinds_are_told_apart() -> None:
    ring = Ring()
    ring.put([line(1), gauge(2), line(3)])
    assert get(ring, kinds={"log"}) == [1, 3]
    assert get(ring, kinds={"gauge"}) == [2]
    assert get(ring, kinds={"gauge"}, limit=1, descending=True) == [2]


def test_the_same_said_twice_is_one_and_what_differs_is_two() -> None:
    ring = Ring()
    ring.put([line(1), line(1, "y"), line(1, instance="1")])
    size = ring.size
    ring.put([line(1), line(1, "y")])
    assert get(ring) == [1, 1, 1] and ring.size == size


def test_the_oldest_go_first_and_are_counted() -> None:
    ring = Ring(most_envelopes=32)
    ring.put(line(ns) for ns in range(100))
    kept = get(ring)
    assert kept == list(range(100 - len(kept), 100)) and 29 <= len(kept) <= 32
    meta = ring.meta()["a"]
    assert (meta.count, meta.expired) == (len(kept), 100 - len(kept))
    assert (meta.oldest, meta.newest) == (kept[0], 99)


def test_when_all_is_too_much_the_loudest_pays() -> None:
    ring = Ring(most_bytes=20_000)
    ring.put(line(ns, source="quiet") for ns in range(10))
    ring.put(line(ns, "y" * 100) for ns in range(1000))
    assert ring.size <= 20_000
    assert get(ring, "quiet") == list(range(10))
    assert get(ring)[-1] == 999


def test_an_envelope_of_nobody_is_not_kept() -> None:
    ring = Ring()
    ring.put([line(1, source="")])
    assert ring.meta() == {} and ring.size == 0


@given(st.lists(st.tuples(st.integers(0, 50), st.sampled_from("ab"))))
def test_size_and_order_hold_whatever_comes(rows: list[tuple[int, str]]) -> None:
    ring = Ring(most_envelopes=16, most_bytes=3000)
    for ns, text in rows:
        ring.put([line(ns, text)])
        kept = get(ring)
        assert kept == sorted(kept) and len(kept) <= 16
        assert 0 <= ring.size <= 3000
    if not get(ring):
        assert ring.size == 0
