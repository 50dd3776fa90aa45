"""What only the SQLite file can show."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path

import pytest

from meshnet.model.errors import PlatformError
from meshnet.store import Change, Compacted, Store, sqlite


def test_a_commit_reaches_the_disk_before_it_is_acknowledged(tmp_path: Path) -> None:
    """A killed process cannot show it: the page cache outlives it, but not the machine."""
    store = Store.open(tmp_path / "x.db")
    full = 2
    assert isinstance(store, sqlite.SqliteStore)
    assert store._connection.execute("PRAGMA synchronous").fetchone() == (full,)
    assert store._connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert (tmp_path / "x.db").stat().st_mode & 0o777 == 0o600
    store.close()


def test_a_failed_commit_leaves_the_store_usable(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "x.db")
    assert isinstance(store, sqlite.SqliteStore)
    # A constraint that is checked at COMMIT only: the transaction stays open behind the error.
    store._connection.execute("PRAGMA foreign_keys = ON")
    store._connection.execute("CREATE TABLE p (id INTEGER PRIMARY KEY)")
    store._connection.execute("CREATE TABLE q (p REFERENCES p DEFERRABLE INITIALLY DEFERRED)")
    watch = store.watch("app")
    with pytest.raises(PlatformError, match="cannot be used"), store.transaction() as tx:
        tx.put("app", "a", 1)
        store._connection.execute("INSERT INTO q VALUES (7)")
    store.put("app", "b", 2)
    assert store.list("app") == {"b": 2}
    assert asyncio.run(asyncio.wait_for(anext(watch), 1)) == Change("app", "b", 2)
    store.close()


def test_a_watch_hears_from_its_call_on_and_ends_with_its_holder(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "x.db")
    watch = store.watch("app")
    store.put("app", "a", 1)  # before anybody awaits
    assert asyncio.run(asyncio.wait_for(anext(watch), 1)) == Change("app", "a", 1)
    del watch
    assert isinstance(store, sqlite.SqliteStore)
    assert len(store._watches) == 0
    store.close()


@pytest.mark.parametrize("content", [b"no database at all, however long it may be" * 40])
def test_a_file_that_is_no_store_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.db").write_bytes(content)
    with pytest.raises(PlatformError, match="cannot open the store"):
        Store.open(tmp_path / "x.db")


def test_a_store_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    Store.open(tmp_path / "x.db").close()
    with sqlite3.connect(tmp_path / "x.db") as connection:
        connection.execute("UPDATE schema_version SET version = 99")
    connection.close()
    with pytest.raises(PlatformError, match="newer meshnet"):
        Store.open(tmp_path / "x.db")


# As the first released version made and filled a file.
VERSION_1 = """
CREATE TABLE schema_version (version INTEGER NOT NULL);
CREATE TABLE records (
    kind TEXT NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL, PRIMARY KEY (kind, key)
) WITHOUT ROWID;
INSERT INTO schema_version VALUES (1);
INSERT INTO records VALUES ('app', 'a', '{"name":"one"}'), ('vip', 'b.internal', '"127.128.0.1"');
"""


def test_a_file_of_version_1_is_brought_up_to_date(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "x.db") as connection:
        connection.executescript(VERSION_1)
    connection.close()
    for _ in range(2):
        store = Store.open(tmp_path / "x.db")
        assert store.list("app") == {"a": {"name": "one"}}
        assert store.get("vip", "b.internal") == "127.128.0.1"
        with store.transaction() as tx:
            tx.put("cell", "c", 1, None)
        store.close()
    with sqlite3.connect(tmp_path / "x.db") as connection:
        (version,) = connection.execute("SELECT version FROM schema_version").fetchone()
    connection.close()
    assert version == 2, "an older meshnet must refuse the file"


def test_a_migration_of_the_file_that_fails_leaves_it_as_it_was(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "x.db") as connection:
        connection.executescript(VERSION_1 + "CREATE TABLE leases (x);")
    connection.close()
    with pytest.raises(PlatformError, match="cannot open the store"):
        Store.open(tmp_path / "x.db")
    with sqlite3.connect(tmp_path / "x.db") as connection:
        assert connection.execute("SELECT version FROM schema_version").fetchone() == (1,)
        columns = [row[1] for row in connection.execute("PRAGMA table_info(records)")]
    connection.close()
    assert columns == ["kind", "key", "value"]


def test_changes_that_are_not_kept_any_more_are_missed_aloud(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "HISTORY", 3)
    store = Store.open(tmp_path / "x.db")
    revision, _ = store.snapshot("app")
    for n in range(10):
        store.put("app", str(n), n)

    async def scenario() -> None:
        with pytest.raises(Compacted):
            await anext(store.watch("app", revision))
        newest, _ = store.snapshot("app")
        watch = store.watch("app", newest - 3)
        assert [(await anext(watch)).value for _ in range(3)] == [7, 8, 9]

    asyncio.run(asyncio.wait_for(scenario(), 5))
    store.close()


def test_a_lease_ends_by_the_clock_also_while_nobody_ran(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "x.db")
    store.put("cell", "a", 1, store.lease(60))
    store.close()
    later = Store.open(tmp_path / "x.db")
    assert isinstance(later, sqlite.SqliteStore)
    assert later.list("cell") == {"a": 1}
    later._now = lambda: __import__("time").time() + 61
    assert later.list("cell") == {}
    later.close()
