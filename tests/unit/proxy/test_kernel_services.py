"""The kernel driver: weights as slots."""

from __future__ import annotations

from collections import Counter

from hypothesis import example, given
from hypothesis import strategies as st

from meshnet.proxy.config import (
    Cluster,
    Host,
    HttpListener,
    Outbound,
    ProxyConfig,
    RouteTable,
    Rule,
)
from meshnet.proxy.kernel import MOST_SLOTS, services, spread

A, B, C = ("10.255.1.2", 8080), ("10.255.1.3", 8080), ("10.255.2.2", 8080)
VIP = ("127.128.0.1", 8080)


def config(*clusters: tuple[tuple[tuple[str, int], ...], int], prefix: str = "/") -> ProxyConfig:
    names = tuple((f"c{n}", weight) for n, (_, weight) in enumerate(clusters))
    listener = HttpListener("x", *VIP, "t", bound=False)
    return ProxyConfig(
        listeners=(Outbound(), listener),
        tables=(RouteTable("t", (Host("*", (Rule(prefix, names),)),)),),
        clusters=tuple(Cluster(f"c{n}", e) for n, (e, _) in enumerate(clusters)),
    )


def test_equal_instances_have_a_slot_each() -> None:
    assert services(config(((A, B), 100))) == {VIP: (A, B)}


def test_weights_are_kept_whatever_the_number_of_instances() -> None:
    counts = Counter(services(config(((A, B), 20), ((C,), 80)))[VIP])
    total = sum(counts.values())
    assert total <= MOST_SLOTS
    assert abs(counts[C] / total - 0.8) < 0.01 and abs(counts[A] / total - 0.1) < 0.01


def test_a_cluster_without_instances_gives_its_share_away() -> None:
    assert services(config(((), 90), ((A,), 10))) == {VIP: (A,)}


def test_no_instance_and_no_rule_for_every_path_are_no_slots() -> None:
    assert services(config(((), 100))) == {VIP: ()}
    assert services(config(((A,), 100), prefix="/only")) == {VIP: ()}


ADDRESSES = st.tuples(st.ip_addresses(v=4).map(str), st.integers(1, 65535))


@example({("0", port): share for port, share in enumerate((0.125, 1.5, 38.5, 0.1, 22.5))})
@given(st.dictionaries(ADDRESSES, st.floats(0.01, 128), min_size=1, max_size=300))
def test_every_instance_has_a_slot_and_shares_are_kept(
    shares: dict[tuple[str, int], float],
) -> None:
    slots = spread(shares.items())
    counts, total = Counter(slots), sum(shares.values())
    assert set(counts) == set(shares)
    assert len(slots) <= max(MOST_SLOTS, len(shares))
    if len(shares) < 20:
        for address, share in shares.items():
            assert (
                abs(counts[address] / len(slots) - share / total) < (len(shares) + 1) / MOST_SLOTS
            )
