"""Results: rows, notes, page, plots, comparison, files."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from bench_parts import kernel_result, one, result

from meshnet.bench import page, summary
from meshnet.bench.compare import compare, differences
from meshnet.bench.plan import Cell
from meshnet.bench.result import read, save
from meshnet.model.errors import InputError, PlatformError


def test_rows_stand_in_the_plans_order_with_their_ratios() -> None:
    samples = [one("kernel", n, 500 + n) for n in range(4)] + [one("direct", 0, 1000)]
    direct, kernel = summary.rows(samples, seed=1)
    assert (direct.variant, direct.ratio) == ("direct", None)
    assert kernel.ratio is not None and kernel.ratio.value == 0.5  # the one round both have
    assert kernel.cell == Cell("same cell", "keep-alive", 32)
    assert len(summary.cells(kernel)) == len(summary.HEADS)


def test_a_row_without_its_baseline_has_no_ratio() -> None:
    (row,) = summary.rows([one("ebpf", 0, 500)], seed=1)
    assert (row.ratio, row.twin) == (None, None)


def test_an_ebpf_way_is_held_against_its_iptables_twin() -> None:
    samples = [one(v, n, rate) for n in range(4) for v, rate in (("iptables", 100), ("ebpf", 120))]
    twin = summary.rows(samples, seed=1)[1].twin
    assert twin is not None and twin.value == pytest.approx(1.2)


def test_what_must_be_known_besides_is_said() -> None:
    samples = [one("direct", 0, 1, other=0.5), one("direct", 1, 1, steal=0.5), one("direct", 2, 1)]
    failed = {"place": "same cell", "kind": "new", "connections": 1, "variant": "ebpf",
              "round": 3, "why": "no answer"}  # fmt: skip
    value = result(samples, failed=[failed], complete=False, ended="interrupted")
    assert summary.notes(value, samples) == [
        "failed: ebpf, same cell, new, 1 connection, round 3: no answer",
        "not complete (interrupted): 3 samples",
        "the host took over 2% of the CPU in 1 samples",
        "others used over 10% of the CPU in 1 samples",
    ]
    assert summary.notes(result(samples[2:]), samples[2:]) == []


def test_results_agree_or_differ(tmp_path: Path) -> None:
    first, same = kernel_result(tmp_path / "a", 0.9), kernel_result(tmp_path / "b", 0.9)
    other = kernel_result(tmp_path / "c", 0.5)
    (equal,) = compare(read(first), read(same))
    assert equal.agree and equal.word == "agree"
    (different,) = compare(read(first), read(other))
    assert not different.agree and different.word == "DIFFER"


def test_intervals_that_only_overlap_do_not_agree() -> None:
    low = [0.70, 0.75, 0.80, 0.85, 0.90, 0.95]

    def of(shift: float) -> dict[str, object]:
        kernel = [one("kernel", n, 1000 * (r + shift)) for n, r in enumerate(low)]
        return result([*(one("direct", n, 1000) for n in range(6)), *kernel])

    (found,) = compare(of(0), of(0.2))
    assert (found.agree, found.overlap, found.word) == (False, True, "overlap")


def test_what_else_differs_is_named() -> None:
    ours = result([one("direct", 0, 1)])
    theirs = {**ours, "machine": {**ours["machine"], "kernel": "6.18"}, "seconds": 5}
    assert differences(ours, ours) == []
    assert differences(ours, theirs) == ["kernel: 6.1 and 6.18", "seconds a sample: 2 and 5"]


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": 0}', '{"format": 1}', "\x00"])
def test_what_is_no_result_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "x.json"
    path.write_text(text)
    with pytest.raises(InputError, match="is no result"):
        read(path)
    with pytest.raises(InputError, match="cannot read"):
        read(tmp_path / "missing")


def test_a_result_is_read_from_its_directory_as_it_was_saved(tmp_path: Path) -> None:
    value = result([one("direct", 0, 1.5)])
    save(tmp_path / "result.json", value)
    assert read(tmp_path) == json.loads(json.dumps(value))
    assert [p.name for p in tmp_path.iterdir()] == ["result.json"]


def test_a_full_disk_is_one_line_and_what_was_saved_before_stays(tmp_path: Path) -> None:
    script = """
import resource, signal, sys
from pathlib import Path
from meshnet.bench.result import save
from meshnet.model.errors import PlatformError
path = Path(sys.argv[1])
save(path, {"small": 1})
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    save(path, {"large": "x" * 5000})
except PlatformError as exc:
    sys.exit(f"said: {exc}")
"""
    path = tmp_path / "result.json"
    line = [sys.executable, "-c", script, str(path)]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    assert done.stderr.startswith(f"said: cannot write {path}: File too large")
    assert json.loads(path.read_text()) == {"small": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["result.json"]


def test_the_page_holds_all_its_parts_itself(tmp_path: Path) -> None:
    samples = [
        one(v, n, 1000 + 10 * n, connections)
        for v in ("direct", "ebpf")
        for n in range(3)
        for connections in (1, 32)
    ]
    value = result(samples, complete=False, ended="<b>lost</b>")
    plots = page.write(tmp_path / "index.html", value, summary.rows(samples, 1))
    assert [p.name for p in plots] == ["overview.png", "plot-0.png", "plot-1.png"]
    assert all(p.read_bytes().startswith(b"\x89PNG") for p in plots)
    text = (tmp_path / "index.html").read_text()
    assert text.count('src="data:image/png;base64,') == 3 and "http" not in text
    assert "same cell, keep-alive, 32 connections" in text
    assert "&lt;b&gt;lost" in text and "<b>lost" not in text and "Tester &lt;1&gt;" in text
    with pytest.raises(PlatformError, match="cannot write"):
        page.write(tmp_path / "no" / "index.html", value, summary.rows(samples, 1))
