"""Addresses, port ranges, policy keys and the load balancer's table."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshnet.kernel.bpf import abi, maglev
from meshnet.kernel.bpf.addresses import (
    address_be,
    address_text,
    mac_bytes,
    mac_text,
    network_be,
    u16_be,
)
from meshnet.kernel.bpf.cell_datapath import CellParams
from meshnet.kernel.bpf.policy_rules import PolicyRule, keys_of, rule_of
from meshnet.kernel.bpf.port_ranges import prefixes
from meshnet.model.errors import InputError

PORTS = st.integers(0, 65535)
PARAMS = {
    "vip_network": "127.128.0.0/9",
    "overlay_network": "10.255.0.0/16",
    "underlay_network": "10.0.16.0/24",
    "gateway": "169.254.0.1",
    "dns_address": "169.254.0.2",
}


def span(prefix: tuple[int, int]) -> range:
    start, length = prefix
    return range(start, start + (1 << (16 - length)))


@given(st.tuples(PORTS, PORTS).map(sorted))
def test_prefixes_cover_a_range_exactly_and_once(ends):
    start, end = ends
    found = list(prefixes(start, end))
    ports = [port for prefix in found for port in span(prefix)]
    assert ports == list(range(start, end + 1))
    assert all(first % len(span((first, length))) == 0 for first, length in found)
    assert len(found) <= 30


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [(8080, 8080, [(8080, 16)]), (0, 65535, [(0, 0)]), (8080, 8081, [(8080, 15)]),
     (1, 3, [(1, 16), (2, 15)]), (5, 4, [])],
)  # fmt: skip
def test_prefixes(start, end, expected):
    assert list(prefixes(start, end)) == expected


def test_addresses_are_their_bytes_in_memory():
    assert address_be("10.255.1.2").to_bytes(4, "little") == bytes([10, 255, 1, 2])
    assert address_text(address_be("10.255.1.2")) == "10.255.1.2"
    assert network_be("127.128.0.0/9") == (address_be("127.128.0.0"), address_be("255.128.0.0"))
    assert u16_be(0x0102) == 0x0201
    assert mac_text(mac_bytes("ee:ee:0a:ff:01:02")) == "ee:ee:0a:ff:01:02"


@pytest.mark.parametrize(
    "call",
    [lambda: address_be("10.0.0"), lambda: network_be("10.0.0.1/24"), lambda: mac_bytes("aa:bb"),
     lambda: mac_bytes("zz:bb:cc:dd:ee:ff"), lambda: u16_be(65536),
     lambda: CellParams(**{**PARAMS, "gateway": "x"}).config(),
     lambda: CellParams(**PARAMS, lease_prefix=32).config(),
     lambda: CellParams(**PARAMS, proxy_port=70000).config(),
     lambda: PolicyRule(0, 1, "tcp", 1, 1), lambda: PolicyRule(1, 65536, "tcp", 1, 1),
     lambda: PolicyRule(1, 1, "icmp", 1, 1), lambda: PolicyRule(1, 1, "tcp", 2, 1),
     lambda: PolicyRule(1, 1, "tcp", 0, 1), lambda: PolicyRule(1, 1, "tcp", 1, 65536)],
)  # fmt: skip
def test_nonsense_is_refused(call):
    with pytest.raises(InputError):
        call()


def test_config():
    config = CellParams(**PARAMS).config()
    assert config.vip_mask_be == address_be("255.128.0.0")
    assert config.lease_host_mask_be == address_be("0.0.0.255")
    assert config.proxy_port_be == u16_be(15001)


def test_policy_keys_are_the_bytes_the_trie_compares():
    (key,) = keys_of(PolicyRule(0x0102, 0x0304, "tcp", 8080, 8080))
    assert key == bytes([64, 0, 0, 0, 1, 2, 3, 4, 6, 0, 0x1F, 0x90])
    assert rule_of(abi.PolicyKey.from_buffer_copy(key)) == PolicyRule(258, 772, "tcp", 8080, 8080)


def test_maglev_shares_fairly_and_moves_little():
    backends = [f"10.0.16.{n}" for n in range(11, 16)]
    full = maglev.table(backends, abi.LB_SLOTS)
    share = Counter(full)
    assert len(full) == abi.LB_SLOTS
    assert max(share.values()) - min(share.values()) <= 1
    without = maglev.table(backends[1:], abi.LB_SLOTS)
    moved = sum(a != b for a, b in zip(full, without, strict=True) if a != backends[0])
    assert moved < abi.LB_SLOTS * 0.2
    assert maglev.table(backends[::-1], abi.LB_SLOTS) == full
    assert maglev.table([], abi.LB_SLOTS) == []
