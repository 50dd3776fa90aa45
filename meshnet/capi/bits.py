"""Uploaded files: written whole and checked before they are there, and then there for good."""

from __future__ import annotations

import hashlib
import os
from collections.abc import AsyncIterator, Callable, Container
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Generic, TypeVar

import anyio.to_thread
from anyio import CapacityLimiter

from meshnet.capi.archives import BadArchive
from meshnet.capi.errors import ApiError, unavailable, unprocessable
from meshnet.capi.tables import new_guid

T = TypeVar("T")
MAX_BYTES = 1024**3
_BLOCK = 1024 * 1024
_NEW = ".new"
_AT_ONCE = 4  # threads: each unpacks up to gigabytes, and all else goes on beside them


@dataclass(frozen=True)
class Written(Generic[T]):
    """A file that is written, synced and checked, and has no name yet that lasts."""

    path: Path
    sha256: str
    found: T

    def keep(self, path: Path) -> None:
        """Give it its name, durably."""
        try:
            self.path.rename(path)
            directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(directory)
            finally:
                os.close(directory)
        except OSError as exc:
            raise _not_kept(exc) from exc


class Bits:
    """The files of packages and droplets, each named by its record's guid."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._slots: CapacityLimiter | None = None  # made on the event loop

    def path(self, guid: str) -> Path:
        """Where a record's file is."""
        return self._directory / guid

    def remove(self, guid: str) -> None:
        """Remove a record's file, where there is one."""
        self.path(guid).unlink(missing_ok=True)

    def sweep(self, known: Container[str]) -> None:
        """Remove what a kill left: files half written, files whose record was never written."""
        for path in self._directory.iterdir():
            if path.name not in known and path.is_file():
                path.unlink(missing_ok=True)

    @asynccontextmanager
    async def written(self, write: Callable[[Path], T]) -> AsyncIterator[Written[T]]:
        """What `write` wrote to the path it was given, in a thread. Nothing is left unless kept.

        Raises:
            ApiError: 503 where the file cannot be written.
        """
        new = self.path(new_guid() + _NEW)
        try:
            try:
                self._slots = self._slots or CapacityLimiter(_AT_ONCE)
                yield await anyio.to_thread.run_sync(_written, new, write, limiter=self._slots)
            except OSError as exc:
                raise _not_kept(exc) from exc
        finally:
            new.unlink(missing_ok=True)

    @asynccontextmanager
    async def uploaded(
        self, source: BinaryIO, look: Callable[[Path], T], refusal: str
    ) -> AsyncIterator[Written[T]]:
        """An upload, which `look` has seen. Raises ApiError: 422 `refusal` and why, 503."""

        def write(path: Path) -> T:
            _copy(source, path)
            return look(path)

        try:
            async with self.written(write) as written:
                yield written
        except BadArchive as exc:
            raise unprocessable(f"{refusal}: {exc}") from exc


def _written(new: Path, write: Callable[[Path], T]) -> Written[T]:
    new.touch(mode=0o600)
    found = write(new)
    with new.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        os.fsync(file.fileno())
    return Written(new, sha256, found)


def _copy(source: BinaryIO, path: Path) -> None:
    size = 0
    with path.open("wb") as target:
        while block := source.read(_BLOCK):
            size += len(block)
            if size > MAX_BYTES:
                raise BadArchive(f"it is larger than {MAX_BYTES} bytes")
            target.write(block)


def _not_kept(exc: OSError) -> ApiError:
    return unavailable(f"The bits cannot be kept: {exc.strerror or type(exc).__name__}")
