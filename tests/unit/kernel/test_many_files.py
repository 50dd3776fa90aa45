"""A process that is watched by one who has thousands of files open."""

from __future__ import annotations

import fcntl
import os
import resource
import subprocess

import pytest

from meshnet.cli import run
from meshnet.kernel import procs


def test_a_process_is_watched_by_whatever_descriptor() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 4096:
        pytest.skip("this machine allows too few open files to tell")
    resource.setrlimit(resource.RLIMIT_NOFILE, (4096, hard))
    try:
        child = subprocess.Popen(["sleep", "60"])
        low = os.pidfd_open(child.pid)
        high = fcntl.fcntl(low, fcntl.F_DUPFD_CLOEXEC, 2000)
        os.close(low)
        with procs.Process(procs.Identity(child.pid, 0), high, child) as process:
            assert process.fileno() >= 2000 and process.running()
            child.kill()
            assert process.wait(10) and not process.running()
            assert process.exit_status() == -9
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize(
    ("hard", "most"), [(524_288, 65_536), (4096, 4096), (resource.RLIM_INFINITY, 65_536)]
)
def test_a_daemon_may_have_as_many_files_as_the_machine_allows(
    monkeypatch: pytest.MonkeyPatch, hard: int, most: int
) -> None:
    asked: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (1024, hard))
    monkeypatch.setattr(resource, "setrlimit", lambda kind, limits: asked.append(limits))
    run._allow_files()
    assert asked == [(most, hard)]
