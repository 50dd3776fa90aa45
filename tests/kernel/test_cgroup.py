"""Control groups: made, killed whole and removed from every hierarchy."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from meshnet.kernel import cgroup, procs
from meshnet.model.errors import InputError, KernelError, NotFound

pytestmark = pytest.mark.sudo

# A process that forks a child of its own and waits.
FAMILY = [sys.executable, "-S", "-c", "import os, time; os.fork(); time.sleep(60)"]


@pytest.fixture
def path() -> Iterator[str]:
    top = f"/b-cg-{os.getpid()}"
    cgroup.create(top)
    yield top
    if cgroup.exists(top):
        cgroup.kill(top)
        cgroup.remove(top)


def wait_for(count: int, path: str) -> list[int]:
    deadline = time.monotonic() + 5
    while len(found := cgroup.pids(path)) != count and time.monotonic() < deadline:
        time.sleep(0.01)
    return found


def test_create_makes_parents_and_can_be_repeated(path: str) -> None:
    assert cgroup.create(f"{path}/a/b") == cgroup.create(f"{path}/a/b")
    assert cgroup.exists(f"{path}/a") and not cgroup.populated(path)


def test_the_root_and_climbing_paths_are_refused() -> None:
    for bad in ("/", "meshnet", "/a/../b", "", "/a/./b"):
        with pytest.raises(InputError):
            cgroup.directory(bad)


def test_kill_ends_the_whole_tree_and_remove_leaves_nothing(path: str) -> None:
    inner = cgroup.create(f"{path}/a/b")
    with procs.start(FAMILY, cgroups=[inner]) as process:
        assert process.pid in wait_for(2, path)
        assert cgroup.pids(path, recursive=False) == []
        assert cgroup.populated(path)
        cgroup.kill(path)
        assert process.wait(2) and process.exit_status() == -signal.SIGKILL
    assert cgroup.wait_empty(path, 2)
    cgroup.remove(path)
    assert not cgroup.exists(path)
    with pytest.raises(NotFound):
        cgroup.remove(path)
    with pytest.raises(NotFound):
        cgroup.kill(path)


def test_a_group_in_use_is_not_removed(path: str) -> None:
    inner = cgroup.create(f"{path}/a")
    with procs.start(FAMILY, cgroups=[inner]):
        wait_for(2, path)
        assert not cgroup.wait_empty(path, 0.05)
        with pytest.raises(KernelError, match="busy"):
            cgroup.remove(path, 0.1)
        cgroup.kill(path)


def test_directories_of_the_same_path_go_from_v1_hierarchies_too(path: str) -> None:
    roots = cgroup.v1_roots()
    for root in roots:
        (root / path.strip("/") / "x").mkdir(parents=True)
    cgroup.remove(path)
    assert not [root for root in roots if (root / path.strip("/")).exists()]


def test_the_v2_mount_is_a_v2_mount() -> None:
    assert (cgroup.v2_root() / "cgroup.controllers").exists()
    kind = subprocess.run(["stat", "-fc", "%T", cgroup.v2_root()], capture_output=True, text=True)
    assert kind.stdout.strip() == "cgroup2fs"
