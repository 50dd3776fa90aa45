"""News of a directory, by inotify(7)."""

from __future__ import annotations

import asyncio
import ctypes
import os
from pathlib import Path

from meshnet.model.errors import KernelError

_NONBLOCK, _CLOEXEC = os.O_NONBLOCK, os.O_CLOEXEC
_DELETE, _MOVED_TO = 0x200, 0x80  # linux/inotify.h
_BUFFER = 64 * 1024


class Watch:
    """Says that files were renamed into or removed from a directory."""

    def __init__(self, directory: Path) -> None:
        """Start watching. Raises KernelError."""
        libc = ctypes.CDLL(None, use_errno=True)
        self._fd = libc.inotify_init1(_NONBLOCK | _CLOEXEC)
        if (
            self._fd < 0
            or libc.inotify_add_watch(self._fd, os.fsencode(directory), _DELETE | _MOVED_TO) < 0
        ):
            number = ctypes.get_errno()
            raise KernelError(f"cannot watch {directory}: {os.strerror(number)}", number)
        self._news = asyncio.Event()
        asyncio.get_running_loop().add_reader(self._fd, self._read)

    def _read(self) -> None:
        os.read(self._fd, _BUFFER)
        self._news.set()

    async def news(self) -> None:
        """Return when something has happened since the last call."""
        await self._news.wait()
        self._news.clear()

    def close(self) -> None:
        """Stop watching."""
        asyncio.get_running_loop().remove_reader(self._fd)
        os.close(self._fd)
