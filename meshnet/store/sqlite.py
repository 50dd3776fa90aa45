"""Records of JSON values by (kind, key) in one SQLite file.

A committed transaction survives the death of the process and of the machine (WAL with
synchronous=FULL). Watchers of the same process hear of each change after its commit.
"""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from meshnet.model.errors import PlatformError

SCHEMA_VERSION = 1
_SCHEMA = """
CREATE TABLE IF NOT EXISTS schema_version (version INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS records (
    kind TEXT NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL, PRIMARY KEY (kind, key)
) WITHOUT ROWID;
"""


@dataclass(frozen=True)
class Change:
    """One record's change: `value` is None where it was deleted."""

    kind: str
    key: str
    value: Any | None


class Transaction:
    """Reads and writes that happen all together or not at all."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self.changes: list[Change] = []

    def get(self, kind: str, key: str) -> Any | None:
        """The value, or None where there is no such record."""
        row = self._connection.execute(
            "SELECT value FROM records WHERE kind = ? AND key = ?", (kind, key)
        ).fetchone()
        return None if row is None else json.loads(row[0])

    def list(self, kind: str) -> dict[str, Any]:
        """All records of a kind by key, in key order."""
        rows = self._connection.execute(
            "SELECT key, value FROM records WHERE kind = ? ORDER BY key", (kind,)
        )
        return {key: json.loads(value) for key, value in rows}

    def put(self, kind: str, key: str, value: Any) -> None:
        """Write a record: any JSON value but null."""
        self._connection.execute(
            "INSERT INTO records VALUES (?, ?, ?)"
            " ON CONFLICT (kind, key) DO UPDATE SET value = excluded.value",
            (kind, key, json.dumps(value, separators=(",", ":"))),
        )
        self.changes.append(Change(kind, key, value))

    def delete(self, kind: str, key: str) -> bool:
        """Remove a record; whether there was one."""
        done = self._connection.execute(
            "DELETE FROM records WHERE kind = ? AND key = ?", (kind, key)
        )
        if done.rowcount:
            self.changes.append(Change(kind, key, None))
        return bool(done.rowcount)


class Watch:
    """Changes of one kind, in order, from the moment `Store.watch` returned; endless."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._changes: asyncio.Queue[Change] = asyncio.Queue()

    def offer(self, change: Change) -> None:
        """Queue a committed change."""
        self._changes.put_nowait(change)

    def __aiter__(self) -> Watch:
        return self

    async def __anext__(self) -> Change:
        return await self._changes.get()


class Store:
    """One SQLite file. Use from one thread; a transaction takes well under a millisecond."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        # A watch ends when its holder lets go of it; nobody has to remember to close it.
        self._watches: weakref.WeakSet[Watch] = weakref.WeakSet()

    @classmethod
    def open(cls, path: str | Path) -> Store:
        """Open or make the file, with mode 0600.

        Raises:
            PlatformError: it cannot be opened, or a newer meshnet wrote it.
        """
        try:
            os.makedirs(os.path.dirname(path) or ".", mode=0o700, exist_ok=True)
            os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
            connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        except (OSError, sqlite3.Error) as exc:
            raise PlatformError(f"cannot open the store {path}: {exc}") from exc
        try:
            version = _prepare(connection)
        except sqlite3.Error as exc:
            connection.close()
            raise PlatformError(f"cannot open the store {path}: {exc}") from exc
        if version > SCHEMA_VERSION:
            connection.close()
            raise PlatformError(
                f"the store {path} was written by a newer meshnet: upgrade this one"
            )
        return cls(connection)

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """Commit at the end of the block; an exception in it leaves everything as it was.

        Raises:
            PlatformError: SQLite could not read or write (disk full, file damaged); nothing
                was changed and the store can be used again.
        """
        transaction = Transaction(self._connection)
        try:
            self._connection.execute("BEGIN IMMEDIATE")
        except sqlite3.Error as exc:
            raise PlatformError(f"the store cannot be written: {exc}") from exc
        try:
            yield transaction
            self._connection.execute("COMMIT")
        except sqlite3.Error as exc:
            self._roll_back()
            raise PlatformError(f"the store cannot be written: {exc}") from exc
        except BaseException:
            self._roll_back()
            raise
        for change in transaction.changes:
            for watch in [w for w in self._watches if w.kind == change.kind]:
                watch.offer(change)

    def _roll_back(self) -> None:
        # After some errors (a full disk) SQLite has rolled back by itself already; after others
        # (a failed COMMIT) the transaction is still open and would block every later one.
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")

    def get(self, kind: str, key: str) -> Any | None:
        """The value, or None where there is no such record."""
        return Transaction(self._connection).get(kind, key)

    def list(self, kind: str) -> dict[str, Any]:
        """All records of a kind by key, in key order."""
        return Transaction(self._connection).list(kind)

    def put(self, kind: str, key: str, value: Any) -> None:
        """Write one record in a transaction of its own."""
        with self.transaction() as tx:
            tx.put(kind, key, value)

    def delete(self, kind: str, key: str) -> bool:
        """Remove one record in a transaction of its own; whether there was one."""
        with self.transaction() as tx:
            return tx.delete(kind, key)

    def watch(self, kind: str) -> Watch:
        """Each change of a kind committed from this call on: `async for change in ...`."""
        watch = Watch(kind)
        self._watches.add(watch)
        return watch


def _prepare(connection: sqlite3.Connection) -> int:
    """Set the file up where it is new; the version of its schema."""
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.executescript(_SCHEMA)
    row = connection.execute("SELECT version FROM schema_version").fetchone()
    if row is None:
        connection.execute("INSERT INTO schema_version VALUES (?)", (SCHEMA_VERSION,))
        return SCHEMA_VERSION
    return int(row[0])
