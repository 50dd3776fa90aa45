"""The cell's metrics session: what its instances use, to log-cache; disk quotas are held here."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterable
from typing import Any

from meshnet.cell.envelopes import usage_envelope
from meshnet.cell.instance import Instance
from meshnet.cell.process import MIB
from meshnet.cell.threads import in_thread
from meshnet.model.errors import NotFound
from meshnet.wire.log_cache_client import LogCacheClient

USAGE_SECONDS = 5.0


async def measure(running: Callable[[], Iterable[Instance]], log_cache: LogCacheClient) -> None:
    """Send usage for ever, and end instances that use more disk than they may.

    Memory needs no watching: the kernel ends what exceeds its limit.

    Raises:
        PeerError: log-cache is away.
    """
    while True:
        began, found = time.monotonic(), list[Any]()
        for instance in running():
            with contextlib.suppress(NotFound):
                usage = await in_thread(instance.meter.read)
                origin = next(iter(instance.origins().values()))
                found.append(usage_envelope(origin, usage, time.time_ns()))
                if usage.disk > usage.disk_quota > 0:
                    instance.fail(f"disk quota of {usage.disk_quota // MIB}M exceeded")
        if found:
            await log_cache.send(found)
        await asyncio.sleep(max(0.0, USAGE_SECONDS - (time.monotonic() - began)))
