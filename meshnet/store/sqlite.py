"""Records of JSON values by (kind, key) in one SQLite file.

A committed transaction survives the death of the process and of the machine (WAL with
synchronous=FULL). Watchers of the same process hear of each change after its commit.
"""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
from collections.abc import AsyncIterator, Iterator
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


class Store:
    """One SQLite file. Use from one thread; a transaction takes well under a millisecond."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._watchers: list[tuple[str, asyncio.Queue[Change]]] = []

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
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            connection.executescript(_SCHEMA)
            row = connection.execute("SELECT version FROM schema_version").fetchone()
        except (OSError, sqlite3.Error) as exc:
            raise PlatformError(f"cannot open the store {path}: {exc}") from exc
        if row is None:
            connection.execute("INSERT INTO schema_version VALUES (?)", (SCHEMA_VERSION,))
        elif row[0] > SCHEMA_VERSION:
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
        """Commit at the end of the block; an exception in it leaves everything as it was."""
        transaction = Transaction(self._connection)
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield transaction
        except BaseException:
            self._connection.execute("ROLLBACK")
            raise
        self._connection.execute("COMMIT")
        for change in transaction.changes:
            for kind, queue in self._watchers:
                if kind == change.kind:
                    queue.put_nowait(change)

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

    async def watch(self, kind: str) -> AsyncIterator[Change]:
        """Each change of a kind committed from now on, in order."""
        entry = (kind, asyncio.Queue[Change]())
        self._watchers.append(entry)
        try:
            while True:
                yield await entry[1].get()
        finally:
            self._watchers.remove(entry)
