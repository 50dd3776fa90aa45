"""Processes: started in a node's namespace and cgroup, watched by pidfd, ended politely.

A pidfd never points at another process, unlike a number. Across restarts of the watcher a process
is known by its number and its start time together (`Identity`).
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from meshnet.kernel import launch
from meshnet.model.errors import InputError, NotFound


@dataclass(frozen=True)
class Identity:
    """A process beyond doubt: its number and its start time (clock ticks since boot)."""

    pid: int
    start_time: int


def identity(pid: int) -> Identity | None:
    """Who `pid` is now; None when there is no such process or it is a zombie."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The name in parentheses may itself hold blanks and parentheses (proc(5)).
    fields = text.rpartition(")")[2].split()
    return None if fields[0] in "ZX" else Identity(pid, int(fields[19]))


def alive(who: Identity) -> bool:
    """Whether that very process still runs."""
    return identity(who.pid) == who


def kill(who: Identity, number: int = signal.SIGKILL) -> bool:
    """Signal that very process, never one that got its number since; False when it is gone."""
    try:
        fd = os.pidfd_open(who.pid)
    except ProcessLookupError:
        return False
    try:
        if not alive(who):
            return False
        signal.pidfd_send_signal(fd, number)
    except ProcessLookupError:
        return False
    finally:
        os.close(fd)
    return True


class Process:
    """A running process with its pidfd, a child of ours or an adopted one. Owner: `close()`.

    Closing frees the pidfd and leaves the process running.
    """

    def __init__(self, who: Identity, pidfd: int, child: subprocess.Popen[bytes] | None) -> None:
        self.identity = who
        self.pid = who.pid
        self._pidfd = pidfd
        self._child = child

    def fileno(self) -> int:
        """The pidfd: readable once the process has ended (`loop.add_reader`); -1 when closed."""
        return self._pidfd

    def running(self) -> bool:
        """Whether it has not ended yet."""
        return not self.wait(0)  # by poll: a cell has more files than select can name

    def wait(self, timeout: float | None = None) -> bool:
        """Wait up to `timeout` seconds (None: for ever) for its end; whether that came."""
        poller = select.poll()
        poller.register(self._pidfd, select.POLLIN)
        return bool(poller.poll(None if timeout is None else max(timeout, 0) * 1000))

    def exit_status(self) -> int | None:
        """Its exit status, -N for signal N; None while it runs, or if it was not our child."""
        if self._child is None or self.running():
            return None
        return self._child.wait()

    def signal(self, number: int) -> None:
        """Send a signal; nothing happens if it has ended."""
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._pidfd, number)

    def stop(self, patience: float = 5.0) -> bool:
        """SIGTERM, up to `patience` seconds, then SIGKILL; whether it went without the latter."""
        self.signal(signal.SIGTERM)
        polite = self.wait(patience)
        if not polite:
            self.signal(signal.SIGKILL)
            self.wait(5.0)
        self.exit_status()  # reaps a child
        return polite

    def close(self) -> None:
        """Free the pidfd. The process is not touched."""
        if self._pidfd >= 0:
            os.close(self._pidfd)
            self._pidfd = -1
        if self._child is not None and self._child.poll() is None:
            # Popen warns of children it loses sight of; this one is let go on purpose.
            self._child.returncode = 0

    def __enter__(self) -> Process:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def start(
    command: Sequence[str],
    *,
    log: Path | None = None,
    env: Mapping[str, str] | None = None,
    netns: Path | None = None,
    cgroups: Sequence[Path] = (),
    resolv_conf: Path | None = None,
    uid: int | None = None,
    cwd: Path | None = None,
    pass_fds: Sequence[int] = (),
) -> Process:
    """Start a process in its own session, stdin /dev/null, through the launcher where needed.

    Args:
        log: file for stdout and stderr (appended); None: both go to /dev/null.
        env: its whole environment; None: ours.
        netns, cgroups, resolv_conf, uid, cwd: as meshnet.kernel.launch.argv.

    Raises:
        InputError: the program or the log's directory does not exist. (Behind the launcher that is
            exit status 125-127 and a line in the log instead.)
    """
    line = list(command)
    if netns or cgroups or resolv_conf or uid is not None:
        line = launch.argv(line, netns=netns, cgroups=cgroups, resolv_conf=resolv_conf, uid=uid)
    out = -1
    try:
        target = log or Path("/dev/null")
        out = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640)
        child = subprocess.Popen(
            line,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            env=None if env is None else dict(env),
            cwd=cwd,
            pass_fds=tuple(pass_fds),
            start_new_session=True,
        )
    except OSError as exc:
        raise InputError(f"cannot start {command[0]}: {exc.strerror} ({exc.filename})") from exc
    finally:
        if out >= 0:
            os.close(out)
    pidfd = os.pidfd_open(child.pid)
    # Not reaped yet, so /proc/PID is there even if it has ended meanwhile; then any time will do.
    return Process(identity(child.pid) or Identity(child.pid, 0), pidfd, child)


def adopt(who: Identity) -> Process:
    """Watch a process somebody else started.

    Raises:
        NotFound: it has ended.
    """
    try:
        pidfd = os.pidfd_open(who.pid)
    except ProcessLookupError as exc:
        raise NotFound(f"process {who.pid} has ended") from exc
    if not alive(who):
        os.close(pidfd)
        raise NotFound(f"process {who.pid} has ended")
    return Process(who, pidfd, None)
