"""Policies and tags in the store, and the version that counts their changes."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import asdict
from typing import Any

from meshnet.model.errors import Conflict, InputError
from meshnet.model.policy import Policy
from meshnet.policy.history import History
from meshnet.policy.tags import Tags
from meshnet.store import Store, Transaction
from meshnet.wire.policy_json import APP, WATCH_SECONDS, Delta, Tag, Tagged

_POLICY, _TAG, _FREED, _META = "policy", "tag", "freed", "meta"
MAX_PER_SOURCE = 150


def _type_tags(kind: str, key: str, value: Any) -> Any:
    """Version 2: a tag has a type; before, all were apps'."""
    return {"tag": value, "type": APP} if kind == _TAG else value


MIGRATIONS = (_type_tags,)


class QuotaExceeded(InputError):
    """A source app would have more policies than allowed."""


def _key(policy: Policy) -> str:
    fields = (policy.source, policy.destination, policy.protocol, policy.start, policy.end)
    return hashlib.sha256("/".join(map(str, fields)).encode()).hexdigest()[:32]


class State:
    """What the policy server knows. Each method commits before it returns.

    A change costs what it changes, not what there is.
    """

    def __init__(self, store: Store, now: Callable[[], float] = time.time) -> None:
        self._store, self._now = store, now
        self.policies: set[Policy] = set()
        self._of: defaultdict[str, set[Policy]] = defaultdict(set)
        self._sources: Counter[str] = Counter()
        self._index({Policy(**v) for v in store.list(_POLICY).values()})
        self.tags = {app: Tag(app, v["type"], v["tag"]) for app, v in store.list(_TAG).items()}
        freed = {int(tag): float(since) for tag, since in store.list(_FREED).items()}
        self._free = Tags((tag.tag for tag in self.tags.values()), freed)
        # Nanoseconds, as CF's last_updated: it also tells a watcher that we started anew.
        self.version = int(store.get(_META, "last_updated") or 1)
        self._history = History(self.version)
        self._changed = asyncio.Event()

    def of(self, apps: Iterable[str]) -> set[Policy]:
        """The policies that have one of these apps on either side."""
        return set().union(*(self._of.get(app, ()) for app in apps))

    def tagged(self, policy: Policy) -> Tagged:
        """A policy with both its tags."""
        tags = self.tags
        return Tagged(policy, tags[policy.source].tag, tags[policy.destination].tag)

    def add(self, policies: Collection[Policy], *, most: int | None = MAX_PER_SOURCE) -> None:
        """Add policies; known ones are no error.

        Args:
            most: how many policies a source may have; None = any number.

        Raises:
            QuotaExceeded: a source would have more.
            Conflict: all tags are used.
        """
        new = set(policies) - self.policies
        for source, count in Counter(p.source for p in new).items():
            if most is not None and self._sources[source] + count > most:
                raise QuotaExceeded("policy quota exceeded")
        if not new:
            return
        apps = sorted({app for p in new for app in (p.source, p.destination)} - self.tags.keys())
        with self._tags_for(apps, APP) as taken:
            with self._store.transaction() as tx:
                _put_tags(tx, taken)
                for policy in new:
                    tx.put(_POLICY, _key(policy), asdict(policy))
                version = self._bump(tx)
            self.tags |= taken
        self._index(new)
        self._announce(version, new, ())

    def remove(self, policies: Collection[Policy]) -> None:
        """Remove policies; unknown ones are ignored."""
        gone = set(policies) & self.policies
        if not gone:
            return
        with self._store.transaction() as tx:
            for policy in gone:
                tx.delete(_POLICY, _key(policy))
            version = self._bump(tx)
        self._announce(version, (), gone)
        self._unindex(gone)

    def forget_apps(self, apps: Collection[str]) -> list[Policy]:
        """Remove deleted apps' policies and free their tags; the policies removed."""
        gone, now = self.of(apps), self._now()
        freed = [tag for app in set(apps) if (tag := self.tags.get(app)) and tag.type == APP]
        if not gone and not freed:
            return []
        with self._store.transaction() as tx:
            for policy in gone:
                tx.delete(_POLICY, _key(policy))
            for tag in freed:
                tx.delete(_TAG, tag.id)
                tx.put(_FREED, str(tag.tag), now)
            version = self._bump(tx)
        self._announce(version, (), gone)
        self._unindex(gone)
        for tag in freed:
            del self.tags[tag.id]
            self._free.free(tag.tag, now)
        return sorted(gone)

    def tag(self, name: str, kind: str = APP) -> Tag:
        """A group's tag; it gets one where it has none.

        Raises:
            Conflict: all are used, or it has one of another type.
        """
        found = self.tags.get(name)
        if found is None:
            with self._tags_for([name], kind) as taken:
                with self._store.transaction() as tx:
                    _put_tags(tx, taken)
                self.tags |= taken
            return self.tags[name]
        if found.type != kind:
            raise Conflict(f"{name} has a tag of type {found.type!r}, not {kind!r}")
        return found

    def changes_since(self, version: int) -> Delta | None:
        """What changed after a version; None where that is not known any more."""
        return self._history.since(version)

    async def changed_since(self, version: int) -> None:
        """Return when the version differs or the long poll's time is over."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(WATCH_SECONDS):
                while self.version == version:
                    await self._changed.wait()

    def check(self) -> None:
        """Raise PlatformError where the store cannot be read."""
        self._store.get(_META, "last_updated")

    @contextlib.contextmanager
    def _tags_for(self, names: Iterable[str], kind: str) -> Iterator[dict[str, Tag]]:
        taken: dict[str, Tag] = {}
        try:
            for name in names:
                taken[name] = Tag(name, kind, self._free.take(self._now()))
            yield taken
        except BaseException:
            for tag in taken.values():
                self._free.give_back(tag.tag)
            raise

    def _index(self, policies: Iterable[Policy]) -> None:
        for policy in policies:
            self.policies.add(policy)
            self._sources[policy.source] += 1
            for app in (policy.source, policy.destination):
                self._of[app].add(policy)

    def _unindex(self, policies: Iterable[Policy]) -> None:
        for policy in policies:
            self.policies.discard(policy)
            self._sources[policy.source] -= 1
            for app in {policy.source, policy.destination}:
                self._of[app].discard(policy)
                if not self._of[app]:
                    del self._of[app]
                    self._sources.pop(app, None)

    def _bump(self, tx: Transaction) -> int:
        version = max(self.version + 1, int(self._now() * 1e9))
        tx.put(_META, "last_updated", version)
        return version

    def _announce(self, version: int, added: Iterable[Policy], gone: Iterable[Policy]) -> None:
        self.version = version
        self._history.note(version, map(self.tagged, added), map(self.tagged, gone))
        self._changed.set()
        self._changed = asyncio.Event()


def _put_tags(tx: Transaction, tags: dict[str, Tag]) -> None:
    for tag in tags.values():
        tx.delete(_FREED, str(tag.tag))
        tx.put(_TAG, tag.id, {"tag": tag.tag, "type": tag.type})
