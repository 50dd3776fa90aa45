"""When an instance is healthy, and that it stays so, as Diego's health_check_step has it."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import replace

from meshnet.cell.health import Unhealthy, probe
from meshnet.cell.journal import Journal, duration
from meshnet.cell.process import Check, Process
from meshnet.model.errors import MeshnetError
from meshnet.model.patience import patient

# Between two checks of an instance that is not healthy yet: often at first, then as Diego.
_FIRST_CHECKS_SECONDS, CHECK_SECONDS = 0.02, 0.5
_LEAST_SECONDS = 0.1  # that a check gets, however late it is


class Crashed(MeshnetError):
    """The instance ended, is unhealthy, or could not be started; the text says why."""


class Monitor:
    """The health checks of one instance; one without checks is healthy while it runs."""

    def __init__(
        self,
        process: Process,
        place: tuple[str, str],
        journal: Journal,
        check_alive: Callable[[], Awaitable[None]],
    ) -> None:
        """Of the instance at `place`: network namespace and address.

        Args:
            check_alive: raises Crashed where the instance has ended.
        """
        self._process, self._place, self._journal = process, place, journal
        self._check_alive = check_alive

    async def become_healthy(self) -> None:
        """Until every check passed. Raises Crashed where they never did in the start timeout."""
        process = self._process
        if not process.checks:
            return
        self._journal.out(process.cell_source, "Starting health monitoring of container")
        began, limit = time.monotonic(), patient(process.start_timeout)
        while failure := await self._failure(began + limit):
            await self._check_alive()
            took = time.monotonic() - began
            if took > limit:
                self._journal.err(process.check_source, failure)
                text = f"Failed after {duration(took)}: startup health check never passed."
                self._journal.err(process.cell_source, text)
                raise Crashed(f"Instance never healthy after {duration(took)}: {failure}")
            await asyncio.sleep(min(CHECK_SECONDS, max(_FIRST_CHECKS_SECONDS, took / 20)))
        self._journal.out(process.cell_source, "Container became healthy")

    async def stay_healthy(self) -> None:
        """Check for ever. Raises Crashed once a check failed, and failed again at once."""
        process = self._process
        while process.checks:
            await asyncio.sleep(min(check.interval for check in process.checks))
            # Twice in a row: a cell that had no time itself must not end an instance for it.
            if await self._failure() and (failure := await self._failure()):
                await self._check_alive()  # what has ended says more than that it is deaf
                self._journal.err(process.check_source, failure)
                self._journal.err(process.cell_source, "Container became unhealthy")
                raise Crashed(f"Instance became unhealthy: {failure}")

    async def _failure(self, until: float = math.inf) -> str:
        """What is wrong with it now; "" = nothing. `until` (CLOCK_MONOTONIC) ends every check.

        A check that may take hours must not make the start take hours.
        """
        left = max(_LEAST_SECONDS, until - time.monotonic())
        checks = self._process.checks
        bounded = [replace(check, timeout=min(check.timeout, left)) for check in checks]
        return await first_failure(bounded, self._place)


async def first_failure(checks: Iterable[Check], place: tuple[str, str]) -> str:
    """What the first check says that fails now; "" = all pass."""
    for check in checks:
        try:
            await probe(*place, check)
        except Unhealthy as exc:
            return str(exc)
    return ""
