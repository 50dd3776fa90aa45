"""What one daemon or one file cannot do must not end the supervisor: every daemon would end too."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Awaitable
from pathlib import Path
from typing import Any

import pytest

from meshnet.kernel import cgroup, procs
from meshnet.model.errors import InputError
from netns_lab import paths as lab_paths
from netns_lab import supervisor
from netns_lab.paths import Paths
from netns_lab.supervisor import Supervisor, Watched

SOON = 0.5


@pytest.fixture
def paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Paths:
    monkeypatch.setattr(lab_paths, "RUN", tmp_path)
    monkeypatch.setattr(cgroup, "create", lambda path: tmp_path)
    made = Paths("none")
    for directory in (made.log, made.run / "sock"):
        directory.mkdir(parents=True)
    return made


async def goes_on(work: Awaitable[Any]) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(SOON):
            await work


def test_a_log_that_goes_while_it_is_looked_at(paths: Paths) -> None:
    (paths.log / "gone.log").symlink_to("nowhere")
    large = paths.log / "large.log"
    large.touch()
    with large.open("r+b") as file:
        file.truncate(supervisor.MAX_LOG_BYTES + 1)
    asyncio.run(goes_on(Supervisor(paths, []).cap_logs()))
    assert large.stat().st_size == 0


def test_a_daemon_that_cannot_be_started_is_tried_again(
    paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    def start(*args: object, **options: object) -> procs.Process:
        raise InputError("cannot start python: Cannot allocate memory")

    monkeypatch.setattr(procs, "start", start)
    daemon = Watched("control.bbs", "bbs", "n", paths.run / "c.json", paths.run / "l")
    asyncio.run(goes_on(Supervisor(paths, [daemon]).keep(daemon)))
    assert daemon.restarts >= 2


def test_a_daemon_that_was_killed_is_not_ready_however_late_its_end_is_noticed(
    tmp_path: Path,
) -> None:
    watched = Watched("x.capi", "capi", "x", tmp_path / "x.json", tmp_path / "x.log")
    assert not watched.row()["ready"]
    with procs.start(["sleep", "60"]) as process:
        watched.process, watched.pid, watched.ready = process, process.pid, True
        assert watched.row()["ready"] and watched.row()["pid"] == process.pid
        os.kill(process.pid, signal.SIGKILL)
        assert process.wait(10)
        row = watched.row()
        assert not row["ready"] and row["pid"] == process.pid
        process.exit_status()
