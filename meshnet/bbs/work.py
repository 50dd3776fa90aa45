"""One unit of change: committed at once, then taken over in memory, then told to the streams."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from meshnet.bbs.events import Hub
from meshnet.bbs.table import Owner, Row, Table, row_of
from meshnet.store import Store
from meshnet.wire import bbs_api as api
from meshnet.wire.gen import bbs_pb2 as pb

_DESIRED, _ACTUAL = "desired", "actual"
_CRASHED_FIRST, _THEN_RUNNING, _THEN_OTHERS = range(3)


class Work:
    """Collects changes; nothing is seen by anybody until `State.work` ends without an error."""

    def __init__(self) -> None:
        self.desired: dict[str, Any | None] = {}
        self.actual: dict[Row, Any | None] = {}
        self._events: list[tuple[int, str, Any, tuple[str, ...]]] = []

    def put_desired(self, lrp: Any) -> None:
        """Write a desired LRP."""
        self.desired[lrp.process_guid] = lrp

    def drop_desired(self, lrp: Any) -> None:
        """Remove a desired LRP."""
        self.desired[lrp.process_guid] = None
        self.tell(api.DESIRED_REMOVED, pb.DesiredLRPRemovedEvent(desired_lrp=lrp))

    def create(self, lrp: Any) -> None:
        """Write an instance's record that is new, and say so."""
        self.actual[row_of(lrp)] = lrp
        self.tell(api.CREATED, pb.ActualLRPInstanceCreatedEvent(actual_lrp=lrp), lrp)

    def change(self, before: Any, after: Any) -> None:
        """Write an instance's record in place of `before`, and say so.

        An instance never turns into another one, or into none: that is one created and one
        removed, as in Diego (events/calculator).
        """
        after.modification_tag.index += 1
        instance = before.actual_lrp_instance_key
        if instance.instance_guid and instance != after.actual_lrp_instance_key:
            self.create(after)
            self.drop(before)
            return
        self.actual.setdefault(row_of(before), None)
        self.actual[row_of(after)] = after
        event = pb.ActualLRPInstanceChangedEvent(
            actual_lrp_key=after.actual_lrp_key,
            actual_lrp_instance_key=after.actual_lrp_instance_key,
            before=api.info(before),
            after=api.info(after),
        )
        self.tell(api.CHANGED, event, before, after)

    def drop(self, lrp: Any) -> None:
        """Remove an instance's record, unless a new one took its place, and say so."""
        self.actual.setdefault(row_of(lrp), None)
        self.tell(api.REMOVED, pb.ActualLRPInstanceRemovedEvent(actual_lrp=lrp), lrp)

    def tell(self, name: str, message: Any, *lrps: Any) -> None:
        """Publish an event; `lrps` say which cells' streams it concerns (none: all)."""
        cells = tuple(lrp.actual_lrp_instance_key.cell_id for lrp in lrps)
        self._events.append((_turn(name, lrps), name, message, cells))

    def events(self) -> list[tuple[str, Any, tuple[str, ...]]]:
        """(name, message, cells) in the order of telling: what runs before what goes, so that
        whoever follows never finds nothing to send requests to in between.
        """
        return [event[1:] for event in sorted(self._events, key=lambda event: event[0])]


def _turn(name: str, lrps: tuple[Any, ...]) -> int:
    if name == api.CRASHED_EVENT:
        return _CRASHED_FIRST
    runs = name in (api.CREATED, api.CHANGED) and lrps[-1].state == api.RUNNING
    return _THEN_RUNNING if runs else _THEN_OTHERS


class State:
    """Desired and actual LRPs: in the store, in memory, and on the event streams."""

    def __init__(self, store: Store, hub: Hub) -> None:
        self._store, self._hub = store, hub
        self.desired: dict[str, Any] = {
            guid: pb.DesiredLRP.FromString(base64.b64decode(value))
            for guid, value in store.list(_DESIRED).items()
        }
        self.table = Table()
        for value in store.list(_ACTUAL).values():
            self._take_over(pb.ActualLRP.FromString(base64.b64decode(value)))

    @contextmanager
    def work(self) -> Iterator[Work]:
        """Changes that happen all together. Raises PlatformError where they cannot be kept."""
        work = Work()
        yield work
        if not (work.desired or work.actual):
            return
        with self._store.transaction() as tx:
            for guid, desired in work.desired.items():
                _write(tx, _DESIRED, guid, desired)
            for row, actual in work.actual.items():
                _write(tx, _ACTUAL, _name(row), actual)
        self._remember(work)
        for name, message, cells in work.events():
            self._hub.publish(name, message, cells)

    def _remember(self, work: Work) -> None:
        for guid, desired in work.desired.items():
            if desired is None:
                self.desired.pop(guid, None)
            else:
                self.desired[guid] = desired
        for row, actual in work.actual.items():
            if actual is None:
                self.table.remove(row)
            else:
                self._take_over(actual)

    def _take_over(self, lrp: Any) -> None:
        desired = self.desired.get(lrp.actual_lrp_key.process_guid)
        app = (desired.log_guid if desired else "") or lrp.actual_lrp_key.process_guid
        self.table.put(lrp, Owner(app, desired.memory_mb if desired else 0))


def _name(row: Row) -> str:
    """A record's key in the store; guids have no slash."""
    guid, index, presence = row
    return f"{guid}/{index}/{presence}" if presence else f"{guid}/{index}"


def _write(tx: Any, kind: str, key: str, message: Any | None) -> None:
    if message is None:
        tx.delete(kind, key)
    else:
        tx.put(kind, key, base64.b64encode(message.SerializeToString()).decode("ascii"))
