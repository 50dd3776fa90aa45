"""Namespaces, cgroups and processes for the BPF tests; everything is owned by an ExitStack."""

from __future__ import annotations

import ctypes
import errno
import os
import pickle
import select
import subprocess
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

_CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


def run(*argv: str) -> str:
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{argv}: {done.stderr}"
    return done.stdout


def cgroup_root() -> Path:
    for line in Path("/proc/mounts").read_text().splitlines():
        if line.split()[2] == "cgroup2":
            return Path(line.split()[1])
    raise AssertionError("no cgroup2 mount")


def enter(netns: str | None, cgroup: Path | None) -> None:
    """Only in a child: join the cgroup, then the network namespace."""
    if cgroup is not None:
        (cgroup / "cgroup.procs").write_text(str(os.getpid()))
    if netns is not None:
        fd = os.open(f"/run/netns/{netns}", os.O_RDONLY)
        assert _libc.setns(fd, _CLONE_NEWNET) == 0, os.strerror(ctypes.get_errno())
        os.close(fd)


class Child:
    """A forked child that runs `fn(say, *args)`; `say` sends a value, so does its return."""

    def __init__(self, fn: Callable[..., Any], *args: Any, netns: str | None, cgroup: Path | None):
        self._read, write = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            self._main(fn, args, netns, cgroup, write)
        os.close(write)
        self._stream = os.fdopen(self._read, "rb")

    def _main(self, fn: Any, args: Any, netns: Any, cgroup: Any, write: int) -> None:
        stream = os.fdopen(write, "wb")

        def say(value: Any) -> None:
            pickle.dump(value, stream)
            stream.flush()

        try:
            enter(netns, cgroup)
            say(fn(say, *args))
        except BaseException as exc:
            say(exc)
        finally:
            os._exit(0)

    def hear(self, seconds: float = 10.0) -> Any:
        ready, _, _ = select.select([self._stream], [], [], seconds)
        if not ready and not self._stream.peek(1):
            raise TimeoutError("the child said nothing")
        value = pickle.load(self._stream)
        if isinstance(value, BaseException):
            raise value
        return value

    def close(self) -> None:
        if self.pid:
            os.kill(self.pid, 9)
            os.waitpid(self.pid, 0)
            self.pid = 0
            self._stream.close()


class World:
    """What a test makes; undone last-first."""

    def __init__(self, stack: ExitStack, name: str) -> None:
        self.stack = stack
        self.name = name

    def netns(self, role: str) -> str:
        name = f"a-{self.name}-{role}"
        run("ip", "netns", "add", name)
        self.stack.callback(run, "ip", "netns", "del", name)
        run("ip", "-n", name, "link", "set", "lo", "up")
        return name

    def cgroup(self, role: str) -> Path:
        path = cgroup_root() / f"a-{self.name}-{role}"
        path.mkdir()
        self.stack.callback(_remove_cgroup, path)
        return path

    def start(
        self,
        fn: Callable[..., Any],
        *args: Any,
        netns: str | None = None,
        cgroup: Path | None = None,
    ) -> Child:
        child = Child(fn, *args, netns=netns, cgroup=cgroup)
        self.stack.callback(child.close)
        return child

    def do(
        self,
        fn: Callable[..., Any],
        *args: Any,
        netns: str | None = None,
        cgroup: Path | None = None,
    ) -> Any:
        child = Child(lambda _say, *a: fn(*a), *args, netns=netns, cgroup=cgroup)
        try:
            return child.hear()
        finally:
            child.close()


def _remove_cgroup(path: Path) -> None:
    deadline = time.monotonic() + 5
    while True:
        try:
            return path.rmdir()
        except OSError as exc:
            if exc.errno != errno.EBUSY or time.monotonic() > deadline:
                raise
        time.sleep(0.01)


def errno_of(fn: Callable[[], Any]) -> int:
    """0 where it works."""
    try:
        fn()
    except OSError as exc:
        return exc.errno or -1
    return 0
