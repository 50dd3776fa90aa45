"""Droplets: a pushed directory as the Cloud Controller takes it."""

from __future__ import annotations

import io
import os
import stat
import tarfile
from pathlib import Path

from meshnet.model.errors import InputError

# As the Cloud Controller's own limits, but found out before everything is read.
MAX_BYTES, MAX_FILES = 1024**3, 200_000
_LEFT_OUT = {"__pycache__", ".git"}


def pack(directory: Path, command: str) -> bytes:
    """A droplet: a gzipped tar with the directory's content in app/.

    Raises:
        InputError: the directory is missing, empty or too large, or the command names a file in it
            that is not there.
    """
    try:
        if not directory.is_dir():
            raise InputError(f"{directory} is not a directory: name the app's with -p")
        if not any(directory.iterdir()):
            raise InputError(f"{directory} is empty: there is nothing to push")
        _check_size(directory)
        return _archive(directory, command)
    except OSError as exc:
        raise InputError(f"cannot read {exc.filename or directory}: {exc.strerror}") from exc


def _check_size(directory: Path) -> None:
    size = count = 0
    for parent, directories, names in os.walk(directory):
        directories[:] = [name for name in directories if name not in _LEFT_OUT]
        for name in names:
            status = os.lstat(os.path.join(parent, name))
            size, count = size + status.st_size * stat.S_ISREG(status.st_mode), count + 1
        if size > MAX_BYTES or count > MAX_FILES:
            limit = f"{MAX_BYTES >> 20} MiB or {MAX_FILES} files"
            raise InputError(f"{directory} holds more than {limit}: name the app's own directory")


def _archive(directory: Path, command: str) -> bytes:
    words = command.split()
    if not words:
        raise InputError("the start command is empty: give one with -c")
    if words[0].startswith("./") and not (directory / words[0]).exists():
        raise InputError(f"the start command's program {words[0]} is not in {directory}")
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz", compresslevel=1) as archive:
        archive.add(directory, "app", filter=_plain)
    return buffer.getvalue()


def _plain(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
    parts = Path(member.name).parts
    if _LEFT_OUT & set(parts):
        return None
    if not (member.isfile() or member.isdir() or member.issym() or member.islnk()):
        return None  # a pipe or a device is no part of an app
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    return member
