"""Which subnet a cell gets."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshnet.lease.pool import allocate, check
from meshnet.model.errors import Conflict, InputError

OVERLAY = "10.255.0.0/16"
FIXED = {"10.0.16.21": "10.255.1.0/24", "10.0.16.22": "10.255.2.0/24"}


def test_a_cell_keeps_what_it_has_or_gets_what_is_fixed_or_the_lowest_free() -> None:
    taken = {"10.0.16.30": "10.255.9.0/24"}
    assert allocate(OVERLAY, 24, taken, FIXED, "10.0.16.30") == "10.255.9.0/24"
    assert allocate(OVERLAY, 24, taken, FIXED, "10.0.16.22") == "10.255.2.0/24"
    assert allocate(OVERLAY, 24, taken, FIXED, "10.0.16.31") == "10.255.3.0/24"


def test_a_fixed_subnet_leased_to_another_cell_is_not_given_twice() -> None:
    taken = {"10.0.16.30": "10.255.1.0/24"}
    with pytest.raises(Conflict, match=r"10\.0\.16\.30"):
        allocate(OVERLAY, 24, taken, FIXED, "10.0.16.21")


def test_a_full_pool_and_a_bad_address_are_refused() -> None:
    taken = {"10.0.0.1": "10.255.1.0/25", "10.0.0.2": "10.255.1.128/25"}
    with pytest.raises(Conflict, match="no free /25"):
        allocate("10.255.0.0/23", 25, {**taken, "x": "10.255.0.128/25"}, {}, "10.0.0.3")
    for bad in ("", "10.0.16", "::1", "cell-1"):
        with pytest.raises(InputError):
            allocate(OVERLAY, 24, {}, {}, bad)


@given(st.lists(st.integers(1, 60), unique=True, max_size=40))
def test_no_two_cells_share_a_subnet(hosts: list[int]) -> None:
    taken: dict[str, str] = {}
    for host in hosts:
        ip = f"10.0.16.{host}"
        taken[ip] = allocate(OVERLAY, 24, taken, FIXED, ip)
    networks = [ipaddress.IPv4Network(subnet) for subnet in taken.values()]
    assert len(set(networks)) == len(hosts)
    assert ipaddress.IPv4Network("10.255.0.0/24") not in networks
    assert all(taken.get(ip, subnet) == subnet for ip, subnet in FIXED.items())


@pytest.mark.parametrize(
    ("overlay", "prefix", "fixed", "text"),
    [
        ("10.255.0.0", 16, {}, "no lease of"),
        ("10.255.0.1/16", 24, {}, "host bits"),
        (OVERLAY, 16, {}, "no lease of"),
        (OVERLAY, 31, {}, "no lease of"),
        (OVERLAY, 24, {"10.0.16.21": "10.254.1.0/24"}, "is no /24 of"),
        (OVERLAY, 24, {"10.0.16.21": "10.255.1.0/25"}, "is no /24 of"),
        (OVERLAY, 24, {"cell-1": "10.255.1.0/24"}, "cell-1"),
        (OVERLAY, 24, {"10.0.16.21": "10.255.1.0/24", "10.0.16.22": "10.255.1.0/24"}, "two cells"),
    ],
)
def test_settings_from_which_no_lease_can_come_are_refused(
    overlay: str, prefix: int, fixed: dict[str, str], text: str
) -> None:
    with pytest.raises(InputError, match=text):
        check(overlay, prefix, fixed)
    check(OVERLAY, 24, FIXED)
