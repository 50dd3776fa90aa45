"""Processes: started where they belong, known beyond doubt, ended politely."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from meshnet.kernel import cgroup, launch, netns, procs
from meshnet.model.errors import InputError, NotFound

pytestmark = pytest.mark.sudo

SLEEP = ["sleep", "60"]
STUBBORN = [
    sys.executable,
    "-Sc",
    "import signal, time; signal.signal(15, signal.SIG_IGN); print('up', flush=True);"
    "time.sleep(60)",
]


@pytest.fixture
def place() -> Iterator[str]:
    name = f"b-pr-{os.getpid()}"
    netns.create(name)
    cgroup.create(f"/{name}")
    yield name
    cgroup.kill(f"/{name}")
    cgroup.remove(f"/{name}")
    netns.delete(name)


def output(log: Path, wanted: str) -> str:
    deadline = time.monotonic() + 5
    while wanted not in (text := log.read_text()) and time.monotonic() < deadline:
        time.sleep(0.01)
    return text


def test_it_runs_in_the_namespace_and_group_as_the_user(place: str, tmp_path: Path) -> None:
    group, log = cgroup.directory(f"/{place}"), tmp_path / "log"
    show = (
        "readlink /proc/self/ns/net; grep ^0:: /proc/self/cgroup; id; grep CapEff /proc/$$/status"
    )
    with procs.start(
        ["/bin/sh", "-c", show], log=log, netns=netns.path(place), cgroups=[group], uid=60001
    ) as process:
        assert process.wait(5) and process.exit_status() == 0
    inode = os.stat(netns.path(place)).st_ino
    assert log.read_text().splitlines() == [
        f"net:[{inode}]",
        f"0::/{place}",
        "uid=60001 gid=60001 groups=60001",
        "CapEff:\t0000000000000000",
    ]


def test_resolv_conf_is_its_own(place: str, tmp_path: Path) -> None:
    mine, log = tmp_path / "resolv.conf", tmp_path / "log"
    mine.write_text("nameserver 10.0.16.2\n")
    before = Path("/etc/resolv.conf").read_text()
    line = ["cat", "/etc/resolv.conf"]
    with procs.start(line, log=log, netns=netns.path(place), resolv_conf=mine) as process:
        assert process.wait(5)
    assert log.read_text() == mine.read_text()
    assert Path("/etc/resolv.conf").read_text() == before


def test_the_launcher_says_what_failed(place: str) -> None:
    line = launch.argv(["true"], netns=netns.path(place))
    assert subprocess.run(line).returncode == 0
    for command, options, status, text in (
        (["true"], {"netns": "/run/netns/b-absent"}, 125, "b-absent"),
        (["b-absent"], {}, 127, "command not found"),
        (["/etc/passwd"], {}, 126, "Permission denied"),
        (["true"], {"cgroups": ["/sys/fs/cgroup/b-absent"]}, 125, "b-absent"),
    ):
        done = subprocess.run(launch.argv(command, **options), capture_output=True, text=True)  # type: ignore[arg-type]
        assert (done.returncode, text in done.stderr) == (status, True), done.stderr


def test_options_of_the_command_stay_its_own() -> None:
    line = launch.argv(["echo", "--uid", "7", "--", "-x"])
    done = subprocess.run(line, capture_output=True, text=True)
    assert done.stdout == "--uid 7 -- -x\n"


def test_stop_is_polite_first_and_final_then(tmp_path: Path) -> None:
    with procs.start(SLEEP) as process:
        assert process.stop(5)
        assert process.exit_status() == -signal.SIGTERM
    log = tmp_path / "log"
    with procs.start(STUBBORN, log=log) as process:
        output(log, "up")
        assert not process.stop(0.1)
        assert process.exit_status() == -signal.SIGKILL
        assert not procs.alive(process.identity)


def test_an_identity_outlives_the_watcher_but_not_the_process() -> None:
    with procs.start(SLEEP) as process:
        with procs.adopt(process.identity) as second:
            assert second.running() and second.pid == process.pid
            impostor = procs.Identity(process.pid, process.identity.start_time + 1)
            assert not procs.kill(impostor) and process.running()
            with pytest.raises(NotFound):
                procs.adopt(impostor)
            assert procs.kill(process.identity)
            assert second.wait(5) and second.exit_status() is None
        assert process.wait(5) and process.exit_status() == -signal.SIGKILL
        assert not procs.kill(process.identity)


def test_closing_lets_it_run() -> None:
    process = procs.start(SLEEP)
    who = process.identity
    process.close()
    assert procs.alive(who)
    procs.kill(who)
    os.waitpid(who.pid, 0)


def test_a_missing_program_is_the_callers_mistake(tmp_path: Path) -> None:
    fds = len(os.listdir("/proc/self/fd"))
    with pytest.raises(InputError, match="b-absent"):
        procs.start(["b-absent"])
    with pytest.raises(InputError, match="nowhere"):
        procs.start(SLEEP, log=tmp_path / "nowhere" / "log")
    assert len(os.listdir("/proc/self/fd")) == fds
