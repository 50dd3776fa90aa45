"""Whether an instance that runs is ready for requests, as Diego's readiness checks have it.

One that is not ready is taken out of the routing and runs on; its app may come to itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from meshnet.cell.journal import Journal
from meshnet.cell.monitor import CHECK_SECONDS, first_failure
from meshnet.cell.process import Process

_READY = (
    "Container passed the readiness health check. Container marked ready and added to route pool."
)
_UNREADY = (
    "Container failed the readiness health check. Container marked not ready and removed from "
    "route pool."
)


class Readiness:
    """The readiness checks of one instance."""

    def __init__(self, process: Process, place: tuple[str, str], journal: Journal) -> None:
        """Of the instance at `place`: network namespace and address."""
        self._process, self._place, self._journal = process, place, journal

    async def now(self) -> bool | None:
        """Whether it is ready now; None where nobody checks that."""
        if not self._process.readiness:
            return None
        return not await self._failure_twice()

    async def follow(self, ready: bool | None, tell: Callable[[bool], Awaitable[None]]) -> None:
        """Check for ever, from what `now` has found on, and tell each change.

        Args:
            tell: its failures are raised here.
        """
        process, journal = self._process, self._journal
        if ready is None:
            return
        journal.out(process.cell_source, "Starting readiness health monitoring of container")
        if ready:
            journal.out(process.cell_source, _READY)
        interval = min(check.interval for check in process.readiness)
        while True:
            await asyncio.sleep(interval if ready else CHECK_SECONDS)
            failure = await (self._failure_twice() if ready else self._failure())
            if ready is not bool(failure):
                continue
            ready = not failure
            if failure:
                journal.err(process.check_source, failure)
                journal.err(process.cell_source, _UNREADY)
            else:
                journal.out(process.cell_source, _READY)
            await tell(ready)

    async def _failure(self) -> str:
        return await first_failure(self._process.readiness, self._place)

    async def _failure_twice(self) -> str:
        """Twice in a row: a cell that had no time itself takes no instance out for it."""
        return await self._failure() and await self._failure()
