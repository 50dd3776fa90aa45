"""Logs on their way from files to log-cache: each line once, in order, whatever happens."""

from __future__ import annotations

import asyncio
import contextlib
import mmap
import os
import random
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshnet.cell import forwarder as module
from meshnet.cell import tail as tail_module
from meshnet.cell import usage
from meshnet.cell.envelopes import Origin, Usage, log_envelope, usage_envelope
from meshnet.cell.forwarder import Forwarder
from meshnet.cell.journal import stamp
from meshnet.cell.log_lines import Line, lines, nanoseconds
from meshnet.cell.tail import Position, Tail
from meshnet.cell.usage import disk_bytes
from meshnet.logcache.ring import Ring
from meshnet.model.errors import PeerError

T0 = 1_795_000_000_000_000_000


def row(text: str, ns: int = T0, stream: str = "stdout", tag: str = "F") -> bytes:
    return f"{stamp(ns)} {stream} {tag} {text}\n".encode()


def texts(data: bytes, *, flush: bool = False) -> tuple[list[str], int]:
    found, taken = lines(data, flush=flush)
    return [line.text.decode() for line in found], taken


def test_lines_are_read_with_time_stream_and_text() -> None:
    data = row("one") + row("", T0 + 1) + row("two words", T0 + 2, "stderr")
    found, taken = lines(data + b"2026-11-18T11:06:40.0")
    assert found == [
        Line(T0, False, b"one"),
        Line(T0 + 1, False, b""),
        Line(T0 + 2, True, b"two words"),
    ]
    assert taken == len(data)


def test_pieces_are_joined_and_waited_for() -> None:
    begin, end = row("half ", tag="P"), row("whole", T0 + 5)
    other = row("other", T0 + 1, "stderr")
    assert texts(begin + other + end) == (["other", "half whole"], len(begin + other + end))
    assert texts(row("before") + begin + other) == (["before"], len(row("before")))
    assert texts(begin + other, flush=True) == (["other", "half "], len(begin + other))


def test_a_line_without_end_comes_in_pieces() -> None:
    piece = row("x" * 8000, tag="P")
    found, taken = texts(piece * 8)
    assert [len(text) for text in found] == [64000] and taken == 8 * len(piece)


@pytest.mark.parametrize("junk", [b"\n", b"no log\n", b"x stdout F y\n", b"\xff\xfe a b c\n"])
def test_what_is_no_line_is_skipped(junk: bytes) -> None:
    assert texts(junk + row("good")) == (["good"], len(junk + row("good")))


@pytest.mark.parametrize(
    ("text", "ns"),
    [
        ("2026-11-18T11:06:40.000000001+00:00", T0 + 1),
        ("2026-11-18T12:06:40.5+01:00", T0 + 500_000_000),
        ("2026-11-18T11:06:40.000000000Z", T0),
    ],
)
def test_times_of_any_zone(text: str, ns: int) -> None:
    assert nanoseconds(text) == ns


@given(st.binary(max_size=200))
def test_nothing_written_stops_the_reader(data: bytes) -> None:
    _, taken = lines(data)
    assert 0 <= taken <= len(data)


def test_a_tail_goes_on_where_it_was_and_times_rise(tmp_path: Path) -> None:
    path = tmp_path / "log"
    tail = Tail(path)
    assert tail.read() == ([], Position())
    path.write_bytes(row("one") + row("two"))
    found, position = tail.read()
    assert [(line.ns - T0, line.text) for line in found] == [(0, b"one"), (1, b"two")]
    assert tail.read() == (found, position)  # nothing moves until it is told
    tail.advance(position)
    assert tail.read() == ([], position)
    with path.open("ab") as log:
        log.write(row("three"))
    again = Tail(path, position)
    assert [(line.ns - T0, line.text) for line in again.read()[0]] == [(2, b"three")]
    tail.close()
    again.close()


def test_a_rotated_file_is_read_to_its_end_first(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(row("one"))
    tail = Tail(path)
    tail.read()
    with path.open("ab") as log:
        log.write(row("two"))
        new = tmp_path / "log.tmp"
        new.write_bytes(row("three"))
        new.rename(path)
        log.write(row("torn", tag="P") + b"2026-11-18T11:06")
    seen = []
    for _ in range(4):
        found, position = tail.read()
        tail.advance(position)
        seen += [line.text for line in found]
    assert seen == [b"one", b"two", b"torn", b"three"]
    tail.close()


def test_another_file_under_the_name_is_read_from_its_beginning(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(row("one"))
    for position in (Position(1, 10, T0 + 7), Position(os.stat(path).st_ino, 10_000, T0 + 7)):
        tail = Tail(path, position)
        (line,), _ = tail.read()
        assert (line.text, line.ns) == (b"one", T0 + 8)
        tail.close()


def test_envelopes_say_who_spoke() -> None:
    origin = Origin("app", "3", "APP/PROC/WEB", {"process_id": "app"})
    one = log_envelope(origin, Line(T0, True, b"[CELL/3] not the cell"))
    assert (one.timestamp, one.source_id, one.instance_id) == (T0, "app", "3")
    assert dict(one.tags) == {"process_id": "app", "source_type": "APP/PROC/WEB"}
    assert (one.log.payload, one.log.type) == (b"[CELL/3] not the cell", 1)
    cell = Origin("app", "3", "", {})
    one = log_envelope(cell, Line(T0, False, b"[APP/PROC/WEB/3] Exit status 0"))
    assert one.tags["source_type"] == "APP/PROC/WEB" and one.log.payload == b"Exit status 0"
    usage = usage_envelope(origin, Usage(0.5, 1, 2, 3, 4), T0)
    values = {name: metric.value for name, metric in usage.gauge.metrics.items()}
    assert values == {"cpu": 50, "memory": 1, "disk": 2, "memory_quota": 3, "disk_quota": 4}


class LogCache:
    """A ring behind calls that may fail before or after they did their work."""

    def __init__(self) -> None:
        self.ring, self.failing, self.calls = Ring(), "", 0

    async def send(self, envelopes: Any) -> None:
        self.calls += 1
        if self.failing == "before":
            raise PeerError("away")
        self.ring.put(envelopes)
        if self.failing == "after":
            raise PeerError("the answer is lost")

    def texts(self, source: str = "app") -> list[str]:
        found = self.ring.get(source, start=0, end=10**19, limit=10**6)
        return [one.log.payload.decode() for one in found]


ORIGIN = Origin("app", "0", "APP", {})


def run(directory: Path, scenario: Callable[[Any, LogCache], Awaitable[None]]) -> None:
    config: Any = SimpleNamespace(run=directory)
    asyncio.run(scenario(config, LogCache()))


async def rounds(forwarder: Forwarder, number: int = 1) -> None:
    for _ in range(number):
        await forwarder._round()


def test_each_line_arrives_once_whatever_is_lost_or_killed(tmp_path: Path) -> None:
    async def scenario(config: Any, cache: LogCache) -> None:
        chance = random.Random(7)
        path, written = tmp_path / "c.app.guid.app.log", []
        forwarder = Forwarder(config, cache)  # type: ignore[arg-type]
        forwarder.follow("guid", path, ORIGIN)
        for number in range(120):
            with path.open("ab") as log:
                for _ in range(chance.randrange(4)):
                    written.append(f"line {len(written)}")
                    log.write(row(written[-1], T0 + number))
            cache.failing = chance.choice(["", "", "before", "after"])
            with contextlib.suppress(PeerError):
                await rounds(forwarder)
            if chance.random() < 0.3:
                forwarder._note()
            if chance.random() < 0.2:  # killed; what was noted last is what the next one knows
                forwarder = Forwarder(config, cache)  # type: ignore[arg-type]
                forwarder.follow("guid", path, ORIGIN)
        cache.failing = ""
        await rounds(forwarder, 3)
        assert cache.texts() == written

    run(tmp_path, scenario)


def test_what_ended_is_sent_to_its_end_also_after_a_restart_and_then_forgotten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario(config: Any, cache: LogCache) -> None:
        monkeypatch.setattr(module, "_PIECES_SECONDS", 0.0)
        path = tmp_path / "c.app.guid.app.log"
        forwarder = Forwarder(config, cache)  # type: ignore[arg-type]
        forwarder.follow("guid", path, ORIGIN)
        path.write_bytes(row("one"))
        await rounds(forwarder)
        forwarder._note()
        with path.open("ab") as log:
            log.write(row("last words"))
        again = Forwarder(config, cache)  # type: ignore[arg-type]
        await rounds(again, 3)
        assert cache.texts() == ["one", "last words"]
        again._note()
        assert (tmp_path / "logs-sent.json").read_text() == "{}"

    run(tmp_path, scenario)


def test_of_what_ended_only_the_last_few_logs_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario(config: Any, cache: LogCache) -> None:
        monkeypatch.setattr(module, "_PIECES_SECONDS", 0.0)
        forwarder = Forwarder(config, cache)  # type: ignore[arg-type]
        for number in range(6):
            for kind in ("app", "cell"):
                path = tmp_path / f"c.app.g{number}.{kind}.log"
                path.write_bytes(row(f"{number} {kind}", T0 + number))
                os.utime(path, (number, number))
                forwarder.follow(f"g{number}", path, ORIGIN)
        (tmp_path / "c.app2.g9.app.log").write_bytes(row("of another"))
        for number in range(5):
            forwarder.ended(f"g{number}")
        await rounds(forwarder, 3)
        left = sorted(p.name for p in tmp_path.glob("*.log"))
        assert [name for name in left if name.startswith("c.app.")] == [
            f"c.app.g{n}.{kind}.log" for n in (2, 3, 4, 5) for kind in ("app", "cell")
        ]
        assert "c.app2.g9.app.log" in left
        assert len(cache.texts()) == 12

    run(tmp_path, scenario)


def test_a_loud_app_leaves_the_others_their_turn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario(config: Any, cache: LogCache) -> None:
        monkeypatch.setattr(tail_module, "ROUND_BYTES", 4096)
        monkeypatch.setattr(module, "ROUND_BYTES", 4096)
        forwarder = Forwarder(config, cache)  # type: ignore[arg-type]
        for number in range(10):
            path = tmp_path / f"c.loud.g{number}.app.log"
            path.write_bytes(row("x" * 100) * 1000)
            forwarder.follow(f"g{number}", path, Origin("loud", "0", "APP", {}))
        quiet = tmp_path / "c.app.q.app.log"
        quiet.write_bytes(row("quiet"))
        forwarder.follow("q", quiet, ORIGIN)
        await rounds(forwarder, 12)
        assert cache.texts() == ["quiet"]
        assert 0 < len(cache.texts("loud")) < 3000

    run(tmp_path, scenario)


def test_state_that_cannot_be_read_is_no_end(tmp_path: Path) -> None:
    async def scenario(config: Any, cache: LogCache) -> None:
        for text in ("", "[]", '{"/x": 1}', '{"/x": {"position": {"inode": 1}}}'):
            (tmp_path / "logs-sent.json").write_text(text)
            await rounds(Forwarder(config, cache))  # type: ignore[arg-type]

    run(tmp_path, scenario)


def test_disk_counts_files_that_have_no_name_any_more(tmp_path: Path) -> None:
    empty = disk_bytes(tmp_path)
    path = tmp_path / "file"
    with path.open("w+b") as file:
        file.write(b"x" * 1_000_000)
        file.flush()
        path.unlink()
        assert disk_bytes(tmp_path) == empty
        assert disk_bytes(tmp_path, [os.getpid(), os.getpid()]) - empty in range(
            1_000_000, 1_900_000
        )
        mapped = mmap.mmap(file.fileno(), 0)
    assert disk_bytes(tmp_path, [os.getpid()]) - empty in range(1_000_000, 1_900_000)
    mapped.close()
    assert disk_bytes(tmp_path, [os.getpid(), 2**22 + 1]) == empty


def test_disk_has_no_place_too_deep_to_be_counted(tmp_path: Path) -> None:
    at = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    for _ in range(20):
        os.mkdir("d" * 250, dir_fd=at)
        below = os.open("d" * 250, os.O_RDONLY | os.O_DIRECTORY, dir_fd=at)
        os.close(at)
        at = below
    os.close(at)
    assert disk_bytes(tmp_path) > 1 << 40


def test_disk_counts_what_is_beside_a_file_that_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [tmp_path / f"{number}" for number in range(10)]
    for path in names:
        path.write_bytes(b"x" * 100_000)
    scandir = os.scandir

    @contextlib.contextmanager
    def one_goes(place: Any) -> Iterator[Any]:
        with scandir(place) as entries:
            found = list(entries)
        (tmp_path / found[0].name).unlink()
        yield found

    monkeypatch.setattr(usage.os, "scandir", one_goes)
    assert disk_bytes(tmp_path) >= 900_000


@pytest.mark.parametrize("swapped", ["a", "a/b"])
def test_disk_is_not_counted_behind_a_link_put_in_the_place_of_a_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, swapped: str
) -> None:
    home, outside = tmp_path / "home", tmp_path / "outside"
    for directory in (home / "a" / "b" / "c", outside / "b" / "c", outside / "c"):
        directory.mkdir(parents=True)
    for directory in (outside / "b" / "c", outside / "c"):
        (directory / "file").write_bytes(b"x" * 1_000_000)
    scandir, last = os.scandir, swapped.rpartition("/")[2]

    @contextlib.contextmanager
    def swap(place: Any) -> Iterator[Any]:
        with scandir(place) as entries:
            found = list(entries)
            yield found
        if last in [one.name for one in found] and not (home / swapped).is_symlink():
            (home / swapped).rename(tmp_path / "away")
            (home / swapped).symlink_to(outside)

    monkeypatch.setattr(usage.os, "scandir", swap)
    assert disk_bytes(home) < 500_000
    assert (home / swapped).is_symlink()


def test_where_the_disk_runs_low_files_are_counted_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(usage.cgroup_usage, "cpu_seconds", lambda group: 0.0)
    monkeypatch.setattr(usage.cgroup_usage, "memory_bytes", lambda group: 0)
    monkeypatch.setattr(usage.cgroup, "pids", lambda group: [])
    monkeypatch.setattr(usage, "_DISK_SHARE", 10**9)  # as if there were millions of files
    limits = SimpleNamespace(memory_bytes=0, disk_bytes=0)
    meter = usage.Meter("/g", tmp_path, limits)  # type: ignore[arg-type]
    before = meter.read().disk
    (tmp_path / "file").write_bytes(b"x" * 1_000_000)
    monkeypatch.setattr(usage, "_LEAST_FREE", 0.0)
    assert meter.read().disk == before
    monkeypatch.setattr(usage, "_LEAST_FREE", 1.1)
    assert meter.read().disk >= before + 1_000_000


def test_a_line_written_byte_by_byte_costs_no_more_than_many_lines() -> None:
    def seconds(data: bytes) -> float:
        began = time.process_time()
        for _ in range(3):
            lines(data, flush=True)
        return time.process_time() - began

    count = 8000
    pieces, whole = row("x", tag="P") * count, row("x") * count
    assert lines(pieces, flush=True)[0][0].text == b"x" * count
    assert seconds(pieces) < 5 * seconds(whole) + 0.1


def test_disk_counts_each_file_once(tmp_path: Path) -> None:
    empty = disk_bytes(tmp_path)
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "file").write_bytes(b"x" * 100_000)
    one = disk_bytes(tmp_path) - empty
    assert one >= 100_000
    (tmp_path / "again").hardlink_to(tmp_path / "a" / "file")
    (tmp_path / "loop").symlink_to(tmp_path)
    assert disk_bytes(tmp_path) - empty < one + 20_000
