"""Blocking work in threads."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


async def in_thread(work: Callable[..., T], *args: object) -> T:
    """Run `work(*args)` in a thread. Cancelled, it ends when the thread has ended, not before.

    `asyncio.to_thread` would return at once and leave the thread making what nobody removes.
    """
    future = asyncio.ensure_future(asyncio.to_thread(work, *args))
    try:
        return await asyncio.shield(future)
    except asyncio.CancelledError:
        await asyncio.wait((future,))
        if not future.cancelled():
            future.exception()  # retrieved: nobody else will
        raise
