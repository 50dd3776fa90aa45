"""The pure parts of BBS: placement, back-off, indexes, and the table against a plain list."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshnet.bbs import converge
from meshnet.bbs.table import Owner, Table, row_of
from meshnet.wire import bbs_api as api
from meshnet.wire.gen import bbs_pb2 as pb


def test_instances_of_one_app_spread_before_cells_balance() -> None:
    balance = converge.Balance()
    for _ in range(3):
        balance.add("other", "cell-2")
    placed = []
    for _ in range(4):
        cell = balance.choose("app", 0, ["cell-1", "cell-2"])
        assert cell is not None
        balance.add("app", cell)
        placed.append(cell)
    assert placed == ["cell-1", "cell-2", "cell-1", "cell-2"]
    assert balance.choose("third", 0, ["cell-1", "cell-2"]) == "cell-1"
    assert balance.choose("app", 0, []) is None


def test_a_full_cell_gets_nothing_more_and_one_without_a_limit_any_number() -> None:
    balance, room = converge.Balance(), {"cell-1": converge.Room(1)}
    placed = []
    for _ in range(4):
        cell = balance.choose("app", 0, ["cell-1", "cell-2"], room)
        assert cell is not None
        balance.add("app", cell)
        placed.append(cell)
    assert placed == ["cell-1", "cell-2", "cell-2", "cell-2"]
    assert balance.choose("other", 0, ["cell-1"], room) is None
    balance.take("app", "cell-1")
    assert balance.choose("other", 0, ["cell-1"], room) == "cell-1"


@given(st.lists(st.sampled_from("abc"), max_size=40), st.integers(1, 4))
def test_spread_is_never_off_by_more_than_one(apps: list[str], count: int) -> None:
    cells = [f"cell-{n}" for n in range(count)]
    balance, placed = converge.Balance(), Counter[tuple[str, str]]()
    for app in apps:
        cell = balance.choose(app, 0, cells)
        assert cell is not None
        balance.add(app, cell)
        placed[app, cell] += 1
    for app in set(apps):
        on = [placed[app, cell] for cell in cells]
        assert max(on) - min(on) <= 1
    for (app, cell), number in placed.items():
        for _ in range(number):
            balance.take(app, cell)
    assert not balance._total and not balance._of_app


@pytest.mark.parametrize(
    ("crashes", "seconds"),
    [
        *((1, 0), (2, 0), (3, 30), (4, 60), (5, 120), (6, 240), (7, 480), (8, 960), (9, 960)),
        *((199, 960), (200, None), (201, None)),
    ],
)
def test_back_off_is_diegos(crashes: int, seconds: float | None) -> None:
    assert converge.restart_delay(crashes) == seconds


def test_five_minutes_of_running_forgive() -> None:
    assert converge.next_crash_count(7, 299.9) == 8
    assert converge.next_crash_count(7, 300.0) == 1


def test_memory_is_room_too_and_what_lacks_is_said_in_diegos_words() -> None:
    balance = converge.Balance()
    rooms = {"cell-1": converge.Room(2, 100), "cell-2": converge.Room(1, 0)}
    cells = list(rooms)
    assert balance.choose("a", 80, cells, rooms) == "cell-1"
    balance.add("a", "cell-1", 80)
    assert balance.choose("b", 21, ["cell-1"], rooms) is None
    assert balance.lacking(21, ["cell-1"], rooms) == "insufficient resources: memory"
    assert balance.choose("b", 20, ["cell-1"], rooms) == "cell-1"
    balance.add("b", "cell-2", 999)
    assert balance.choose("c", 21, cells, rooms) is None
    assert balance.lacking(21, cells, rooms) == "insufficient resources: memory, containers"
    assert balance.lacking(21, [], rooms) == ""
    balance.take("a", "cell-1", 80)
    assert balance.choose("c", 100, cells, rooms) == "cell-1"


def test_instances_spread_over_zones_before_cells() -> None:
    balance = converge.Balance()
    rooms = {f"cell-{n}": converge.Room(zone=zone) for n, zone in enumerate("xxy")}
    placed = []
    for _ in range(4):
        cell = balance.choose("a", 0, sorted(rooms), rooms)
        assert cell is not None
        balance.add("a", cell)
        placed.append(cell)
    assert placed == ["cell-0", "cell-2", "cell-1", "cell-2"]


_STATES = st.sampled_from([api.UNCLAIMED, api.CLAIMED, api.RUNNING, api.CRASHED])
_ROWS = st.tuples(
    st.sampled_from("pq"), st.integers(0, 3), _STATES, st.sampled_from("cd"), st.integers(0, 2)
)


def _lrp(process: str, index: int, state: str, cell: str, presence: int) -> Any:
    lrp = pb.ActualLRP(
        actual_lrp_key=pb.ActualLRPKey(process_guid=process, index=index),
        state=state,
        presence=presence,  # type: ignore[arg-type]
    )
    if state != api.UNCLAIMED:
        lrp.actual_lrp_instance_key.cell_id = cell
    return lrp


@given(st.lists(st.tuples(st.booleans(), _ROWS), max_size=60))
def test_the_table_answers_as_a_walk_over_all_records(steps: list[Any]) -> None:
    table, rows = Table(), dict[Any, Any]()
    for keep, row in steps:
        lrp = _lrp(*row)
        if keep:
            table.put(lrp, Owner("app-" + row[0], 10))
            rows[row_of(lrp)] = lrp
        else:
            table.remove(row_of(lrp))
            rows.pop(row_of(lrp), None)
    placed = [r for r in rows.values() if r.state in (api.CLAIMED, api.RUNNING)]
    for cell in "cd":
        on = [k for k, r in sorted(rows.items()) if r in placed and _cell(r) == cell]
        assert [row_of(r) for r in table.on_cell(cell)] == on
        assert table.balance._total[cell] == len(on)
        assert table.balance._memory[cell] == 10 * len(on)
    for process in "pq":
        of = [k for k in sorted(rows) if k[0] == process]
        assert [row_of(r) for r in table.of_process(process)] == of
    for key in {k[:2] for k in rows}:
        assert [row_of(r) for r in table.at(key)] == [k for k in sorted(rows) if k[:2] == key]
    waiting = {k for k, r in rows.items() if r.state == api.UNCLAIMED}
    assert {row_of(r) for r in table.unclaimed()} == waiting
    assert table.cells() == sorted({_cell(r) for r in placed if r.presence != pb.SUSPECT})
    assert len(list(table.all())) == len(rows)


def _cell(lrp: Any) -> str:
    return str(lrp.actual_lrp_instance_key.cell_id)
