"""Several log files as one."""

from __future__ import annotations

import itertools
from pathlib import Path

from meshnet.cli.log_merge import Source, merged

STAMP = "2026-11-26T06:44:0{}.5000000{:02}+00:00"


def line(second: int, text: str, stream: str = "stdout", tag: str = "F") -> str:
    return f"{STAMP.format(second, 0)} {stream} {tag} {text}\n"


def test_instances_lines_are_in_order_and_say_who_speaks(tmp_path: Path) -> None:
    app, cell = tmp_path / "app", tmp_path / "cell"
    app.write_text(
        line(1, "one") + line(3, "thr", tag="P") + line(3, "ee") + line(4, "x", "stderr")
    )
    cell.write_text(line(2, "[CELL/0] made"))
    sources = [Source("a/0 app", app, instance=True), Source("a/0 cell", cell, instance=True)]
    assert list(merged(sources, 50)) == [
        "2026-11-26T06:44:01.500Z [a/0 app] OUT one",
        "2026-11-26T06:44:02.500Z [a/0 cell] OUT [CELL/0] made",
        "2026-11-26T06:44:03.500Z [a/0 app] OUT three",
        "2026-11-26T06:44:04.500Z [a/0 app] ERR x",
    ]
    assert len(list(merged(sources, 1))) == 2 and list(merged(sources, 0)) == []


def test_what_follows_a_daemons_line_stays_behind_it(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    one.write_text("2026-11-26T06:44:01.000Z error bbs: died\nTraceback\n  x\n")
    other.write_text("2026-11-26T06:44:02.000Z info capi: up\n")
    sources = [Source("c.capi", other), Source("c.bbs", one), Source("c.no", tmp_path / "none")]
    assert [text.split()[0] for text in merged(sources, 9)] == ["[c.bbs]"] * 3 + ["[c.capi]"]
    assert next(merged([Source("", other)], 9)) == "2026-11-26T06:44:02.000Z info capi: up"


def test_following_goes_on_over_rotation_and_emptying_and_waits_for_whole_lines(
    tmp_path: Path,
) -> None:
    path = tmp_path / "log"
    path.write_text("2026-11-26T06:44:01 a\n2026-11-26T06:44:01 b\nhal")
    lines = merged([Source("", path)], 1, follow=True)
    assert next(lines).endswith(" b")
    with path.open("a") as file:
        file.write("f\n")
    assert next(lines) == "half"
    new = tmp_path / "new"
    new.write_text("rotated\n")
    new.rename(path)
    assert next(lines) == "rotated"
    path.write_text("x\n")  # as the supervisor empties one that is too large
    assert next(lines) == "x"


def test_only_the_end_of_a_long_log_is_read(tmp_path: Path) -> None:
    path = tmp_path / "log"
    with path.open("w") as file:
        file.writelines(f"2026-11-26T06:44:01 {number:0100d}\n" for number in range(20_000))
    last = list(merged([Source("", path)], 1500))
    assert len(last) == 1500 and int(last[0].split()[1]) == 18_500
    assert [int(t.split()[1]) for t in itertools.islice(merged([Source("", path)], 2), 2)] == [
        19_998,
        19_999,
    ]
