"""Packages: a directory as `cf push` uploads it, a zip."""

from __future__ import annotations

import os
import stat
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from meshnet.model.errors import InputError

# As the Cloud Controller's own limits, but found out before everything is read.
MAX_BYTES, MAX_FILES = 1024**3, 200_000
_LEFT_OUT = {"__pycache__", ".git"}
_UNIX = 3


def pack(path: Path, command: str = "") -> IO[bytes]:
    """A package: a zip with the directory's content, or the zip that is there already.

    Args:
        command: a program of the directory that it names must be there.

    Raises:
        InputError: the directory is missing, empty or too large, or the program is not there.
    """
    try:
        if path.is_file() and zipfile.is_zipfile(path):
            return path.open("rb")
        if not path.is_dir():
            raise InputError(f"{path} is not a directory and no zip: name the app's with -p")
        if not any(path.iterdir()):
            raise InputError(f"{path} is empty: there is nothing to push")
        _check_program(path, command)
        return _zip(path)
    except OSError as exc:
        raise InputError(f"cannot read {exc.filename or path}: {exc.strerror}") from exc


def _check_program(directory: Path, command: str) -> None:
    program = next(iter(command.split()), "")
    if program.startswith("./") and not (directory / program).exists():
        raise InputError(f"the start command's program {program} is not in {directory}")


def _zip(directory: Path) -> IO[bytes]:
    file: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 (the caller closes it)
    size = 0
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for count, (path, status) in enumerate(_members(directory)):
            size += status.st_size * stat.S_ISREG(status.st_mode)
            if size > MAX_BYTES or count >= MAX_FILES:
                limit = f"{MAX_BYTES >> 20} MiB or {MAX_FILES} files"
                raise InputError(
                    f"{directory} holds more than {limit}: name the app's own directory"
                )
            _add(archive, directory, path, status)
    file.seek(0)
    return file


def _members(directory: Path) -> Iterator[tuple[Path, os.stat_result]]:
    """Files, directories and symbolic links; a pipe or a device is no part of an app."""
    for parent, directories, names in os.walk(directory):
        directories[:] = sorted(name for name in directories if name not in _LEFT_OUT)
        for name in [*directories, *sorted(names)]:
            path = Path(parent, name)
            status = path.lstat()
            kinds = (stat.S_ISREG, stat.S_ISDIR, stat.S_ISLNK)
            if name not in _LEFT_OUT and any(kind(status.st_mode) for kind in kinds):
                yield path, status


def _add(archive: zipfile.ZipFile, top: Path, path: Path, status: os.stat_result) -> None:
    name = path.relative_to(top).as_posix()
    directory = stat.S_ISDIR(status.st_mode)
    info = zipfile.ZipInfo(f"{name}/" if directory else name)
    info.create_system, info.external_attr = _UNIX, status.st_mode << 16
    info.compress_type = zipfile.ZIP_DEFLATED
    if directory:
        archive.writestr(info, b"")
    elif stat.S_ISLNK(status.st_mode):
        archive.writestr(info, os.fsencode(path.readlink()))
    else:
        with path.open("rb") as source, archive.open(info, "w") as target:
            while block := source.read(1024 * 1024):
                target.write(block)
