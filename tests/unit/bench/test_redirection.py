"""The redirection benchmark's plan, statistics, readings and comparison."""

from __future__ import annotations

import json
import random
from collections import Counter
from pathlib import Path

import pytest

from meshnet.bench import sample, summary
from meshnet.bench.compare import compare, read
from meshnet.bench.plan import VARIANTS, Cell, chosen, matrix, rounds
from meshnet.bench.redirection import FORMAT
from meshnet.bench.sample import Sample
from meshnet.bench.stats import NO_DIFFERENCE, interval, ratio, said
from meshnet.model.errors import InputError

WRK = """Running 2s test @ http://x:8080/
  1 threads and 32 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency   237.60us  302.80us   4.43ms   97.57%
  Latency Distribution
     50%  174.00us
     75%  261.00us
     90%  358.00us
     99%    1.57ms
  95279 requests in 2.10s, 6.09MB read
  Socket errors: connect 0, read 3, write 0, timeout 1
  Non-2xx or 3xx responses: 5
Requests/sec:  45370.95
"""


def test_each_round_has_every_variant_and_is_followed_by_its_mirror() -> None:
    order = rounds(VARIANTS, 8, seed=1)
    assert all(Counter(one) == Counter(VARIANTS) for one in order)
    assert all(order[i] == order[i + 1][::-1] for i in range(0, 8, 2))
    assert rounds(VARIANTS, 8, seed=1) == order != rounds(VARIANTS, 8, seed=2)


def test_the_matrix_and_the_choice_of_variants() -> None:
    assert len(matrix(["same cell", "across cells"], ["keep-alive", "new"], [1, 32, 128])) == 12
    assert [v.name for v in chosen(["kernel"])] == ["direct", "kernel"]
    assert chosen([]) == VARIANTS
    with pytest.raises(InputError, match="no variant 'nope'"):
        chosen(["nope"])


def test_an_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    chance, covered = random.Random(7), 0
    for n in range(200):
        values = [chance.gauss(10, 1) for _ in range(25)]
        covered += interval(values, seed=n).holds(10)
    assert 170 <= covered <= 200  # 95 % of 200, with the small sample's slack


def test_ratios_are_by_round_and_no_difference_is_said_so() -> None:
    drift = [1.0, 2.0, 0.5, 1.5]
    doubled = ratio([2 * d for d in drift], drift, seed=0)
    assert (doubled.low, doubled.value, doubled.high) == (2, 2, 2)
    assert said(doubled) == "2.00x"
    assert said(ratio([1.1, 0.9, 1.0, 1.05], [1, 1, 1, 1], seed=0)) == NO_DIFFERENCE


def test_wrks_words_are_read() -> None:
    assert sample._requests(WRK) == (95279, 2.1)
    assert sample._errors(WRK) == 9
    found = {p: float(v) * sample._UNITS[u] for p, v, u in sample._PERCENTILE.findall(WRK)}
    assert found == {"50": 174.0, "99": 1570.0}


def one(variant: str, number: int, rate: float) -> Sample:
    cpu = {"client": 10.0, "app": 5.0, "proxies": 0.0}
    return Sample(variant, "same cell", "keep-alive", 32, number, rate, 100.0, 200.0, 0, cpu, 0,
                  0.1, 0.0, {"p50_us": 50.0, "p99_us": 90.0})  # fmt: skip


def result(path: Path, kernel: float) -> Path:
    rows = [one("direct", n, 1000 + n).row() for n in range(6)]
    rows += [one("kernel", n, kernel * (1000 + n)).row() for n in range(6)]
    path.write_text(json.dumps({"format": FORMAT, "seed": 1, "samples": rows}))
    return path


def test_rows_stand_in_the_plans_order_with_their_ratios() -> None:
    samples = [one("kernel", n, 500 + n) for n in range(4)] + [one("direct", 0, 1000)]
    direct, kernel = summary.rows(samples, seed=1)
    assert (direct.variant, direct.ratio) == ("direct", None)
    assert kernel.ratio is not None and kernel.ratio.value == 0.5  # the one round both have
    assert kernel.cell == Cell("same cell", "keep-alive", 32)
    assert len(summary.cells(kernel)) == len(summary.HEADS)


def test_results_agree_or_differ(tmp_path: Path) -> None:
    first, same = result(tmp_path / "a", 0.9), result(tmp_path / "b", 0.9)
    other = result(tmp_path / "c", 0.5)
    (equal,) = compare(read(first), read(same))
    assert equal.agree and equal.overlap
    (different,) = compare(read(first), read(other))
    assert not different.agree and not different.overlap


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": 0}', '{"format": 1}', "\x00"])
def test_what_is_no_result_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "x.json"
    path.write_text(text)
    with pytest.raises(InputError, match="is no result"):
        read(path)
    with pytest.raises(InputError, match="cannot read"):
        read(tmp_path / "missing")
