"""Weights that sum to 100."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from meshnet.copilot.weights import percentages

_WEIGHTS = st.integers(1, 128)


@given(st.dictionaries(st.integers(), _WEIGHTS, min_size=1, max_size=100))
def test_weights_sum_to_100_and_nobody_is_left_out(weights: dict[str, int]) -> None:
    shares = percentages(weights)
    assert sum(shares.values()) == 100
    assert list(shares) == list(weights) and min(shares.values()) >= 1


@given(st.lists(_WEIGHTS, min_size=101, max_size=300))
def test_of_more_than_100_some_go_empty_but_the_sum_is_100(weights: list[int]) -> None:
    shares = percentages({str(n): weight for n, weight in enumerate(weights)})
    assert sum(shares.values()) == 100 and min(shares.values()) >= 0


def test_of_nobody_there_is_nothing() -> None:
    assert percentages({}) == {}
