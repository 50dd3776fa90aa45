"""`bench convergence`: its plan and what it makes of samples."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from bench_parts import MACHINE

from meshnet.bench import convergence_report as report
from meshnet.bench.convergence import CHANGES, schedule
from meshnet.bench.spent import ARROWS, COMPONENTS, Spent, typical


def test_a_round_has_every_change_watched_and_unwatched_in_an_order_by_chance() -> None:
    steps = schedule(6, 7)
    assert steps == schedule(6, 7) != schedule(6, 8)
    counted = Counter((number, change, watched) for number, change, watched, _ in steps)
    assert set(counted.values()) == {1} and len(counted) == 6 * len(CHANGES) * 2
    orders = {tuple(s[1:3] for s in steps if s[0] == number) for number in range(6)}
    assert len(orders) > 1 and {router for *_, router in steps} == {0, 1}


def samples(routes: int, times: list[float], cpu: float) -> list[dict[str, Any]]:
    rest = {"routes": routes, "kind": "map-route", "round": 0}
    watched = [{**rest, "seconds": t / 1000, "cpu_ms": None, "bytes": None} for t in times]
    cost = {
        "seconds": None,
        "cpu_ms": dict.fromkeys(COMPONENTS, cpu),
        "bytes": dict.fromkeys(ARROWS, 1000.0),
    }
    return [*watched, {**rest, **cost}]


def result(*parts: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    return {
        "machine": {**MACHINE, "busy": 0.0, "python": "3"}, "seed": 1, "rounds": 1,
        "instances": 20, "samples": [one for part in parts for one in part], "failed": [],
        "memory_mib": {"10": {"ingress Envoys": 17.0}}, "complete": True, **more,
    }  # fmt: skip


def test_rows_hold_nearest_rank_quantiles_and_what_a_change_cost() -> None:
    found = report.rows(result(samples(10, [float(n) for n in range(1, 101)], 2.0)))
    assert [row.kind for row in found] == [report.ALL, "map-route"]
    row = found[1]
    assert (row.p50.value, row.p95.value, row.p99.value) == (50.5, 95.0, 99.0)
    assert row.p95.low <= 95 <= row.p95.high
    assert row.control_ms == pytest.approx(10.0) and row.bytes[ARROWS[0]] == 1000
    assert len(report.cells(row)) == len(report.HEADS)


@pytest.mark.parametrize(("worst", "word"), [(50.0, "met"), (150.0, "MISSED")])
def test_notes_say_whether_the_aims_are_met_and_costs_flat(worst: float, word: str) -> None:
    value = result(samples(10, [5.0], 1.0), samples(1_000, [10.0, worst], 1.5))
    text = "\n".join(report.notes(value, report.rows(value)))
    assert f"aim p95 < 100 ms at 1,000 routes: {worst} ms, {word}" in text
    assert "CPU a change is 1.50 times, the bytes 1.00 times" in text
    assert "ingress Envoys 17" in text and "not complete" not in text


def test_what_went_wrong_is_said_and_the_page_written(tmp_path: Path) -> None:
    bad = {"routes": 10, "change": "mapping", "round": 0, "why": "<no>"}
    value = result(samples(10, [5.0], 1.0), failed=[bad], complete=False)
    found = report.rows(value)
    assert "failed: 10 routes, mapping: <no>" in report.notes(value, found)
    report.write(tmp_path / "c.html", value, found)
    text = (tmp_path / "c.html").read_text()
    assert "&lt;no&gt;" in text and "not complete" in text and "<no>" not in text


def test_what_is_spent_anyhow_is_taken_off() -> None:
    before, after = Spent({"capi": 10.0}, {"x": 1.0}), Spent({"capi": 25.0}, {"x": 5.0})
    spent = after.since(before).less_idle(Spent({"capi": 4.0}, {}), 0.5)
    assert (spent.cpu_ms, spent.bytes) == ({"capi": 13.0}, {"x": 4.0})


def test_a_burst_while_nothing_is_asked_counts_as_none() -> None:
    seconds = [Spent({"capi": ms, "pilot": 1.0}, {}) for ms in (2.0, 900.0, 3.0)]
    assert typical(seconds).cpu_ms == {"capi": 3.0, "pilot": 1.0}
