"""The redirection benchmark's plan and statistics."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from meshnet.bench.plan import VARIANTS, Cell, chosen, matrix, rounds, schedule
from meshnet.bench.stats import NO_DIFFERENCE, interval, ratio, said
from meshnet.model.errors import InputError


def test_each_round_has_every_variant_and_is_followed_by_its_mirror() -> None:
    order = rounds(VARIANTS, 8, seed=1)
    assert all(Counter(one) == Counter(VARIANTS) for one in order)
    assert all(order[i] == order[i + 1][::-1] for i in range(0, 8, 2))
    assert rounds(VARIANTS, 8, seed=1) == order != rounds(VARIANTS, 8, seed=2)
    assert len(rounds(VARIANTS, 3, seed=1)) == 3


def test_the_schedule_takes_every_sample_once_each_cell_in_an_order_of_its_own() -> None:
    cells = matrix(["same cell"], ["keep-alive", "new"], [1, 32])
    steps = schedule(cells, VARIANTS, 4, seed=1)
    assert Counter(steps) == Counter(
        (cell, number, v) for cell in cells for number in range(4) for v in VARIANTS
    )
    orders = {cell: [v.name for c, _, v in steps if c == cell] for cell in cells}
    assert len({tuple(names) for names in orders.values()}) == len(cells)
    assert steps == schedule(cells, VARIANTS, 4, seed=1) != schedule(cells, VARIANTS, 4, seed=2)


def test_the_matrix_and_the_choice_of_variants() -> None:
    assert len(matrix(["same cell", "across cells"], ["keep-alive", "new"], [1, 32, 128])) == 12
    assert matrix(["same cell"] * 2, ["new"], [1, 1]) == (Cell("same cell", "new", 1),)
    assert [v.name for v in chosen(["kernel"])] == ["direct", "kernel"]
    assert chosen([]) == VARIANTS
    with pytest.raises(InputError, match="no variant 'nope'"):
        chosen(["nope"])


def test_which_proxies_a_variant_passes() -> None:
    assert {v.name: v.proxies for v in VARIANTS} == {
        "direct": (False, False),
        "iptables": (True, False),
        "iptables-both": (True, True),
        "ebpf": (True, False),
        "ebpf-sockmap": (True, False),
        "kernel": (False, False),
    }


def test_an_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    chance, covered = random.Random(7), 0
    for n in range(200):
        values = [chance.gauss(10, 1) for _ in range(25)]
        covered += interval(values, seed=n).holds(10)
    assert 170 <= covered <= 200  # 95 % of 200, with the small sample's slack


def test_one_value_is_its_own_interval() -> None:
    alone = interval([3.0], seed=1)
    assert (alone.low, alone.value, alone.high) == (3, 3, 3)


def test_ratios_are_by_round_and_no_difference_is_said_so() -> None:
    drift = [1.0, 2.0, 0.5, 1.5]
    doubled = ratio([2 * d for d in drift], drift, seed=0)
    assert (doubled.low, doubled.value, doubled.high) == (2, 2, 2)
    assert said(doubled) == "2.00x"
    assert said(ratio([1.1, 0.9, 1.0, 1.05], [1, 1, 1, 1], seed=0)) == NO_DIFFERENCE
    assert said(ratio([0.9, 0.8, 0.85], [1, 1, 1], seed=0)) == "0.85x"
