"""VIPs: the lowest free, kept, and never two hosts' at once."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshnet.copilot.vips import VipPool
from meshnet.model.errors import Conflict, InputError

RANGE = "127.128.0.0/28"
_HOSTS = st.sampled_from("abcdef")
_VIPS = st.just("") | st.integers(1, 14).map(lambda n: f"127.128.0.{n}")


def planned(pool: VipPool, wanted: dict[str, str], *gone: str) -> dict[str, str | None]:
    changes = pool.plan(wanted, gone)
    pool.apply(changes)
    return changes


def test_vips_are_the_lowest_free_and_stay() -> None:
    pool = VipPool(RANGE, {})
    assert planned(pool, {"b": "", "a": ""}) == {"a": "127.128.0.1", "b": "127.128.0.2"}
    assert planned(pool, {"b": "", "c": ""}, "a") == {"a": None, "c": "127.128.0.1"}
    assert planned(pool, {"b": "", "c": ""}) == {}


def test_a_plan_changes_nothing() -> None:
    pool = VipPool(RANGE, {"a": "127.128.0.1"})
    assert pool.plan({"b": ""}, ["a"]) == pool.plan({"b": ""}, ["a"])
    assert planned(pool, {"b": ""}) == {"b": "127.128.0.2"}


def test_two_hosts_may_swap_their_vips_and_one_may_not_take_anothers() -> None:
    pool = VipPool(RANGE, {"a": "127.128.0.1", "b": "127.128.0.2"})
    with pytest.raises(InputError, match="taken: both b and a"):
        pool.plan({"a": "127.128.0.2"})
    assert planned(pool, {"a": "127.128.0.2", "b": "127.128.0.1"}) == {
        "a": "127.128.0.2",
        "b": "127.128.0.1",
    }


def test_a_range_of_two_takes_two() -> None:
    pool = VipPool("127.128.0.0/30", {})
    planned(pool, {"a": "", "b": ""})
    with pytest.raises(Conflict, match="full"):
        pool.plan({"c": ""})
    with pytest.raises(InputError, match="not in"):
        pool.plan({"c": "127.128.0.3"})


@given(st.lists(st.tuples(st.dictionaries(_HOSTS, _VIPS), st.sets(_HOSTS)), max_size=12))
def test_whatever_happens_vips_are_unique_and_the_lowest_free(
    steps: list[tuple[dict[str, str], set[str]]],
) -> None:
    pool = VipPool(RANGE, {})
    present: dict[str, str] = {}
    for wanted, gone in steps:
        gone -= wanted.keys()
        try:
            changes = pool.plan(wanted, gone)
        except InputError:
            continue
        before = dict(present)
        pool.apply(changes)
        for host, vip in changes.items():
            present.pop(host, None)
            if vip is not None:
                present[host] = vip
        assert len(set(present.values())) == len(present)
        assert wanted.keys() <= present.keys() and not gone & present.keys()
        _check_lowest(before, present, wanted)


def _check_lowest(before: dict[str, str], present: dict[str, str], wanted: dict[str, str]) -> None:
    used = {int(ipaddress.IPv4Address(vip)) & 15 for vip in present.values()}
    for host, asked in wanted.items():
        if asked:
            assert present[host] == asked
        elif host in before:
            assert present[host] == before[host]
        else:
            offset = int(ipaddress.IPv4Address(present[host])) & 15
            assert set(range(1, offset)) <= used
