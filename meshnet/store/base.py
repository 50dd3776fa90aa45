"""What a store is, whichever keeps it: records of JSON values by (kind, key).

A committed transaction survives the death of the process and of the machine; with etcd that of
one of three members, too. Kinds hold no slash and do not begin with `!`: those are the store's own.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from meshnet.model.errors import PlatformError
from meshnet.store.watch import Change, Compacted, Watch

__all__ = ["Change", "Compacted", "Lease", "Store", "Transaction", "TransactionConflict", "hold"]

T = TypeVar("T")
# Pure: (kind, key, value) of one version to the value of the next; None drops the record.
Migration = Callable[[str, str, Any], Any | None]
_SCHEMA, _VERSION = "!schema", "version"
_ATTEMPTS = 16
WAITING = "another process holds the store; waiting for its end"


class TransactionConflict(PlatformError):
    """What the transaction has read was changed by another; it wrote nothing. Try it again."""


@dataclass(frozen=True)
class Lease:
    """Records put with it vanish when nobody has kept it alive for `ttl` seconds."""

    store: Store
    id: int
    ttl: float

    def keep_alive(self) -> None:
        """Begin the `ttl` seconds anew. Raises NotFound where they are over, PlatformError."""
        self.store.keep_alive(self)

    def revoke(self) -> None:
        """End it now, and with it its records."""
        self.store.revoke(self)


class Transaction(ABC):
    """Reads and writes that happen all together or not at all."""

    @abstractmethod
    def get(self, kind: str, key: str) -> Any | None:
        """The value, or None where there is no such record."""

    @abstractmethod
    def list(self, kind: str) -> dict[str, Any]:
        """All records of a kind by key, in key order."""

    @abstractmethod
    def everything(self) -> Sequence[tuple[str, str, Any]]:
        """Every record: (kind, key, value), the store's own left out."""

    @abstractmethod
    def put(self, kind: str, key: str, value: Any, lease: Lease | None = None) -> None:
        """Write a record: any JSON value but null."""

    @abstractmethod
    def delete(self, kind: str, key: str) -> bool:
        """Remove a record; whether there was one."""


class Store(ABC):
    """Use from one thread. SQLite takes well under a millisecond, etcd a round trip.

    Every call raises PlatformError where the store cannot answer in time.
    """

    @classmethod
    def open(cls, url: str | Path, migrations: Sequence[Migration] = ()) -> Store:
        """Open a store, making it where it is new.

        Args:
            url: a file, or `etcd://host:port,host:port/prefix`, with `?ca=FILE&cert=FILE&key=FILE`
                for TLS.
            migrations: as for `migrate`.

        Raises:
            InputError: the URL is none.
            PlatformError: it cannot be opened, or a newer meshnet wrote it.
        """
        store = cls._open(str(url))
        try:
            store.migrate(migrations)
        except BaseException:
            store.close()
            raise
        return store

    @classmethod
    def _open(cls, url: str) -> Store:
        # Imported when needed: a daemon on SQLite has no use for gRPC.
        if url.startswith("etcd://"):
            from meshnet.store.etcd import EtcdStore

            return EtcdStore.connect(url)
        from meshnet.store.sqlite import SqliteStore

        return SqliteStore.at(url)

    @abstractmethod
    def close(self) -> None:
        """Let go of the file or of the connections."""

    @abstractmethod
    def transaction(self) -> AbstractContextManager[Transaction]:
        """Commit at the end of the block; an exception in it leaves everything as it was.

        Raises:
            TransactionConflict: another changed what was read; nothing was written.
            PlatformError: the store could not read or write. Nothing was changed but where etcd
                did not answer in time: then it is not known, and the caller must say so.
        """

    @abstractmethod
    def get(self, kind: str, key: str) -> Any | None:
        """The value, or None where there is no such record."""

    @abstractmethod
    def snapshot(self, kind: str) -> tuple[int, dict[str, Any]]:
        """All records of a kind, and the revision from which to watch for what comes after."""

    @abstractmethod
    def watch(self, kind: str, since: int | None = None) -> Watch:
        """Each change of a kind after revision `since`, or from this call on.

        On SQLite: those that this Store object commits, and the ends of leases.
        """

    @abstractmethod
    def lease(self, ttl: float) -> Lease:
        """A new lease of `ttl` seconds; etcd grants whole seconds and 2 at least."""

    @abstractmethod
    def keep_alive(self, lease: Lease) -> None:
        """See Lease.keep_alive."""

    @abstractmethod
    def revoke(self, lease: Lease) -> None:
        """See Lease.revoke."""

    @abstractmethod
    def lock(self, name: str) -> AbstractAsyncContextManager[None]:
        """Wait until nobody else holds the lock, and hold it for the block.

        A holder that dies lets go of it. Where it is lost (etcd out of reach for longer than its
        lease), later transactions are refused and the block ends with PlatformError.
        """

    def list(self, kind: str) -> dict[str, Any]:
        """All records of a kind by key, in key order."""
        return self.snapshot(kind)[1]

    def put(self, kind: str, key: str, value: Any, lease: Lease | None = None) -> None:
        """Write one record in a transaction of its own."""
        with self.transaction() as tx:
            tx.put(kind, key, value, lease)

    def delete(self, kind: str, key: str) -> bool:
        """Remove one record in a transaction of its own; whether there was one."""
        return self.transact(lambda tx: tx.delete(kind, key))

    def transact(self, work: Callable[[Transaction], T]) -> T:
        """Run `work` in a transaction, again where it met another's; what it returned.

        Raises:
            TransactionConflict: it met others too often.
        """
        for _ in range(_ATTEMPTS - 1):
            try:
                with self.transaction() as tx:
                    return work(tx)
            except TransactionConflict:
                continue
        with self.transaction() as tx:
            return work(tx)

    def migrate(self, migrations: Sequence[Migration]) -> None:
        """Bring records of an older version to that of `migrations`, all or nothing.

        The version of records is 1 + how many migrations they have been through.

        Raises:
            PlatformError: a newer meshnet wrote them.
        """
        wanted = 1 + len(migrations)
        if self.get(_SCHEMA, _VERSION) != wanted:
            self.transact(lambda tx: _migrate(tx, migrations))


def _migrate(tx: Transaction, migrations: Sequence[Migration]) -> None:
    wanted, records = 1 + len(migrations), tx.everything()
    found = tx.get(_SCHEMA, _VERSION) or (1 if records else wanted)
    if found > wanted:
        raise PlatformError("a newer meshnet wrote the store's records: upgrade this one")
    for kind, key, value in records:
        for migration in migrations[found - 1 :]:
            value = migration(kind, key, value) if value is not None else None
        if value is None:
            tx.delete(kind, key)
        elif found < wanted:
            tx.put(kind, key, value)
    tx.put(_SCHEMA, _VERSION, wanted)


@asynccontextmanager
async def hold(url: str | Path, migrations: Sequence[Migration] = ()) -> AsyncIterator[Store]:
    """The store of a daemon that is alone with it: a second one waits here until the first ends.

    Raises:
        InputError, PlatformError: as `Store.open`, and as `Store.lock` where the lock is lost.
    """
    store = Store._open(str(url))
    try:
        async with store.lock("active"):
            store.migrate(migrations)
            yield store
    finally:
        store.close()
