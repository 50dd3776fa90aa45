"""Join a node's or a container's namespaces and cgroups, then become the command.

Standard library only. Runs as a script (`python -I -S launcher.py ...`), so it starts in some 15 ms
and needs nothing but itself; `launch.argv` builds its command line and documents it.

In a node this process becomes the command. A container has a PID namespace, which only a child can
be in: there this process stays outside, touches nothing of the container, and stands in for the
child towards whoever started it.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import errno
import importlib
import os
import signal
import sys
from collections.abc import Sequence
from types import ModuleType

_NEWNS, _NEWNET, _NEWPID = 0x00020000, 0x40000000, 0x20000000
# mnt, uts, ipc, net: what a container has of its own, but for the PID namespace.
_CONTAINER_NS = _NEWNS | 0x04000000 | 0x08000000 | _NEWNET
_MS_NOSUID, _MS_NODEV, _MS_BIND, _MS_REC, _MS_SLAVE = 0x2, 0x4, 0x1000, 0x4000, 0x80000
_PR_SET_PDEATHSIG = 1
# open_tree(2), move_mount(2): without wrappers in older C libraries, numbered alike everywhere.
_SYS_OPEN_TREE, _SYS_MOVE_MOUNT = 428, 429
_OPEN_TREE_CLONE, _MOVE_MOUNT_F_EMPTY_PATH, _AT_FDCWD = 1, 4, -100
_PTS = b"/dev/pts"
_HOME, _HOME_OPTIONS = b"/root", b"mode=0700,size=64m"
_ACCOUNTS = ("/etc/passwd", "/etc/group")
_SYSTEM_IDS = range(1, 1000)


def _parse(args: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="launcher", allow_abbrev=False)
    parser.add_argument("--netns")
    parser.add_argument("--cgroup", action="append", default=[])
    parser.add_argument("--pid", type=int)
    parser.add_argument("--pid-cgroup", default="")
    parser.add_argument("--private-home", action="store_true")
    parser.add_argument("--resolv-conf")
    parser.add_argument("--bind", nargs=2, action="append", default=[])
    parser.add_argument("--env-fd", type=int)
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


def _mount(source: str, target: str, kind: bytes, flags: int, data: bytes | None = None) -> None:
    _call("mount", source.encode(), target.encode(), kind, ctypes.c_ulong(flags), data)


def _join_cgroups(directories: Sequence[str]) -> None:
    for group in directories:
        with open(os.path.join(group, "cgroup.procs"), "w") as procs:
            procs.write("0")


def _cgroups_of(pid: int) -> list[str]:
    """Its directory in each hierarchy that is mounted: where v1's are, the limits are there."""
    with open("/proc/self/mounts") as file:
        mounts = [line.split() for line in file]
    found = []
    with open(f"/proc/{pid}/cgroup") as groups:
        for number, controllers, group in (line.rstrip("\n").split(":", 2) for line in groups):
            kind, wanted = "cgroup", set(controllers.split(","))
            if number == "0":
                kind, wanted = "cgroup2", set()
            roots = [m[1] for m in mounts if m[2] == kind and wanted <= set(m[3].split(","))]
            found += [root + group for root in roots[:1]]
    return found


def _private_mounts() -> None:
    _call("unshare", _NEWNS)
    # Slave: what the host unmounts later must not stay alive in here.
    _mount("none", "/", b"", _MS_REC | _MS_SLAVE)


def _bind(source: str, target: str) -> None:
    # The real file: /etc/resolv.conf is a link into /run on many machines.
    _mount(source, os.path.realpath(target), b"", _MS_BIND)


def _redirect(log: str | None) -> None:
    if not log:
        return
    out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o640)
    null = os.open("/dev/null", os.O_RDONLY)
    os.dup2(null, 0)
    os.dup2(out, 1)
    os.dup2(out, 2)


def _system_accounts() -> dict[str, list[str]]:
    """This machine's accounts that programs drop to, by file; users log in with none of them."""
    found = {}
    for path in _ACCOUNTS:
        with open(path) as lines:
            rows = [line.rstrip("\n") for line in lines if line.count(":") >= 3]
        found[path] = [row for row in rows if _number(row.split(":")[2]) in _SYSTEM_IDS]
    return found


def _number(text: str) -> int:
    return int(text) if text.isdecimal() else -1


def _terminals() -> int:
    """A detached copy of our /dev/pts, where the command has a terminal: its name is in there."""
    if not any(os.isatty(fd) for fd in range(3)):
        return -1
    flags = _OPEN_TREE_CLONE | os.O_CLOEXEC
    return int(ctypes.CDLL(None).syscall(_SYS_OPEN_TREE, _AT_FDCWD, _PTS, flags))


def _show_terminals(tree: int) -> None:
    """Mount it in the container; without it a terminal works, but has no name (tty, screen)."""
    if tree >= 0:
        call = (_SYS_MOVE_MOUNT, tree, b"", _AT_FDCWD, _PTS, _MOVE_MOUNT_F_EMPTY_PATH)
        ctypes.CDLL(None).syscall(*call)
        os.close(tree)


def _furnish(accounts: dict[str, list[str]]) -> None:
    """Mount an empty /root, and the container's accounts with this machine's added to them."""
    _mount("tmpfs", _HOME.decode(), b"tmpfs", _MS_NOSUID | _MS_NODEV, _HOME_OPTIONS)
    for path, rows in accounts.items():
        with open(path) as lines:
            own = [line.rstrip("\n") for line in lines if line.strip()]
        taken = {row.split(":")[0] for row in own}
        rows = own + [row for row in rows if row.split(":")[0] not in taken]
        copy = f"{_HOME.decode()}/.{os.path.basename(path)}"
        with open(copy, "w") as file:
            file.write("\n".join(rows) + "\n")
        os.chmod(copy, 0o644)
        _bind(copy, path)
        # Still mounted where it belongs; nothing of it shows in /root.
        os.unlink(copy)


def _sibling(name: str) -> ModuleType:
    """A module beside this file, which -I keeps off the path; last, so it shadows no library's."""
    sys.path.append(os.path.dirname(os.path.abspath(__file__)))
    return importlib.import_module(name)


def _enter_container(options: argparse.Namespace) -> None:
    """Fork; the child returns inside the container, its stand-in never returns."""
    pidfd = os.pidfd_open(options.pid)
    groups = _cgroups_of(options.pid)
    if not groups or not groups[-1].endswith(options.pid_cgroup):
        raise ProcessLookupError(errno.ESRCH, "it has ended")
    # Its own root: where we run in a chroot ourselves, the namespace's root is not the container's.
    root = os.open(f"/proc/{options.pid}/root", os.O_RDONLY | os.O_DIRECTORY)
    procs = [os.open(os.path.join(group, "cgroup.procs"), os.O_WRONLY) for group in groups]
    accounts = _system_accounts() if options.private_home else {}
    terminals = _terminals()
    _call("setns", pidfd, _NEWPID)  # of the child; a stand-in elsewhere keeps nothing alive
    outside = _sibling("stand_in")
    passed = outside.passed_on()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {*passed, signal.SIGCHLD})
    child = os.fork()
    if child:
        outside.stand_in(child, pidfd, passed)
    signal.pthread_sigmask(signal.SIG_SETMASK, before)
    for fd in procs:
        os.write(fd, b"0")
    _call("setns", pidfd, _CONTAINER_NS)
    os.fchdir(root)
    os.chroot(".")
    for fd in (pidfd, root, *procs):
        os.close(fd)
    _private_mounts()
    _show_terminals(terminals)
    if options.private_home:
        _furnish(accounts)


def _become(uid: int | None, gid: int | None) -> None:
    if uid is None and gid is None:
        return
    os.setgroups([])
    group = gid if gid is not None else uid
    if group is not None:
        os.setgid(group)
    if uid is not None:
        os.setuid(uid)


def _environment(fd: int | None) -> dict[bytes, bytes]:
    if fd is None:
        return dict(os.environb)
    with open(fd, "rb") as file:
        rows = [row.partition(b"=") for row in file.read().split(b"\0") if row]
    return {name: value for name, _, value in rows}


def _prepare(options: argparse.Namespace) -> dict[bytes, bytes]:
    """Join everything; the command's environment."""
    environment = _environment(options.env_fd)
    _redirect(options.log)
    _join_cgroups(options.cgroup)
    if options.pid:
        _enter_container(options)
    elif options.netns:
        fd = os.open(options.netns, os.O_RDONLY)
        _call("setns", fd, _NEWNET)
    binds = list(options.bind)
    if options.resolv_conf:
        binds.append([options.resolv_conf, "/etc/resolv.conf"])
    if binds:
        _private_mounts()
        for source, target in binds:
            _bind(source, target)
    if options.cwd:
        os.chdir(options.cwd)
    _become(options.uid, options.gid)
    if options.pid:
        # Whoever kills the stand-in means the command. After setuid, which would forget it.
        _call("prctl", _PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    return environment


def _execute(command: Sequence[str], environment: dict[bytes, bytes]) -> int:
    """Become the command; the exit status where that failed, as a shell's."""
    name = command[0]
    try:
        if not name:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
        os.execvpe(name, list(command), environment)
    except FileNotFoundError as exc:
        text, status = "command not found" if "/" not in name else exc.strerror, 127
    except OSError as exc:
        if exc.errno == errno.ENOEXEC and "/" in name:  # a script without `#!`: as a shell does
            with contextlib.suppress(OSError):
                os.execvpe("/bin/sh", ["/bin/sh", *command], environment)
        text, status = exc.strerror, 126
    shown = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in name)
    print(f"meshnet: {shown}: {text}", file=sys.stderr)
    return status


def main(args: Sequence[str]) -> int:
    """Join, then exec; returns only when that failed."""
    options = _parse(args)
    try:
        environment = _prepare(options)
    except (OSError, StopIteration) as exc:
        print(f"meshnet: cannot start {options.command[0]}: {exc}", file=sys.stderr)
        return 125
    for number in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)  # Python ignores them, the command shall not
    return _execute(options.command, environment)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
