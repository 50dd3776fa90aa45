"""Typed records of one kind: read from memory, written to the store first."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Generic, TypeVar

from meshnet.capi.errors import not_found
from meshnet.store import Store, Transaction


def new_guid() -> str:
    """A fresh random guid."""
    return str(uuid.uuid4())


def now() -> str:
    """This moment, RFC 3339, UTC, to the microsecond: records are listed in order of creation."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def shown_time(text: str) -> str:
    """A record's time as CC shows it, to the second."""
    return f"{text[:19]}Z"


def no_metadata() -> dict[str, dict[str, str]]:
    """Metadata of a resource that was given none."""
    return {"labels": {}, "annotations": {}}


@dataclass(frozen=True)
class Record:
    """What every record has.

    Attributes:
        updated_at: when `Table.put` last changed it; "" where it never did.
        metadata: its labels and annotations.
    """

    guid: str = field(default_factory=new_guid)
    created_at: str = field(default_factory=now)
    updated_at: str = ""
    metadata: dict[str, dict[str, str]] = field(default_factory=no_metadata)


R = TypeVar("R", bound=Record)


class Changes:
    """Writes of one transaction: to the store together, to the tables when that has committed.

    Attributes:
        written: the records written so far, by guid.
    """

    def __init__(self, tx: Transaction) -> None:
        self.tx = tx
        self.written: dict[str, Record] = {}
        self.then: list[Callable[[], None]] = []


class Table(Generic[R]):
    """The records of one kind, all in memory; each write is committed to the store first.

    Attributes:
        watch: called with what a record was and is (None: not there) and the transaction that
            makes it so, which it may add to.
    """

    def __init__(self, store: Store, kind: type[R], what: str) -> None:
        self._store, self._kind, self._what = store, kind, what
        self.watch: Callable[[R | None, R | None, Changes], object] | None = None
        self._rows = {guid: self._load(value) for guid, value in store.list(what).items()}

    def get(self, guid: str) -> R:
        """One record. Raises ApiError 404."""
        if (record := self._rows.get(guid)) is None:
            raise not_found(self._what)
        return record

    def find(self, guid: str) -> R | None:
        """One record, or None."""
        return self._rows.get(guid)

    def all(self) -> list[R]:
        """Every record, oldest first."""
        return sorted(self._rows.values(), key=lambda r: (r.created_at, r.guid))

    def __iter__(self) -> Iterator[R]:
        return iter(self._rows.values())

    def put(self, record: R, changes: Changes | None = None) -> R:
        """Write a record; returns it, with its `updated_at` where it was another before."""
        if (old := self._rows.get(record.guid)) == record:
            return record
        if old:
            record = replace(record, updated_at=now())
        if self.watch and changes is None:
            with self._together() as changes:
                self._write(record, old, changes)
        else:
            self._write(record, old, changes)
        return record

    def _write(self, record: R, old: R | None, changes: Changes | None) -> None:
        (changes.tx if changes else self._store).put(self._what, record.guid, asdict(record))
        self._apply(lambda: self._set(record), changes)
        if changes:
            changes.written[record.guid] = record
        if self.watch and changes:
            self.watch(old, record, changes)

    @contextmanager
    def _together(self) -> Iterator[Changes]:
        with self._store.transaction() as tx:
            changes = Changes(tx)
            yield changes
        for work in changes.then:
            work()

    def delete(self, guid: str, changes: Changes | None = None) -> None:
        """Remove a record."""
        if self.watch and changes is None:
            with self._together() as changes:
                return self.delete(guid, changes)
        if self.watch and changes:
            self.watch(self._rows.get(guid), None, changes)
        (changes.tx if changes else self._store).delete(self._what, guid)
        self._apply(lambda: self._drop(guid), changes)

    def _apply(self, work: Callable[[], None], changes: Changes | None) -> None:
        if changes:
            changes.then.append(work)
        else:
            work()

    def _set(self, record: R) -> None:
        self._rows[record.guid] = record

    def _drop(self, guid: str) -> None:
        self._rows.pop(guid, None)

    def _load(self, value: Mapping[str, Any]) -> R:
        return self._kind(**value)
