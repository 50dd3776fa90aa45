"""Emptying a cell: its instances serve on until others run elsewhere, as Diego's rep evacuates."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable
from pathlib import Path

from meshnet.cell.instance import Instance
from meshnet.model.errors import Conflict, NotFound

_AGAIN_SECONDS = 0.5


class Evacuation:
    """Whether the cell is being emptied, across restarts of the agent, and the work of it."""

    def __init__(self, run_dir: Path) -> None:
        self._path = run_dir / "evacuating"
        self._changed = asyncio.Event()

    @property
    def on(self) -> bool:
        """Whether it is."""
        return self._path.exists()

    def switch(self, on: bool) -> None:
        """Begin, or take instances again. Durable on return."""
        if on:
            self._path.touch(mode=0o600)
        else:
            self._path.unlink(missing_ok=True)
        self._changed.set()

    async def changed(self, seconds: float) -> None:
        """Return at the next switch, `seconds` from now at the latest."""
        self._changed.clear()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._changed.wait(), seconds)

    async def move(self, instances: Iterable[Instance]) -> None:
        """Give every instance back to BBS; those whose replacement runs are stopped.

        Raises:
            PeerError: BBS is away; nothing is stopped then.
        """
        for instance in instances:
            with contextlib.suppress(NotFound, Conflict):
                await instance.evacuate()

    async def pause(self) -> None:
        """Between two rounds of `move`."""
        await asyncio.sleep(_AGAIN_SECONDS)
