"""Droplets: fetched once, checked, unpacked for each instance."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import re
import tarfile
import time
from pathlib import Path
from typing import Any

import httpx

from meshnet.model.errors import InputError, PeerError
from meshnet.wire.http_client import http_client
from meshnet.wire.tls import Tls

MAX_UNPACKED_BYTES = 4 * 1024 * 1024 * 1024
DIRECTORIES = ("app", "deps", "profile.d", "tmp", "logs")
_MOUNTED = "/home/vcap"
PATIENCE_SECONDS, _PAUSE_SECONDS = 20.0, 0.2
MAX_CACHED_BYTES = 1024 * 1024 * 1024
IN_USE_SECONDS = 600.0  # from being fetched to being unpacked, at the very most

_SHA256 = re.compile(r"[0-9a-f]{64}")


class Droplets:
    """The cell's droplet cache, by SHA-256; what was not used for longest goes when it is full."""

    def __init__(self, directory: Path, tls: Tls | None = None) -> None:
        self._directory, self._tls = directory, tls
        self._locks: dict[str, asyncio.Lock] = {}

    async def fetch(self, download: Any) -> Path:
        """The file of a DownloadAction, from the cache or its address.

        An API that is just being restarted is waited for, PATIENCE_SECONDS: a crash of the instance
        would be answered with a back-off of minutes.

        Raises:
            InputError: there is nothing to fetch, or it is not what the checksum says.
            PeerError: its address does not answer.
        """
        sha256 = download.checksum_value
        if not _SHA256.fullmatch(sha256):
            raise InputError("the process has no droplet with a SHA-256 checksum")
        path = self._directory / f"{sha256}.tgz"
        deadline = time.monotonic() + PATIENCE_SECONDS
        async with self._locks.setdefault(sha256, asyncio.Lock()):
            while not _used(path):
                try:
                    await self._download(getattr(download, "from"), sha256, path)
                    self._prune()
                except PeerError:
                    if time.monotonic() > deadline:
                        raise
                    await asyncio.sleep(_PAUSE_SECONDS)
        return path

    def _prune(self) -> None:
        files = []
        for path in self._directory.iterdir():
            with contextlib.suppress(FileNotFoundError):  # a download that was refused meanwhile
                files.append((path.stat(), path))
        files.sort(key=lambda file: file[0].st_mtime)
        surplus = sum(found.st_size for found, _ in files) - MAX_CACHED_BYTES
        for found, path in files:
            if surplus <= 0 or time.time() - found.st_mtime < IN_USE_SECONDS:
                return
            path.unlink(missing_ok=True)
            if (lock := self._locks.get(path.stem)) and not lock.locked():
                del self._locks[path.stem]
            surplus -= found.st_size

    async def _download(self, url: str, sha256: str, path: Path) -> None:
        digest, new = hashlib.sha256(), path.with_suffix(".new")
        try:
            async with (
                http_client("", self._tls, timeout=30.0) as http,
                http.stream("GET", url) as reply,
            ):
                if reply.status_code >= 500:
                    raise PeerError(f"the droplet's download ended with HTTP {reply.status_code}")
                if reply.status_code != httpx.codes.OK:
                    raise InputError(f"no droplet there: HTTP {reply.status_code}")
                with new.open("wb") as target:
                    async for block in reply.aiter_bytes():
                        digest.update(block)
                        target.write(block)
            if digest.hexdigest() != sha256:
                raise InputError("the droplet's checksum is wrong")
            new.rename(path)
        except httpx.HTTPError as exc:
            raise PeerError(f"the droplet cannot be fetched: {type(exc).__name__}") from exc
        except OSError as exc:
            raise InputError(f"the droplet cannot be kept: {exc.strerror}") from exc
        finally:
            new.unlink(missing_ok=True)


def _used(path: Path) -> bool:
    """Whether it is there; it counts as used now."""
    try:
        os.utime(path)
    except FileNotFoundError:
        return False
    return True


def unpack(archive: Path, home: Path, uid: int, limit: int = 0) -> None:
    """Unpack a droplet into `home` and give all of it to `uid`.

    Nothing in the archive reaches outside: no absolute names, no `..`, no links that leave, no
    devices, no set-id bits (tarfile's "data" filter, PEP 706, with its checks made here where the
    Python is too old to have it). Absolute links to /home/vcap, where `home` is mounted, are kept
    as relative ones.

    Args:
        limit: how many bytes it may unpack to; 0 = MAX_UNPACKED_BYTES.

    Raises:
        InputError: the archive is broken, too large or hostile.
    """
    total, most = 0, limit or MAX_UNPACKED_BYTES
    try:
        with tarfile.open(archive, "r:gz") as tar:
            for member in tar:
                total += member.size
                if total > most:
                    raise InputError("the droplet unpacks to more than its disk quota allows")
                _extract(tar, member, home)
    except (tarfile.TarError, OSError, EOFError) as exc:
        raise InputError(f"the droplet cannot be unpacked: {exc}") from exc
    for name in DIRECTORIES:
        (home / name).mkdir(exist_ok=True)
    for directory, _, files in os.walk(home):
        os.chown(directory, uid, uid)
        for name in files:
            os.chown(os.path.join(directory, name), uid, uid, follow_symlinks=False)


def _extract(tar: tarfile.TarFile, member: tarfile.TarInfo, home: Path) -> None:
    if member.issym() and os.path.normpath(member.linkname).startswith(f"{_MOUNTED}/"):
        place = os.path.join(_MOUNTED, os.path.dirname(member.name))
        member.linkname = os.path.relpath(member.linkname, place)
    if hasattr(tarfile, "data_filter"):
        tar.extract(member, home, filter="data")
        return
    top, name = home.resolve(), home / member.name
    target = name.resolve()  # follows the links that were unpacked before
    if member.islnk():
        inside = (home / member.linkname).resolve().is_relative_to(top)
    elif member.issym():
        inside = (name.parent / member.linkname).resolve().is_relative_to(top)
    else:
        inside = member.isfile() or member.isdir()
    if not inside or not target.is_relative_to(top) or name.is_symlink():
        raise InputError(f"the droplet holds {member.name!r}, which is not allowed")
    member.mode &= 0o755
    member.uid = member.gid = 0
    tar.extract(member, home)
