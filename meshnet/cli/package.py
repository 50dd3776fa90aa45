"""Packages: a directory as `cf push` uploads it, a zip, without what `.cfignore` names."""

from __future__ import annotations

import os
import stat
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from pathspec import GitIgnoreSpec

from meshnet.model.errors import InputError

# As the Cloud Controller's own limits, but found out before everything is read.
MAX_BYTES, MAX_FILES = 1024**3, 200_000
IGNORE_FILE = ".cfignore"
# cf's own, and what Python leaves behind wherever it runs.
_LEFT_OUT = (
    *(IGNORE_FILE, ".DS_Store", ".git", ".gitignore", ".hg", ".svn", "_darcs"),
    *("manifest.yaml", "manifest.yml", "__pycache__"),
)
_UNIX = 3


def pack(path: Path, command: str = "") -> IO[bytes]:
    """A package: a zip with the directory's content, or the zip that is there already.

    Args:
        command: a program of the directory that it names must be there.

    Raises:
        InputError: the directory is missing, empty or too large, or the program is not there.
    """
    try:
        if check(path):
            return path.open("rb")
        _check_program(path, command)
        return _zip(path)
    except OSError as exc:
        raise InputError(f"cannot read {exc.filename or path}: {exc.strerror}") from exc


def check(path: Path) -> bool:
    """Whether a path is a zip already; else it is a directory with something in it.

    Raises:
        InputError: it is neither.
        OSError: it cannot be looked at.
    """
    if path.is_file() and zipfile.is_zipfile(path):
        return True
    if not path.is_dir():
        raise InputError(f"{path} is not a directory and no zip: name the app's with -p")
    if not any(path.iterdir()):
        raise InputError(f"{path} is empty: there is nothing to push")
    return False


def _check_program(directory: Path, command: str) -> None:
    program = next(iter(command.split()), "")
    if program.startswith("./") and not (directory / program).exists():
        raise InputError(f"the start command's program {program} is not in {directory}")


def _zip(directory: Path) -> IO[bytes]:
    file: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 (the caller closes it)
    size = 0
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        count = -1
        for count, (path, status) in enumerate(_members(directory)):
            size += status.st_size * stat.S_ISREG(status.st_mode)
            if size > MAX_BYTES or count >= MAX_FILES:
                limit = f"{MAX_BYTES >> 20} MiB or {MAX_FILES} files"
                raise InputError(
                    f"{directory} holds more than {limit}: name the app's own directory"
                )
            _add(archive, directory, path, status)
        if count < 0:
            raise InputError(f"{directory} holds nothing to push but what is ignored")
    file.seek(0)
    return file


def _members(directory: Path) -> Iterator[tuple[Path, os.stat_result]]:
    """Files, directories and symbolic links; a pipe or a device is no part of an app."""
    ignored = _ignored(directory)
    for parent, directories, names in os.walk(directory):
        # As in git: nothing below a directory that is ignored comes back by a later `!`.
        top = Path(parent).relative_to(directory)
        directories[:] = sorted(d for d in directories if not ignored(f"{top / d}/"))
        for name in [*directories, *sorted(n for n in names if not ignored(f"{top / n}"))]:
            path = Path(parent, name)
            status = path.lstat()
            kinds = (stat.S_ISREG, stat.S_ISDIR, stat.S_ISLNK)
            if any(kind(status.st_mode) for kind in kinds):
                yield path, status


def _ignored(directory: Path) -> Callable[[str], bool]:
    """What says whether a path below the directory (of a directory: with a slash) is left out.

    Raises:
        InputError: a line of its `.cfignore` is no pattern.
    """
    path, lines = directory / IGNORE_FILE, list[str]()
    if path.is_file():
        lines = path.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    try:
        return GitIgnoreSpec.from_lines((*_LEFT_OUT, *lines)).match_file
    except ValueError as exc:
        raise InputError(f"{path} names no patterns as .gitignore does: {exc}") from exc


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
