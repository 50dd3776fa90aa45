"""Packages made of directories, and which API a command talks to."""

from __future__ import annotations

import os
import stat
import zipfile
from pathlib import Path

import pytest

from meshnet.cli import package
from meshnet.cli.client import from_environment
from meshnet.cli.package import pack
from meshnet.model.errors import InputError


def members(path: Path, command: str = "") -> dict[str, int]:
    """Names in a package, and their modes."""
    with pack(path, command) as file, zipfile.ZipFile(file) as archive:
        return {info.filename: info.external_attr >> 16 for info in archive.infolist()}


def test_a_package_holds_the_directory_with_modes_and_links(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "x").write_text("x", encoding="utf-8")
    (tmp_path / "sub" / "x").chmod(0o755)
    (tmp_path / "run").symlink_to("sub/x")
    (tmp_path / "__pycache__").mkdir()
    (tmp_path / "__pycache__" / "y").write_text("y", encoding="utf-8")
    os.mkfifo(tmp_path / "pipe")
    found = members(tmp_path, "./run")
    assert set(found) == {"sub/", "sub/x", "run"}
    assert stat.S_IMODE(found["sub/x"]) == 0o755 and stat.S_ISLNK(found["run"])
    with pack(tmp_path) as file, zipfile.ZipFile(file) as archive:
        assert archive.read("run") == b"sub/x" and archive.read("sub/x") == b"x"


def test_a_zip_is_a_package_already(tmp_path: Path) -> None:
    path = tmp_path / "app.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("app.py", "print()")
    assert set(members(path)) == {"app.py"}


def test_a_command_whose_program_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("x", encoding="utf-8")
    with pytest.raises(InputError, match=r"\./no is not in"):
        pack(tmp_path, "./no")


def test_directories_that_cannot_be_pushed(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is not a directory"):
        pack(tmp_path / "none", "x")
    with pytest.raises(InputError, match="is empty"):
        pack(tmp_path, "x")
    with pytest.raises(InputError, match="cannot read"):
        pack(tmp_path / ("x" * 300), "x")


def test_a_directory_that_is_no_apps_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (tmp_path / "large").open("wb") as file:
        file.truncate(package.MAX_BYTES + 1)
    (tmp_path / "gone").symlink_to("nowhere")
    with pytest.raises(InputError, match="holds more than 1024 MiB"):
        pack(tmp_path, "x")
    (tmp_path / "large").unlink()
    pack(tmp_path, "x")
    monkeypatch.setattr(package, "MAX_FILES", 0)
    with pytest.raises(InputError, match="or 0 files"):
        pack(tmp_path, "x")


def test_what_cfignore_names_and_what_cf_never_uploads_is_left_out(tmp_path: Path) -> None:
    for name in (
        *("app.py", "manifest.yml", ".gitignore", ".DS_Store", "a.log", "keep.log", "ü.tmp"),
        *(".git/config", "sub/.svn/x", "node_modules/a/b.js", "build/x", "build/y", "sub/b.log"),
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x", encoding="utf-8")
    found = {"app.py", "a.log", "keep.log", "ü.tmp", "sub/", "sub/b.log"}
    more = {"node_modules/", "node_modules/a/", "node_modules/a/b.js", "build/", "build/x"}
    assert set(members(tmp_path)) == found | more | {"build/y"}
    lines = "# no logs\n*.log\n!keep.log\nnode_modules/\n/build/*\n!/build/x\n*.tmp\n"
    (tmp_path / ".cfignore").write_text(lines, encoding="utf-8")
    assert set(members(tmp_path)) == {"app.py", "keep.log", "sub/", "build/", "build/x"}


def test_a_cfignore_that_leaves_nothing_or_is_none(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text("x", encoding="utf-8")
    (tmp_path / ".cfignore").write_text("*\n", encoding="utf-8")
    with pytest.raises(InputError, match="nothing to push but what is ignored"):
        pack(tmp_path)
    (tmp_path / ".cfignore").write_text("!\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"\.cfignore names no patterns"):
        pack(tmp_path)


def test_half_an_environment_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CF_API", "CF_USER", "CF_PASSWORD"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("CF_API", "http://127.0.0.1:9")
    with pytest.raises(InputError, match="CF_USER is not set"):
        from_environment()
