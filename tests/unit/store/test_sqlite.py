"""What was acknowledged is there after a kill; what failed half way is not."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from meshnet.model.errors import PlatformError
from meshnet.store import Change, Store

WRITER = """
import sys
from meshnet.store import Store
store = Store.open(sys.argv[1])
for n in range(10**6):
    store.put("n", str(n), {"n": n})
    print(n, flush=True)
"""


def test_records_are_listed_by_key_and_survive_reopening(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "s" / "x.db")
    store.put("app", "b", {"name": "two"})
    store.put("app", "a", [1])
    store.put("route", "a", "other kind")
    store.close()
    again = Store.open(tmp_path / "s" / "x.db")
    assert again.list("app") == {"a": [1], "b": {"name": "two"}}
    assert again.delete("app", "a") and not again.delete("app", "a")
    assert again.get("app", "a") is None
    again.close()


def test_a_failed_transaction_changes_nothing(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "x.db")
    store.put("app", "a", 1)
    with pytest.raises(ZeroDivisionError), store.transaction() as tx:
        tx.put("app", "a", 2)
        tx.put("app", "b", 2)
        _ = 1 // 0
    assert store.list("app") == {"a": 1}
    store.close()


def test_every_acknowledged_write_survives_kill(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True
    ) as writer:
        assert writer.stdout is not None
        for line in writer.stdout:
            if int(line) == 50:
                os.kill(writer.pid, signal.SIGKILL)
                break
        last = max([50, *(int(line) for line in writer.stdout if line.endswith("\n"))])
    store = Store.open(path)
    assert {str(n) for n in range(last + 1)} <= set(store.list("n"))
    store.close()


def test_a_commit_reaches_the_disk_before_it_is_acknowledged(tmp_path: Path) -> None:
    """A killed process cannot show it: the page cache outlives it, but not the machine."""
    store = Store.open(tmp_path / "x.db")
    full = 2
    assert store._connection.execute("PRAGMA synchronous").fetchone() == (full,)
    assert store._connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert (tmp_path / "x.db").stat().st_mode & 0o777 == 0o600
    store.close()


def test_watchers_hear_committed_changes_only(tmp_path: Path) -> None:
    async def scenario() -> list[Change]:
        store = Store.open(tmp_path / "x.db")
        heard: list[Change] = []

        async def listen() -> None:
            async for change in store.watch("app"):
                heard.append(change)

        task = asyncio.create_task(listen())
        await asyncio.sleep(0)
        store.put("app", "a", 1)
        with pytest.raises(RuntimeError), store.transaction() as tx:
            tx.put("app", "b", 2)
            raise RuntimeError
        store.put("route", "r", 1)
        store.delete("app", "a")
        while len(heard) < 2:
            await asyncio.sleep(0)
        task.cancel()
        store.close()
        return heard

    heard = asyncio.run(asyncio.wait_for(scenario(), 5))
    assert heard == [Change("app", "a", 1), Change("app", "a", None)]


def test_a_failed_commit_leaves_the_store_usable(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "x.db")
    # A constraint that is checked at COMMIT only: the transaction stays open behind the error.
    store._connection.execute("PRAGMA foreign_keys = ON")
    store._connection.execute("CREATE TABLE p (id INTEGER PRIMARY KEY)")
    store._connection.execute("CREATE TABLE q (p REFERENCES p DEFERRABLE INITIALLY DEFERRED)")
    watch = store.watch("app")
    with pytest.raises(PlatformError, match="cannot be written"), store.transaction() as tx:
        tx.put("app", "a", 1)
        store._connection.execute("INSERT INTO q VALUES (7)")
    store.put("app", "b", 2)
    assert store.list("app") == {"b": 2}
    assert asyncio.run(asyncio.wait_for(anext(watch), 1)) == Change("app", "b", 2)
    store.close()


def test_a_transaction_within_another_is_refused_and_spoils_nothing(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "x.db")
    with store.transaction() as tx:
        tx.put("app", "a", 1)
        with pytest.raises(PlatformError):
            store.put("app", "b", 2)
        tx.put("app", "c", 3)
    assert store.list("app") == {"a": 1, "c": 3}
    store.close()


def test_a_watch_hears_from_its_call_on_and_ends_with_its_holder(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "x.db")
    watch = store.watch("app")
    store.put("app", "a", 1)  # before anybody awaits
    assert asyncio.run(asyncio.wait_for(anext(watch), 1)) == Change("app", "a", 1)
    del watch
    assert len(store._watches) == 0
    store.close()


@pytest.mark.parametrize("content", [b"no database at all, however long it may be" * 40])
def test_a_file_that_is_no_store_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.db").write_bytes(content)
    with pytest.raises(PlatformError, match="cannot open the store"):
        Store.open(tmp_path / "x.db")


def test_a_store_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    import sqlite3

    Store.open(tmp_path / "x.db").close()
    with sqlite3.connect(tmp_path / "x.db") as connection:
        connection.execute("UPDATE schema_version SET version = 99")
    connection.close()
    with pytest.raises(PlatformError, match="newer meshnet"):
        Store.open(tmp_path / "x.db")
