"""Mounts come and go; a path with blanks is no trouble."""

from __future__ import annotations

from pathlib import Path

import pytest

from meshnet.kernel import mounts
from meshnet.model.errors import NotFound

pytestmark = pytest.mark.sudo


def test_a_read_only_bind_shows_the_source_and_takes_no_writes(tmp_path: Path) -> None:
    source, target = tmp_path / "source dir", tmp_path / "target dir"
    source.mkdir()
    target.mkdir()
    (source / "file").write_text("x")
    mounts.bind(source, target, read_only=True)
    try:
        assert mounts.mounted(target) and (target / "file").read_text() == "x"
        with pytest.raises(OSError, match="Read-only"):
            (target / "file").write_text("y")
    finally:
        mounts.unmount(target)
    assert not mounts.mounted(target) and list(target.iterdir()) == []
    with pytest.raises(NotFound):
        mounts.unmount(target)


def test_below_lists_deepest_first(tmp_path: Path) -> None:
    mounts.tmpfs(tmp_path / "a", size_bytes=1 << 20)
    mounts.bpffs(tmp_path / "a" / "bpf")
    try:
        assert mounts.below(tmp_path) == [tmp_path / "a" / "bpf", tmp_path / "a"]
    finally:
        for path in mounts.below(tmp_path):
            mounts.unmount(path)
    assert mounts.below(tmp_path) == []
