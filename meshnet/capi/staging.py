"""What becomes of uploaded bits: droplets are looked into, packages are staged to droplets.

Staging is the binary buildpack's: the package's content becomes the droplet's `app/`, and start
commands come from its Procfile. The functions block on files: call them in a thread.
"""

from __future__ import annotations

import io
import json
import re
import tarfile
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from meshnet.capi.app_records import WEB
from meshnet.capi.archives import HOME, BadArchive, Content, Entry, package_entries, tar_entries

BINARY, STACK = "binary_buildpack", "cflinuxfs4"
MAX_COMMAND = 4096
_MAX_TEXT = 64 * 1024
_PROCESS_TYPE = re.compile(r"([A-Za-z0-9_-]{1,255}):[ \t]*(\S.*)\Z")
# As the buildpack lifecycle leaves them beside app/ (cloudfoundry/buildpackapplifecycle).
_BESIDE = ("deps", "logs", "profile.d", "tmp")


@dataclass(frozen=True)
class Contents:
    """What a droplet says about itself: start commands by process type, and its buildpack."""

    process_types: dict[str, str] = field(default_factory=dict)
    detected_buildpack: str | None = None


def look_into(droplet: Path) -> Contents:
    """Check a droplet: a gzipped tar with something in app/.

    The start command is staging_info.yml's, else the one of app/Procfile.

    Raises:
        BadArchive: it is none, or would reach outside or fill the disk of a cell.
    """
    found, texts = False, dict[str, str]()
    for entry in tar_entries(droplet, HOME):
        found = found or entry.name.startswith("app/")
        if entry.name in ("staging_info.yml", "app/Procfile"):
            texts[entry.name] = _text(entry)
    if not found:
        raise BadArchive("it holds no file in app/")
    types = procfile(texts.get("app/Procfile", ""))
    info = _staging_info(texts.get("staging_info.yml", ""))
    if command := info.get("start_command"):
        types[WEB] = command
    return Contents(types, info.get("detected_buildpack"))


def stage(package: Path, droplet: Path) -> Contents:
    """Write the droplet of a package.

    Raises:
        BadArchive: the package is no archive, or one that is refused.
        OSError: the droplet cannot be written.
    """
    contents, empty = Contents(detected_buildpack="binary"), True
    with tarfile.open(droplet, "w:gz", compresslevel=1) as target:
        for name in ("app", *_BESIDE):
            _directory(target, name)
        for entry in package_entries(package):
            empty = False
            if entry.name == "Procfile" and entry.kind == "file":
                text = _text(entry)
                contents.process_types.update(procfile(text))
                data = text.encode("utf-8", "surrogateescape")
                entry = Entry(entry.name, "file", entry.mode, len(data), "", _held(data))
            _add(target, "app/", entry)
        if empty:
            raise BadArchive("it is empty")
        info = {
            "detected_buildpack": "binary",
            "start_command": contents.process_types.get(WEB, ""),
        }
        data = json.dumps(info).encode()
        _add(target, "", Entry("staging_info.yml", "file", 0o644, len(data), "", _held(data)))
    return contents


def procfile(text: str) -> dict[str, str]:
    """Process type to start command; lines that are none are left out, as by buildpacks."""
    found = {}
    for line in text.splitlines():
        if (match := _PROCESS_TYPE.match(line.strip())) and _can_be_started(match[2]):
            found[match[1]] = match[2]
    return found


def _can_be_started(command: str) -> bool:
    return len(command) <= MAX_COMMAND and command.isprintable()


def _staging_info(text: str) -> dict[str, str]:
    """staging_info.yml, which is JSON as a rule; what is not as it should be is not there."""
    try:
        info = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError):
        return {}
    wanted = ("start_command", "detected_buildpack")
    given = {key: info.get(key) for key in wanted} if isinstance(info, dict) else {}
    return {k: v for k, v in given.items() if isinstance(v, str) and v and _can_be_started(v)}


def _text(entry: Entry) -> str:
    if entry.size > _MAX_TEXT:
        raise BadArchive(f"{entry.name} is larger than {_MAX_TEXT} bytes")
    return entry.content.read().decode("utf-8", "surrogateescape")


def _held(data: bytes) -> Content:
    return Content(io.BytesIO(data))


def _directory(target: tarfile.TarFile, name: str) -> None:
    member = tarfile.TarInfo(name)
    member.type, member.mode = tarfile.DIRTYPE, 0o755
    target.addfile(member)


def _add(target: tarfile.TarFile, top: str, entry: Entry) -> None:
    member = tarfile.TarInfo(top + entry.name)
    member.mode = entry.mode
    if entry.kind == "file":
        member.size = entry.size
        target.addfile(member, entry.content)
        return
    kinds = {
        "directory": tarfile.DIRTYPE,
        "symlink": tarfile.SYMTYPE,
        "hardlink": tarfile.LNKTYPE,
    }
    member.type = kinds[entry.kind]
    member.linkname = top + entry.target if entry.kind == "hardlink" else entry.target
    target.addfile(member)


def supported(buildpacks: Iterable[str]) -> bool:
    """Whether a build with these buildpacks is the binary buildpack's."""
    names = {name.rpartition("/")[2].removesuffix(".git").replace("-", "_") for name in buildpacks}
    return names <= {BINARY}
