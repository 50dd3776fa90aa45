"""Which address, host port and uid an instance gets."""

from __future__ import annotations

import pytest

from meshnet.cell.numbers import Numbers
from meshnet.model.errors import Conflict


def test_numbers_are_given_in_turn_and_what_was_given_back_comes_last() -> None:
    ports = Numbers("host port", 61000, 4)
    assert [ports.next([]) for _ in range(5)] == [61000, 61001, 61002, 61003, 61000]
    assert ports.next([61001, 61002]) == 61003
    assert ports.next([61000]) == 61001


def test_an_agent_goes_on_where_the_one_before_it_was() -> None:
    hosts = Numbers("address", 2, 253)
    hosts.taken([7, 3, 300])
    assert hosts.next([3, 7]) == 8
    hosts.taken([])
    assert hosts.next([3, 7, 8]) == 9
    hosts.taken([254])
    assert hosts.next([3, 254]) == 2


def test_none_free_says_what_and_how_many() -> None:
    ports = Numbers("host port", 61000, 3)
    with pytest.raises(Conflict, match=r"no free host port on this cell: all 3 are used"):
        ports.next([61002, 61001, 61000])
