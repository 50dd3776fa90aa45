"""Tables of the SQLite store, version by version."""

from __future__ import annotations

import sqlite3

from meshnet.model.errors import PlatformError

_FIRST = """
CREATE TABLE IF NOT EXISTS schema_version (version INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS records (
    kind TEXT NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL, PRIMARY KEY (kind, key)
) WITHOUT ROWID;
"""
# Statements that lead from each version to the next; never changed once released.
_STEPS: tuple[tuple[str, ...], ...] = (
    (
        "ALTER TABLE records ADD COLUMN lease INTEGER",
        "CREATE INDEX leased ON records (lease) WHERE lease IS NOT NULL",
        "CREATE TABLE leases (id INTEGER PRIMARY KEY, ends REAL NOT NULL)",
        "CREATE TABLE changes (revision INTEGER NOT NULL, position INTEGER NOT NULL,"
        " kind TEXT NOT NULL, key TEXT NOT NULL, value TEXT, PRIMARY KEY (revision, position)"
        ") WITHOUT ROWID",
        "CREATE TABLE counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID",
        "INSERT INTO counters VALUES ('revision', 0)",
    ),
)
LAYOUT = 1 + len(_STEPS)


def prepare(connection: sqlite3.Connection) -> None:
    """Set a new file up, or bring an old one to this layout in one transaction.

    Raises:
        PlatformError: a newer meshnet wrote it.
        sqlite3.Error: it cannot be read or written.
    """
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("BEGIN IMMEDIATE")
    try:
        for statement in filter(str.strip, _FIRST.split(";")):
            connection.execute(statement)
        row = connection.execute("SELECT version FROM schema_version").fetchone()
        if row is None:
            connection.execute("INSERT INTO schema_version VALUES (1)")
        found = int(row[0]) if row else 1
        if found > LAYOUT:
            raise PlatformError("it was written by a newer meshnet: upgrade this one")
        for step in _STEPS[found - 1 :]:
            for statement in step:
                connection.execute(statement)
        if found < LAYOUT:
            connection.execute("UPDATE schema_version SET version = ?", (LAYOUT,))
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
