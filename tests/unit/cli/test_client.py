"""Droplets made of directories, and which API a command talks to."""

from __future__ import annotations

import io
import os
import tarfile
from pathlib import Path

import pytest

from meshnet.cli import droplet
from meshnet.cli.client import from_environment
from meshnet.cli.droplet import pack
from meshnet.model.errors import InputError


def names(bits: bytes) -> set[str]:
    with tarfile.open(fileobj=io.BytesIO(bits), mode="r:gz") as archive:
        return set(archive.getnames())


def test_a_droplet_holds_the_directory_in_app(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "x").write_text("x", encoding="utf-8")
    (tmp_path / "run").symlink_to("sub/x")
    (tmp_path / "__pycache__").mkdir()
    (tmp_path / "__pycache__" / "y").write_text("y", encoding="utf-8")
    os.mkfifo(tmp_path / "pipe")
    bits = pack(tmp_path, "./run")
    assert names(bits) == {"app", "app/sub", "app/sub/x", "app/run"}
    with tarfile.open(fileobj=io.BytesIO(bits), mode="r:gz") as archive:
        assert {(m.uid, m.gid, m.uname) for m in archive} == {(0, 0, "")}


@pytest.mark.parametrize(
    ("command", "says"), [("", "give one with -c"), ("  ", "give one"), ("./no", "./no is not in")]
)
def test_commands_that_cannot_start(tmp_path: Path, command: str, says: str) -> None:
    (tmp_path / "x").write_text("x", encoding="utf-8")
    with pytest.raises(InputError, match=says):
        pack(tmp_path, command)


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
        file.truncate(droplet.MAX_BYTES + 1)
    (tmp_path / "gone").symlink_to("nowhere")
    with pytest.raises(InputError, match="holds more than 1024 MiB"):
        pack(tmp_path, "x")
    (tmp_path / "large").unlink()
    pack(tmp_path, "x")
    monkeypatch.setattr(droplet, "MAX_FILES", 0)
    with pytest.raises(InputError, match="or 0 files"):
        pack(tmp_path, "x")


def test_half_an_environment_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CF_API", "CF_USER", "CF_PASSWORD"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("CF_API", "http://127.0.0.1:9")
    with pytest.raises(InputError, match="CF_USER is not set"):
        from_environment()
