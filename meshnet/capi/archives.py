"""What users upload: zip and tar files, read entry by entry, hostile until shown otherwise.

Nothing is unpacked here. An archive is refused as soon as an entry could reach outside the
directory it will be unpacked in: absolute names, `..`, links that leave, an entry behind a link,
devices. So is one that would fill a disk: its size unpacked is counted while it is read.
"""

from __future__ import annotations

import gzip
import io
import stat
import tarfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, BinaryIO, Literal

from meshnet.model.errors import InputError

MAX_UNPACKED_BYTES, MAX_FILES = 4 * 1024**3, 200_000
_MAX_NAME, _MAX_PART, _MAX_HEADER = 4096, 255, 1024 * 1024
_MAX_ZIP_DIRECTORY = 64 * 1024**2
_BLOCK = 1024 * 1024
# Others take an archive's word for how much memory they need.
_COMPRESSIONS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
HOME = "/home/vcap/"  # where a droplet is unpacked
_HEADERS = (
    *(tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE),
    *(tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK),
)


class BadArchive(InputError):
    """It is no archive, or one that is refused; the text says why."""


@dataclass(frozen=True)
class Entry:
    """One entry, to be read before the next one is asked for.

    Attributes:
        name: relative, without `./`, without a slash at the end.
        target: where a link leads; a hard link's is a name in the archive.
        content: a file's bytes.
    """

    name: str
    kind: Literal["file", "directory", "symlink", "hardlink"]
    mode: int = 0o755
    size: int = 0
    target: str = ""
    content: Content = field(default_factory=lambda: Content(io.BytesIO()))


class Content:
    """A file's bytes, of which reading may yet show that the archive is broken."""

    def __init__(self, source: IO[bytes]) -> None:
        self._source = source

    def read(self, size: int = -1) -> bytes:
        """As a file's read. Raises BadArchive."""
        with _reading("whole archive"):
            return self._source.read(size)


@contextmanager
def _reading(what: str) -> Iterator[None]:
    try:
        yield
    except BadArchive:
        raise
    except MemoryError:
        raise
    # A hostile archive makes tarfile and zipfile raise nearly anything, RecursionError included.
    except Exception as exc:
        raise BadArchive(f"it is no {what}: {exc}") from exc


def tar_entries(path: Path, home: str = "") -> Iterator[Entry]:
    """A gzipped tar, to its end, so that its checksum counts. Raises BadArchive.

    Args:
        home: symbolic links may lead there by absolute paths; "" = nowhere.
    """
    with _reading("gzipped tar"), gzip.open(path) as unpacked:
        stream = _Bounded(unpacked)
        yield from _checked(_tar(stream), home)
        while stream.read(_BLOCK):
            pass


def package_entries(path: Path) -> Iterator[Entry]:
    """A zip, a gzipped tar or a tar. Raises BadArchive."""
    with path.open("rb") as file:
        magic = file.read(4)
    if magic[:2] == b"\x1f\x8b":
        yield from tar_entries(path)
    elif magic[:2] == b"PK":
        with _reading("zip"):
            yield from _checked(_zip(path))
    else:
        with _reading("zip or tar"), path.open("rb") as file:
            yield from _checked(_tar(_Bounded(file)))


def check_package(path: Path) -> None:
    """Read a package to its end. Raises BadArchive where it is none, is refused, or is empty."""
    empty = True
    for entry in package_entries(path):
        empty = False
        while entry.content.read(_BLOCK):
            pass
    if empty:
        raise BadArchive("it is empty")


class _Bounded:
    """A stream that gives up when it has given more than may be unpacked."""

    def __init__(self, source: BinaryIO | gzip.GzipFile | IO[bytes]) -> None:
        self._source, self._left = source, MAX_UNPACKED_BYTES

    def read(self, size: int = -1) -> bytes:
        data = self._source.read(_BLOCK if size < 0 else size)
        self._left -= len(data)
        if self._left < 0:
            raise _too_much()
        return data


class _SmallHeaders(tarfile.TarInfo):
    """An entry whose name takes no gigabytes: tarfile reads such headers into memory."""

    def _proc_member(self, archive: tarfile.TarFile) -> tarfile.TarInfo:
        if self.type in _HEADERS and self.size > _MAX_HEADER:
            raise BadArchive("an entry's header is too large")
        member: tarfile.TarInfo = super()._proc_member(archive)  # type: ignore[misc]
        return member


def _tar(stream: _Bounded) -> Iterator[Entry]:
    with tarfile.open(fileobj=stream, mode="r|", tarinfo=_SmallHeaders) as archive:  # type: ignore[call-overload]
        for member in archive:
            mode = member.mode & 0o777
            if member.isfile():
                content = archive.extractfile(member) or io.BytesIO()
                yield Entry(member.name, "file", mode, member.size, content=Content(content))
            elif member.isdir():
                yield Entry(member.name, "directory", mode)
            elif member.issym():
                yield Entry(member.name, "symlink", target=member.linkname)
            elif member.islnk():
                yield Entry(member.name, "hardlink", target=member.linkname)
            else:
                raise BadArchive(f"{_shown(member.name)} is neither file, directory nor link")


def _zip(path: Path) -> Iterator[Entry]:
    with path.open("rb") as file:
        # zipfile would read the whole directory into memory before anything can be counted.
        end = zipfile._EndRecData(file)  # type: ignore[attr-defined]
        if end is not None and end[zipfile._ECD_SIZE] > _MAX_ZIP_DIRECTORY:  # type: ignore[attr-defined]
            raise _too_much()
        with zipfile.ZipFile(file) as archive:
            for info in archive.infolist():
                if info.flag_bits & 1:
                    raise BadArchive(f"{_shown(info.filename)} is encrypted")
                if info.compress_type not in _COMPRESSIONS:
                    raise BadArchive(f"{_shown(info.filename)} is not compressed by «deflate»")
                yield from _zipped(archive, info)


def _zipped(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Iterator[Entry]:
    unix = info.external_attr >> 16
    kind, mode = stat.S_IFMT(unix), unix & 0o777
    if info.is_dir() or kind == stat.S_IFDIR:
        yield Entry(info.filename, "directory", mode or 0o755)
    elif kind == stat.S_IFLNK:
        with archive.open(info) as content:
            target = content.read(_MAX_NAME + 1).decode()
        yield Entry(info.filename, "symlink", target=target)
    elif kind in (0, stat.S_IFREG):
        with archive.open(info) as content:
            size, bits = info.file_size, Content(content)
            yield Entry(info.filename, "file", mode or 0o644, size, content=bits)
    else:
        raise BadArchive(f"{_shown(info.filename)} is neither file, directory nor link")


def _checked(entries: Iterator[Entry], home: str = "") -> Iterator[Entry]:
    """The entries, cleaned. Raises BadArchive at the first that is not allowed."""
    size, kinds = 0, dict[str, str]()
    for count, entry in enumerate(entries):
        size += entry.size
        if size > MAX_UNPACKED_BYTES or count >= MAX_FILES:
            raise _too_much()
        name = _clean(entry.name)
        if not name:
            continue  # the archive's own top
        _check_place(name, entry, kinds)
        kinds[name] = entry.kind
        yield replace(entry, name=name, target=_target(name, entry, kinds, home))


def _clean(name: str) -> str:
    parts = name.split("/")
    if name.startswith("/") or ".." in parts or "\\" in name or "\0" in name:
        raise BadArchive(f"{_shown(name)} leaves the archive")
    if len(name) > _MAX_NAME or any(
        len(part.encode("utf-8", "surrogateescape")) > 255 for part in parts
    ):
        raise BadArchive(f"{_shown(name)} is too long a name")
    return "/".join(part for part in parts if part not in ("", "."))


def _check_place(name: str, entry: Entry, kinds: dict[str, str]) -> None:
    if name in kinds and not kinds[name] == entry.kind == "directory":
        raise BadArchive(f"{_shown(name)} is there twice")
    parts = name.split("/")
    for length in range(1, len(parts)):
        above = "/".join(parts[:length])
        if kinds.setdefault(above, "directory") != "directory":
            raise BadArchive(f"{_shown(name)} lies behind a link or a file")


def _target(name: str, entry: Entry, kinds: dict[str, str], home: str) -> str:
    """A link's target. No `..` after a name: that name may be a link, which only a disk knows."""
    if entry.kind == "hardlink":
        target = _clean(entry.target)
        if kinds.get(target) != "file":
            raise BadArchive(
                f"{_shown(name)} links to {_shown(target)}, which is no file before it"
            )
        return target
    if entry.kind == "symlink":
        parts = [part for part in entry.target.split("/") if part not in ("", ".")]
        up = sum(part == ".." for part in parts)
        leaves = up > name.count("/") or ".." in parts[up:] or "\0" in entry.target
        if entry.target.startswith("/"):
            leaves = not (home and entry.target.startswith(home)) or ".." in parts
        if leaves or not 0 < len(entry.target) <= _MAX_NAME:
            raise BadArchive(f"{_shown(name)} links to {_shown(entry.target)}, which is outside")
    return entry.target


def _too_much() -> BadArchive:
    return BadArchive(f"it holds more than {MAX_FILES} files or {MAX_UNPACKED_BYTES} bytes")


def _shown(name: str) -> str:
    return repr(name if len(name) <= 100 else name[:100] + "…")
