"""Policies and tags in the store, and the version that counts their changes."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict

from meshnet.model.errors import InputError
from meshnet.model.policy import Policy
from meshnet.policy.tags import lowest_free
from meshnet.store import Store, Transaction
from meshnet.wire.policy_json import WATCH_SECONDS

_POLICY, _TAG, _FREED, _META = "policy", "tag", "freed", "meta"
MAX_PER_SOURCE = 150


class QuotaExceeded(InputError):
    """A source app would have more policies than allowed."""


def _key(policy: Policy) -> str:
    fields = (policy.source, policy.destination, policy.protocol, policy.start, policy.end)
    return hashlib.sha256("/".join(map(str, fields)).encode()).hexdigest()[:32]


class State:
    """What the policy server knows. Each method commits before it returns."""

    def __init__(self, store: Store, now: Callable[[], float] = time.time) -> None:
        self._store, self._now = store, now
        self.policies = {Policy(**v) for v in store.list(_POLICY).values()}
        self.tags: dict[str, int] = dict(store.list(_TAG))
        # Nanoseconds, as CF's last_updated: it also tells a watcher that we started anew.
        self.version = int(store.get(_META, "last_updated") or 1)
        self._changed = asyncio.Event()

    def add(self, policies: Iterable[Policy]) -> None:
        """Add policies; known ones are no error. Raises QuotaExceeded, Conflict."""
        new = set(policies) - self.policies
        for source in {p.source for p in new}:
            count = sum(p.source == source for p in self.policies | new)
            if count > MAX_PER_SOURCE:
                raise QuotaExceeded("policy quota exceeded")
        if not new:
            return
        tags = dict(self.tags)
        with self._store.transaction() as tx:
            for app in sorted({app for p in new for app in (p.source, p.destination)}):
                self._tag(tx, tags, app)
            for policy in new:
                tx.put(_POLICY, _key(policy), asdict(policy))
            version = self._bump(tx)
        self.policies |= new
        self.tags = tags
        self._announce(version)

    def remove(self, policies: Iterable[Policy]) -> None:
        """Remove policies; unknown ones are ignored."""
        gone = set(policies) & self.policies
        if not gone:
            return
        with self._store.transaction() as tx:
            for policy in gone:
                tx.delete(_POLICY, _key(policy))
            version = self._bump(tx)
        self.policies -= gone
        self._announce(version)

    def forget_apps(self, apps: Iterable[str]) -> list[Policy]:
        """Remove deleted apps' policies and free their tags; the policies removed."""
        names = set(apps)
        gone = [p for p in self.policies if p.source in names or p.destination in names]
        freed = {app: self.tags[app] for app in names if app in self.tags}
        if not gone and not freed:
            return []
        with self._store.transaction() as tx:
            for policy in gone:
                tx.delete(_POLICY, _key(policy))
            for app, tag in freed.items():
                tx.delete(_TAG, app)
                tx.put(_FREED, str(tag), self._now())
            version = self._bump(tx)
        self.policies -= set(gone)
        for app in freed:
            del self.tags[app]
        self._announce(version)
        return sorted(gone)

    def tag(self, app: str) -> int:
        """An app's tag; it gets one where it has none. Raises Conflict."""
        if app not in self.tags:
            tags = dict(self.tags)
            with self._store.transaction() as tx:
                self._tag(tx, tags, app)
            self.tags = tags
        return self.tags[app]

    async def changed_since(self, version: int) -> None:
        """Return when the version differs or the long poll's time is over."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(WATCH_SECONDS):
                while self.version == version:
                    await self._changed.wait()

    def _tag(self, tx: Transaction, tags: dict[str, int], app: str) -> None:
        if app not in tags:
            freed = {int(tag): float(since) for tag, since in tx.list(_FREED).items()}
            tags[app] = lowest_free(tags.values(), freed, self._now())
            tx.delete(_FREED, str(tags[app]))
            tx.put(_TAG, app, tags[app])

    def _bump(self, tx: Transaction) -> int:
        version = max(self.version + 1, int(self._now() * 1e9))
        tx.put(_META, "last_updated", version)
        return version

    def _announce(self, version: int) -> None:
        self.version = version
        self._changed.set()
        self._changed = asyncio.Event()
