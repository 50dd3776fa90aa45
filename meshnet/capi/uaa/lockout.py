"""Guessing passwords: accounts that are locked after too many wrong ones, as UAA's policy has it.

In memory: a restart forgives, and costs a guesser more time than it saves.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from weakref import WeakValueDictionary

# UAA's defaults (login.defaultIdentityProvider: lockoutAfterFailures and its periods).
MOST_FAILURES, COUNTED_SECONDS, LOCKED_SECONDS = 5, 3600.0, 300.0


class Locked(Exception):
    """An account's password was wrong too often of late: none is looked at."""


class Lockout:
    """How often each account's password was wrong of late."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._failures: dict[str, list[float]] = {}
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    def turn(self, account: str) -> asyncio.Lock:
        """Held while one of an account's passwords is looked at.

        Many at once would all be looked at before the first of them counts.
        """
        return self._turns.setdefault(account, asyncio.Lock())

    def locked(self, account: str) -> bool:
        """Whether no password is looked at now; an account is its user's guid."""
        failures = self._recent(account)
        return len(failures) >= MOST_FAILURES and self._clock() - failures[-1] < LOCKED_SECONDS

    def check(self, account: str) -> None:
        """Raise Locked where no password is looked at now."""
        if self.locked(account):
            raise Locked

    def failed(self, account: str) -> None:
        """The password was wrong."""
        # One more after the lock has ended locks again, as long as the failures count.
        self._failures[account] = [*self._recent(account), self._clock()][-MOST_FAILURES:]

    def passed(self, account: str) -> None:
        """The password was right: what went before is forgiven."""
        self._failures.pop(account, None)

    def _recent(self, account: str) -> list[float]:
        since = self._clock() - COUNTED_SECONDS
        return [when for when in self._failures.get(account, ()) if when > since]
