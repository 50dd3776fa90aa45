"""The command line that starts a program in a node's or a container's namespaces and cgroups.

Entering those happens in launcher.py, a script of its own, and nowhere else: between fork and exec
in a threaded process Python code may dead-lock.
Exit status: the command's; 125 when a step before it failed, 127 where there is no such command,
126 where it is not executable.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

NOT_ENTERED = 125  # exit status
_LAUNCHER = Path(__file__).resolve().with_name("launcher.py")


def argv(
    command: Sequence[str],
    *,
    netns: str | Path | None = None,
    cgroups: Sequence[str | Path] = (),
    container_pid: int = 0,
    container_cgroup: str = "",
    private_home: bool = False,
    resolv_conf: str | Path | None = None,
    binds: Sequence[tuple[str | Path, str | Path]] = (),
    env_fd: int | None = None,
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
            The command is a child then: signals are passed on to it, and where one ends it, the
            same signal ends its stand-in.
        container_cgroup: how the v2 cgroup of `container_pid` ends; where it does not, the number
            is another process's by now and nothing is entered.
        private_home: in a container, root gets an empty /root to write to, and the system accounts
            of this machine that its tools (tcpdump) drop to; the container itself sees neither.
        resolv_conf: file the command sees as /etc/resolv.conf, by a mount namespace of its own.
        binds: further (source, target) files or directories it sees, likewise.
        env_fd: inherited file with its whole environment, NUL-separated; None: the launcher's.
        uid: user to become; without capabilities or other groups. Default: stay.
        gid: its group; default: same number as uid.
        log: file that gets stdout and stderr (appended, made 0640); stdin becomes /dev/null.
        cwd: directory to start in.
    """
    line = [sys.executable, "-I", "-S", str(_LAUNCHER)]
    options = {
        "--netns": netns,
        "--pid": container_pid or None,
        "--pid-cgroup": container_cgroup or None,
        "--resolv-conf": resolv_conf,
        "--env-fd": env_fd,
        "--uid": uid,
        "--gid": gid,
        "--log": log,
        "--cwd": cwd,
    }
    for flag, value in options.items():
        if value is not None:
            line += [flag, str(value)]
    if private_home:
        line.append("--private-home")
    for group in cgroups:
        line += ["--cgroup", str(group)]
    for source, target in binds:
        line += ["--bind", str(source), str(target)]
    return [*line, "--", *command]
