"""One text per program, and a hash that follows every byte of it."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from meshnet.kernel.bpf import compile as compiler
from meshnet.kernel.bpf.source import HOOKS, SOURCES, content_hash, expand
from meshnet.model.errors import PlatformError


def test_every_file_is_a_hook_and_every_hook_a_file():
    assert {path.stem for path in SOURCES.glob("*.c")} == {hook.name for hook in HOOKS}
    for hook in HOOKS:
        text = expand(hook.name)
        assert re.search(rf"^int {hook.name}\(", text, re.MULTILINE)
        assert '#include "' not in text
        assert text.count("struct flow_key {") == 1


def test_the_hash_follows_every_header(tmp_path: Path):
    copy = tmp_path / "bpf"
    shutil.copytree(SOURCES, copy)
    assert content_hash(copy) == content_hash()
    for header in sorted((copy / "include").iterdir()):
        before = content_hash(copy)
        header.write_text(header.read_text() + "\n")
        assert content_hash(copy) != before, header.name


def test_a_full_cache_is_left_alone(tmp_path: Path, monkeypatch):
    target = compiler.compiled_file(tmp_path)
    target.parent.mkdir()
    target.write_text("{}")
    monkeypatch.setattr(compiler, "_compile", lambda name: pytest.fail("compiled again"))
    compiler.ensure_compiled(tmp_path)
    assert target.read_text() == "{}"


def test_a_failed_compilation_leaves_nothing(tmp_path: Path, monkeypatch):
    def fail(name: str):
        raise PlatformError("no")

    monkeypatch.setattr(compiler, "_compile", fail)
    with pytest.raises(PlatformError):
        compiler.ensure_compiled(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["lock"]


@pytest.mark.parametrize(
    ("stderr", "text"),
    [("ModuleNotFoundError: No module named 'bcc'", "python3-bpfcc"),
     ("x\n<built-in>: './include/linux/kconfig.h' file not found", "kernel headers"),
     ("a\n/virtual/main.c:3:1: error: expected ';'\nTraceback", "main.c:3:1: error: expected ';'")],
)  # fmt: skip
def test_reasons(stderr, text):
    assert text in compiler._reason(stderr)
