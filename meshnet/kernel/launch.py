"""Join a node's namespaces and cgroups, then become the command. Standard library only.

Runs as a script (`python -I -S launch.py ...`), so it starts in some 15 ms and needs nothing but
itself; `argv` builds its command line. Entering namespaces and cgroups happens here and nowhere
else: between fork and exec in a threaded process Python code may dead-lock.
Exit status: the command's; 125 when a step before the exec failed, 126/127 as a shell's.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

_NEWNS, _NEWNET = 0x00020000, 0x40000000
# mnt, uts, ipc, pid, net: what a container has of its own.
_CONTAINER_NS = _NEWNS | 0x04000000 | 0x08000000 | 0x20000000 | _NEWNET
_MS_BIND, _MS_REC, _MS_SLAVE = 0x1000, 0x4000, 0x80000


def argv(
    command: Sequence[str],
    *,
    netns: str | Path | None = None,
    cgroups: Sequence[str | Path] = (),
    container_pid: int = 0,
    resolv_conf: str | Path | None = None,
    binds: Sequence[tuple[str | Path, str | Path]] = (),
    uid: int | None = None,
    gid: int | None = None,
    log: str | Path | None = None,
    cwd: str | Path | None = None,
) -> list[str]:
    """The command line that starts `command` where the arguments say.

    Args:
        netns: file of a network namespace (netns.path(name)).
        cgroups: cgroup directories to join, v2 or v1 (cgroup.directory(path)).
        container_pid: enter all namespaces and the v2 cgroup of this process instead of `netns`.
        resolv_conf: file the command sees as /etc/resolv.conf, by a mount namespace of its own.
        binds: further (source, target) files or directories it sees, likewise.
        uid: user to become; without capabilities or other groups. Default: stay.
        gid: its group; default: same number as uid.
        log: file that gets stdout and stderr (appended, made 0640); stdin becomes /dev/null.
        cwd: directory to start in.
    """
    line = [sys.executable, "-I", "-S", os.path.abspath(__file__)]
    options = {
        "--netns": netns,
        "--pid": container_pid or None,
        "--resolv-conf": resolv_conf,
        "--uid": uid,
        "--gid": gid,
        "--log": log,
        "--cwd": cwd,
    }
    for flag, value in options.items():
        if value is not None:
            line += [flag, str(value)]
    for group in cgroups:
        line += ["--cgroup", str(group)]
    for source, target in binds:
        line += ["--bind", str(source), str(target)]
    return [*line, "--", *command]


def _parse(args: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="launch", allow_abbrev=False)
    parser.add_argument("--netns")
    parser.add_argument("--cgroup", action="append", default=[])
    parser.add_argument("--pid", type=int)
    parser.add_argument("--resolv-conf")
    parser.add_argument("--bind", nargs=2, action="append", default=[])
    parser.add_argument("--uid", type=int)
    parser.add_argument("--gid", type=int)
    parser.add_argument("--log")
    parser.add_argument("--cwd")
    parser.add_argument("command", nargs="+")
    return parser.parse_args(args)


def _call(name: str, *args: object) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if getattr(libc, name)(*args) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")


def _join_cgroups(directories: Sequence[str]) -> None:
    for group in directories:
        with open(os.path.join(group, "cgroup.procs"), "w") as procs:
            procs.write("0")


def _v2_cgroup_of(pid: int) -> str:
    with open("/proc/self/mounts") as mounts:
        root = next(f[1] for f in map(str.split, mounts) if f[2] == "cgroup2")
    with open(f"/proc/{pid}/cgroup") as groups:
        return root + next(line.strip()[3:] for line in groups if line.startswith("0::"))


def _private_files(binds: Sequence[Sequence[str]]) -> None:
    _call("unshare", _NEWNS)
    # Slave: what the host unmounts later must not stay alive in here.
    _call("mount", b"none", b"/", None, ctypes.c_ulong(_MS_REC | _MS_SLAVE), None)
    for source, target in binds:
        # The real file: /etc/resolv.conf is a link into /run on many machines.
        place = os.path.realpath(target).encode()
        _call("mount", source.encode(), place, None, ctypes.c_ulong(_MS_BIND), None)


def _redirect(log: str | None) -> None:
    if not log:
        return
    out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o640)
    null = os.open("/dev/null", os.O_RDONLY)
    os.dup2(null, 0)
    os.dup2(out, 1)
    os.dup2(out, 2)


def _enter_container(pid: int) -> None:
    pidfd = os.pidfd_open(pid)
    # Its own root: where we run in a chroot ourselves, the namespace's root is not the container's.
    root = os.open(f"/proc/{pid}/root", os.O_RDONLY | os.O_DIRECTORY)
    _join_cgroups([_v2_cgroup_of(pid)])
    _call("setns", pidfd, _CONTAINER_NS)
    os.fchdir(root)
    os.chroot(".")
    os.close(root)
    # The new PID namespace holds for children only: fork, and be the child's stand-in out here.
    child = os.fork()
    if child:
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
            signal.signal(number, lambda n, _: os.kill(child, n))
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        os._exit(code if code >= 0 else 128 - code)


def _become(uid: int | None, gid: int | None) -> None:
    if uid is None and gid is None:
        return
    os.setgroups([])
    group = gid if gid is not None else uid
    if group is not None:
        os.setgid(group)
    if uid is not None:
        os.setuid(uid)


def _prepare(options: argparse.Namespace) -> None:
    _redirect(options.log)
    _join_cgroups(options.cgroup)
    if options.pid:
        _enter_container(options.pid)
    elif options.netns:
        fd = os.open(options.netns, os.O_RDONLY)
        _call("setns", fd, _NEWNET)
    binds = list(options.bind)
    if options.resolv_conf:
        binds.append([options.resolv_conf, "/etc/resolv.conf"])
    if binds:
        _private_files(binds)
    if options.cwd:
        os.chdir(options.cwd)
    _become(options.uid, options.gid)


def main(args: Sequence[str]) -> int:
    """Join, then exec; returns only when that failed."""
    options = _parse(args)
    try:
        _prepare(options)
    except (OSError, StopIteration) as exc:
        print(f"launch: cannot start {options.command[0]}: {exc}", file=sys.stderr)
        return 125
    for number in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)  # Python ignores them, the command shall not
    try:
        os.execvp(options.command[0], options.command)
    except OSError as exc:
        print(f"launch: {options.command[0]}: {exc.strerror}", file=sys.stderr)
        return 127 if isinstance(exc, FileNotFoundError) else 126


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
