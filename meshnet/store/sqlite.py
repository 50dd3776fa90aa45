"""The store in one SQLite file: WAL, synchronous=FULL."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import logging
import os
import secrets
import sqlite3
import time
import weakref
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any, TextIO

from meshnet.model.errors import NotFound, PlatformError
from meshnet.store.base import WAITING, Lease, Store, Transaction
from meshnet.store.sqlite_layout import prepare
from meshnet.store.watch import Change, Compacted, Watch

log = logging.getLogger("meshnet")
HISTORY = 1_000  # revisions a watch may begin behind; each may hold records of 300 KiB
_LOCK_POLL_SECONDS = 0.1


class SqliteTransaction(Transaction):
    """Within BEGIN IMMEDIATE: no other can write meanwhile, so nothing can conflict."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self.changes: list[tuple[str, str, str | None]] = []

    def get(self, kind: str, key: str) -> Any | None:
        """See Transaction."""
        row = self._connection.execute(
            "SELECT value FROM records WHERE kind = ? AND key = ?", (kind, key)
        ).fetchone()
        return None if row is None else json.loads(row[0])

    def list(self, kind: str) -> dict[str, Any]:
        """See Transaction."""
        rows = self._connection.execute(
            "SELECT key, value FROM records WHERE kind = ? ORDER BY key", (kind,)
        )
        return {key: json.loads(value) for key, value in rows}

    def everything(self) -> Sequence[tuple[str, str, Any]]:
        """See Transaction."""
        rows = self._connection.execute(
            "SELECT kind, key, value FROM records WHERE kind NOT LIKE '!%' ORDER BY kind, key"
        )
        return [(kind, key, json.loads(value)) for kind, key, value in rows]

    def put(self, kind: str, key: str, value: Any, lease: Lease | None = None) -> None:
        """See Transaction."""
        text = json.dumps(value, separators=(",", ":"))
        if (
            lease
            and not self._connection.execute(
                "SELECT 1 FROM leases WHERE id = ?", (lease.id,)
            ).fetchone()
        ):
            raise NotFound("the lease is over")
        self._connection.execute(
            "INSERT INTO records VALUES (?, ?, ?, ?)"
            " ON CONFLICT (kind, key) DO UPDATE SET value = excluded.value, lease = excluded.lease",
            (kind, key, text, lease.id if lease else None),
        )
        self.changes.append((kind, key, text))

    def delete(self, kind: str, key: str) -> bool:
        """See Transaction."""
        done = self._connection.execute(
            "DELETE FROM records WHERE kind = ? AND key = ?", (kind, key)
        )
        if done.rowcount:
            self.changes.append((kind, key, None))
        return bool(done.rowcount)

    def expire(self, now: float) -> None:
        """Delete what belongs to leases that are over."""
        over = "SELECT id FROM leases WHERE ends <= ?"
        rows = self._connection.execute(
            f"SELECT kind, key FROM records WHERE lease IN ({over})", (now,)
        )
        for kind, key in rows.fetchall():
            self.delete(kind, key)
        self._connection.execute("DELETE FROM leases WHERE ends <= ?", (now,))

    def record(self) -> int:
        """Count this transaction and keep its changes for watches; its revision."""
        run = self._connection.execute
        run("UPDATE counters SET value = value + 1 WHERE name = 'revision'")
        revision = _revision(self._connection)
        self._connection.executemany(
            "INSERT INTO changes VALUES (?, ?, ?, ?, ?)",
            [(revision, n, *change) for n, change in enumerate(self.changes)],
        )
        run("DELETE FROM changes WHERE revision <= ?", (revision - HISTORY,))
        return revision


class _SqliteWatch(Watch):
    """Wakes up at the end of leases, too: in a file nobody else does."""

    def __init__(self, kind: str, store: SqliteStore) -> None:
        super().__init__(kind)
        self._store = store

    async def _wait(self, offered: asyncio.Event) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._store.seconds_to_expiry()):
                await offered.wait()
        self._store.expire()


class SqliteStore(Store):
    """One SQLite file. A transaction takes well under a millisecond."""

    def __init__(
        self, connection: sqlite3.Connection, path: str, now: Callable[[], float] = time.time
    ) -> None:
        self._connection, self._path, self._now = connection, path, now
        # A watch ends when its holder lets go of it; nobody has to remember to close it.
        self._watches: weakref.WeakSet[Watch] = weakref.WeakSet()

    @classmethod
    def at(cls, path: str) -> SqliteStore:
        """Open or make the file, with mode 0600. Raises PlatformError."""
        try:
            os.makedirs(os.path.dirname(path) or ".", mode=0o700, exist_ok=True)
            os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
            connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        except (OSError, sqlite3.Error) as exc:
            raise PlatformError(f"cannot open the store {path}: {exc}") from exc
        try:
            prepare(connection)
        except (sqlite3.Error, PlatformError) as exc:
            connection.close()
            raise PlatformError(f"cannot open the store {path}: {exc}") from exc
        return cls(connection, path)

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    @contextmanager
    def transaction(self) -> Iterator[SqliteTransaction]:
        """See Store."""
        transaction, revision = SqliteTransaction(self._connection), 0
        with self._translated():
            self._connection.execute("BEGIN IMMEDIATE")
        try:
            with self._translated():
                transaction.expire(self._now())
                yield transaction
                if transaction.changes:
                    revision = transaction.record()
                self._connection.execute("COMMIT")
        except BaseException:
            # After some errors (a full disk) SQLite has rolled back by itself already; after
            # others (a failed COMMIT) the transaction is open still and would block later ones.
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise
        if self._watches:
            self._announce(transaction.changes, revision)

    def get(self, kind: str, key: str) -> Any | None:
        """See Store."""
        self.expire()
        with self._translated():
            return SqliteTransaction(self._connection).get(kind, key)

    def snapshot(self, kind: str) -> tuple[int, dict[str, Any]]:
        """See Store."""
        self.expire()
        with self._translated():
            # The revision first: a change between the two is seen twice, and none is missed.
            revision = _revision(self._connection)
            return revision, SqliteTransaction(self._connection).list(kind)

    def watch(self, kind: str, since: int | None = None) -> Watch:
        """See Store."""
        watch = _SqliteWatch(kind, self)
        if since is not None:
            self._replay(watch, since)
        self._watches.add(watch)
        return watch

    def lease(self, ttl: float) -> Lease:
        """See Store."""
        lease = Lease(self, secrets.randbits(62), ttl)
        with self.transaction():
            self._connection.execute(
                "INSERT INTO leases VALUES (?, ?)", (lease.id, self._now() + ttl)
            )
        return lease

    def keep_alive(self, lease: Lease) -> None:
        """See Lease.keep_alive."""
        with self.transaction():
            done = self._connection.execute(
                "UPDATE leases SET ends = ? WHERE id = ?", (self._now() + lease.ttl, lease.id)
            )
        if not done.rowcount:
            raise NotFound("the lease is over")

    def revoke(self, lease: Lease) -> None:
        """See Lease.revoke."""
        with self.transaction() as tx:
            self._connection.execute("UPDATE leases SET ends = 0 WHERE id = ?", (lease.id,))
            tx.expire(self._now())

    @asynccontextmanager
    async def lock(self, name: str) -> AsyncIterator[None]:
        """See Store. A lock of the kernel's on a file beside the store: it ends with its holder."""
        with open(f"{self._path}.{name}.lock", "w", encoding="ascii") as file:
            if not _locked(file):
                log.warning(WAITING)
                while not _locked(file):  # the kernel has no event for it
                    await asyncio.sleep(_LOCK_POLL_SECONDS)
            yield

    def expire(self) -> None:
        """Delete records whose lease is over."""
        with self._translated():
            over = self._connection.execute(
                "SELECT 1 FROM leases WHERE ends <= ?", (self._now(),)
            ).fetchone()
        if over and not self._connection.in_transaction:
            with self.transaction():
                pass

    def seconds_to_expiry(self) -> float | None:
        """Seconds until the next lease ends; None where there is none."""
        with self._translated():
            (ends,) = self._connection.execute("SELECT min(ends) FROM leases").fetchone()
        return None if ends is None else max(0.0, float(ends) - self._now())

    def _replay(self, watch: Watch, since: int) -> None:
        with self._translated():
            if since < _revision(self._connection) - HISTORY:
                watch.offer(Compacted(f"changes since revision {since} are not kept any more"))
            rows = self._connection.execute(
                "SELECT key, value, revision FROM changes WHERE kind = ? AND revision > ?"
                " ORDER BY revision, position",
                (watch.kind, since),
            )
            for key, value, revision in rows:
                watch.offer(Change(watch.kind, key, value and json.loads(value), revision))

    def _announce(self, changes: Sequence[tuple[str, str, str | None]], revision: int) -> None:
        for kind, key, text in changes:
            for watch in [w for w in self._watches if w.kind == kind]:
                watch.offer(Change(kind, key, text and json.loads(text), revision))

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as exc:
            raise PlatformError(f"the store cannot be used: {exc}") from exc


def _locked(file: TextIO) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _revision(connection: sqlite3.Connection) -> int:
    return int(connection.execute("SELECT value FROM counters").fetchone()[0])
