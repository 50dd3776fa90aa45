"""The virtual machine's files: the scripts are clean, the Vagrantfile is one."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = sorted(
    path
    for folder in ("vagrant", "netns_lab", "tests/lab")
    for path in (ROOT / folder).glob("*.sh")
)


@pytest.mark.parametrize("script", [*SCRIPTS, ROOT / ".ci/run"], ids=lambda path: path.name)
def test_scripts_are_clean(script: Path) -> None:
    done = subprocess.run(["shellcheck", str(script)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    assert os.access(script, os.X_OK)


def validate(directory: Path, *args: str, **env: str) -> subprocess.CompletedProcess[str]:
    variables = {"VAGRANT_CHECKPOINT_DISABLE": "1", "VAGRANT_HOME": str(directory / "home")}
    return subprocess.run(
        ["vagrant", "validate", *args], capture_output=True, text=True, cwd=directory / "vagrant",
        env={**os.environ, **variables, **env},
    )  # fmt: skip


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    shutil.copytree(ROOT / "vagrant", tmp_path / "vagrant",
                    ignore=shutil.ignore_patterns("wheels", ".vagrant"))  # fmt: skip
    return tmp_path


def test_the_vagrantfile_is_valid(tree: Path) -> None:
    done = validate(tree, "-p")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "change", [("provision.sh", "gone.sh"), ("forwarded_port", "no_such_kind")]
)
def test_a_fault_in_it_would_be_found(tree: Path, change: tuple[str, str]) -> None:
    file = tree / "vagrant" / "Vagrantfile"
    file.write_text(file.read_text().replace(*change))
    assert validate(tree, "-p").returncode != 0


def test_settings_that_make_no_sense_are_refused(tree: Path) -> None:
    assert validate(tree, "-p", LAB_MEMORY="4096", LAB_PORT="9000").returncode == 0
    assert validate(tree, "-p", LAB_PORT="many").returncode != 0
