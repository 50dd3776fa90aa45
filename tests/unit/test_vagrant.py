"""The virtual machine's files: the scripts are clean, the Vagrantfile is one for each provider."""

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
# VirtualBox is in no Debian; Vagrant checks that provider's settings where this answers.
VBOXMANAGE = '#!/bin/sh\n[ "$1" != --version ] || echo 7.0.20r163906\n'


@pytest.mark.parametrize("script", [*SCRIPTS, ROOT / ".ci/run"], ids=lambda path: path.name)
def test_scripts_are_clean(script: Path) -> None:
    done = subprocess.run(["shellcheck", str(script)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    assert os.access(script, os.X_OK)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    ignore = shutil.ignore_patterns("wheels", ".vagrant")
    shutil.copytree(ROOT / "vagrant", tmp_path / "vagrant", ignore=ignore)
    stand_in = tmp_path / "bin" / "VBoxManage"
    stand_in.parent.mkdir()
    stand_in.write_text(VBOXMANAGE)
    stand_in.chmod(0o755)
    return tmp_path


def validate(tree: Path, provider: str = "libvirt", **env: str) -> tuple[int, str]:
    """Status and words of `vagrant validate`, with the settings of `provider` looked at."""
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("LAB_", "VAGRANT_"))}
    variables = {
        "VAGRANT_CHECKPOINT_DISABLE": "1",
        "VAGRANT_HOME": str(tree / "home"),
        "VAGRANT_DEFAULT_PROVIDER": provider,
        "PATH": f"{tree / 'bin'}:{os.environ['PATH']}",
    }
    done = subprocess.run(
        ["vagrant", "validate"], capture_output=True, text=True, cwd=tree / "vagrant",
        env={**inherited, **variables, **env},
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr


def change(tree: Path, old: str, new: str) -> None:
    file = tree / "vagrant" / "Vagrantfile"
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


@pytest.mark.parametrize("provider", ["libvirt", "virtualbox"])
def test_the_vagrantfile_is_valid(tree: Path, provider: str) -> None:
    status, words = validate(tree, provider)
    assert status == 0, words


def test_it_is_valid_for_emulation(tree: Path) -> None:
    status, words = validate(tree, LAB_VIRT="qemu", LAB_MEMORY="2048", LAB_PORT="9000")
    assert status == 0, words


@pytest.mark.parametrize(
    ("provider", "old", "new"),
    [
        ("libvirt", "provision.sh", "gone.sh"),
        ("libvirt", "forwarded_port", "no_such_kind"),
        ("libvirt", "libvirt.memory", "libvirt.no_such_setting"),
        ("virtualbox", "virtualbox.memory", "virtualbox.no_such_setting"),
    ],
)
def test_a_fault_in_it_would_be_found(tree: Path, provider: str, old: str, new: str) -> None:
    change(tree, old, new)
    status, words = validate(tree, provider)
    assert status != 0
    assert new.rpartition(".")[2] in words or new in words


def test_settings_that_make_no_sense_are_refused(tree: Path) -> None:
    status, words = validate(tree, LAB_PORT="many")
    assert status != 0
    assert '"many"' in words


def test_what_is_forwarded_is_on_loopback_only() -> None:
    lines = (ROOT / "vagrant" / "Vagrantfile").read_text().splitlines()
    forwarded = [line for line in lines if '"forwarded_port"' in line]
    assert len(forwarded) == 2
    assert all('host_ip: "127.0.0.1"' in line for line in forwarded)


@pytest.mark.parametrize("arguments", [[], ["a.box", "b.box"]])
def test_a_box_wants_one_file(arguments: list[str]) -> None:
    script = ROOT / "vagrant" / "build-box.sh"
    done = subprocess.run([str(script), *arguments], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (2, "usage: build-box.sh BOX-FILE\n")
