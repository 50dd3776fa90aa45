"""Which domains are fresh: whoever fills one says until when all that it desires is known."""

from __future__ import annotations

import time
from collections.abc import Callable

from meshnet.model.errors import InputError
from meshnet.store import Store

_DOMAIN = "domain"


class Domains:
    """Durable; ends are wall-clock times, for they outlive this process."""

    def __init__(self, store: Store, now: Callable[[], float] = time.time) -> None:
        self._store, self._now = store, now

    def upsert(self, domain: str, ttl_seconds: int) -> None:
        """A domain is fresh for so long, 0 = for ever. Raises InputError where it has no name."""
        if not domain:
            raise InputError("a domain needs a name")
        self._store.put(_DOMAIN, domain, self._now() + ttl_seconds if ttl_seconds else 0)

    def fresh(self) -> list[str]:
        """The domains that are fresh now."""
        found = self._store.list(_DOMAIN).items()
        return sorted(domain for domain, end in found if not end or end > self._now())
