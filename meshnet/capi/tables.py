"""Typed records of one kind: read from memory, written to the store first."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Mapping
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
    """Writes of one transaction: to the store together, to the tables when that has committed."""

    def __init__(self, tx: Transaction) -> None:
        self.tx = tx
        self.then: list[Callable[[], None]] = []


class Table(Generic[R]):
    """The records of one kind, all in memory; each write is committed to the store first."""

    def __init__(self, store: Store, kind: type[R], what: str) -> None:
        self._store, self._kind, self._what = store, kind, what
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
        (changes.tx if changes else self._store).put(self._what, record.guid, asdict(record))
        self._apply(lambda: self._set(record), changes)
        return record

    def delete(self, guid: str, changes: Changes | None = None) -> None:
        """Remove a record."""
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
