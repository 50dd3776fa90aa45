"""OCI bundles: what a container is, its config.json (pure) and its directory on disk.

The root file system is a skeleton of empty mount points and a few files in /etc; the system's own
programs come as read-only binds, so a bundle is made in a millisecond and holds nothing but names.
"""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from meshnet.model.errors import InputError

CATATONIT = "/usr/bin/catatonit"
_TMP_BYTES = 64 << 20
_SYSTEM = ("/usr", "/etc/ssl", "/etc/alternatives", "/etc/ld.so.cache", "/etc/ca-certificates")
_MERGED = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")
_DIRECTORIES = ("proc", "dev", "tmp", "etc", "usr", "run", "home/vcap", "var/tmp", "root")
_CLONE_NEWUSER = 0x10000000
# runc's defaults (libcontainer/specconv/example.go).
# fmt: off
_MASKED = (
    "/proc/acpi", "/proc/asound", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
    "/proc/timer_list", "/proc/timer_stats", "/proc/sched_debug", "/proc/scsi", "/sys/firmware",
)
_READ_ONLY = (
    "/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger",
)
# The kernel's wide attack surface that no app in the mesh needs: key rings, BPF, tracing, mounts,
# and above all new user namespaces, which would give capabilities back.
_FORBIDDEN = (
    "acct", "add_key", "bpf", "fanotify_init", "fsconfig", "fsmount", "fsopen", "fspick",
    "init_module", "finit_module", "delete_module", "ioperm", "iopl", "io_uring_setup",
    "kexec_file_load", "kexec_load", "keyctl", "lookup_dcookie", "mount", "mount_setattr",
    "move_mount", "move_pages", "name_to_handle_at", "open_by_handle_at", "open_tree",
    "perf_event_open", "pivot_root", "process_vm_readv", "process_vm_writev", "ptrace",
    "quotactl", "reboot", "request_key", "setns", "swapoff", "swapon", "syslog", "umount2",
    "unshare", "userfaultfd", "vmsplice",
)
# fmt: on
# What apps and Envoy speak: unix sockets, IP, and the netlink that lists interfaces. Others load
# modules of the kernel, or lead past the mesh: AF_VSOCK to the machine that this one is a guest of.
_FAMILIES = frozenset({1, 2, 10, 16})
_NO_FAMILY = 64  # Linux has fewer


@dataclass(frozen=True)
class BindMount:
    """A host file or directory the container sees."""

    source: Path
    target: str
    read_only: bool = True


@dataclass(frozen=True)
class ContainerSpec:
    """What a container is.

    Attributes:
        id: unique on this machine, e.g. "<lab>-<cell>-<instance guid>-app".
        bundle_dir: its directory, made by `oci.start`, removed by `delete`.
        argv: the command; argv[0] an absolute path inside.
        netns_path: file of the network namespace to join.
        cgroup_path: such as "/meshnet/<lab>/<cell>/<instance>/app"; create it (and attach hooks)
            before `oci.start`; `delete` removes it.
        log_path: conmon's log, lines "<time> <stdout|stderr> <F|P> <text>" (see `oci.log_lines`).
        init: run the command below catatonit as PID 1, which forwards signals and reaps.
        nameserver: address for /etc/resolv.conf; "" leaves it empty.
        hosts: further lines of /etc/hosts, {name: address}.
        memory_bytes: memory limit, None: none.
        file_bytes: the most one file may have, None: any number.
        shim_cgroup_path: group for conmon itself; "" leaves it in the caller's.
        tmpfs: further places the command may write, {path: bytes}; /tmp is always one.
    """

    id: str
    bundle_dir: Path
    argv: Sequence[str]
    env: Mapping[str, str]
    uid: int
    gid: int
    netns_path: Path
    cgroup_path: str
    log_path: Path
    cwd: str = "/"
    mounts: Sequence[BindMount] = ()
    memory_bytes: int | None = None
    file_bytes: int | None = None
    hostname: str = "app"
    init: bool = True
    nameserver: str = ""
    hosts: Mapping[str, str] = field(default_factory=dict)
    pids_limit: int = 1024
    files_limit: int = 16384
    log_max_bytes: int = 10 << 20
    shim_cgroup_path: str = ""
    tmpfs: Mapping[str, int] = field(default_factory=dict)


def config(spec: ContainerSpec) -> dict[str, Any]:
    """The bundle's config.json: unprivileged, read-only, nothing but what the spec shows it."""
    command = [CATATONIT, "--", *spec.argv] if spec.init else list(spec.argv)
    return {
        "ociVersion": "1.0.2",
        "process": {
            "terminal": False,
            "user": {"uid": spec.uid, "gid": spec.gid, "additionalGids": []},
            "args": command,
            "env": [f"{key}={value}" for key, value in spec.env.items()],
            "cwd": spec.cwd,
            "capabilities": {
                kind: []
                for kind in ("bounding", "effective", "inheritable", "permitted", "ambient")
            },
            "rlimits": _rlimits(spec),
            "noNewPrivileges": True,
        },
        "root": {"path": "rootfs", "readonly": True},
        "hostname": spec.hostname,
        "mounts": _mounts(spec),
        "linux": _linux(spec),
    }


def _rlimits(spec: ContainerSpec) -> list[dict[str, Any]]:
    limits = {"RLIMIT_NOFILE": spec.files_limit, "RLIMIT_CORE": 0}
    if spec.file_bytes is not None:
        limits["RLIMIT_FSIZE"] = spec.file_bytes
    return [{"type": kind, "hard": most, "soft": most} for kind, most in limits.items()]


def write(spec: ContainerSpec) -> None:
    """Make the bundle directory with rootfs/ and config.json.

    Raises:
        InputError: a mount's source is missing, or the bundle exists already.
    """
    for bind in spec.mounts:
        if not bind.source.exists():
            raise InputError(f"container {spec.id}: nothing at {bind.source} to mount")
    root = spec.bundle_dir / "rootfs"
    try:
        spec.bundle_dir.mkdir(parents=True, mode=0o700)
    except FileExistsError as exc:
        raise InputError(f"container {spec.id}: {spec.bundle_dir} exists already") from exc
    (spec.bundle_dir / "exits").mkdir()
    for name in _DIRECTORIES:
        _mkdir(root / name)
    for name, target in _merged_links():
        (root / name).symlink_to(target)
    for file, text in _files(spec).items():
        _write(root / file, text)
    for bind in (*_system_binds(), *spec.mounts):
        place = root / bind.target.lstrip("/")
        if bind.source.is_dir():
            _mkdir(place)
        else:
            _mkdir(place.parent)
            place.touch()
    for path in ("/tmp", *spec.tmpfs):
        _mkdir(root / path.lstrip("/"))
        # runc gives a tmpfs the mode of the directory below it, whatever its options say.
        (root / path.lstrip("/")).chmod(0o1777)
    _write(spec.bundle_dir / "config.json", json.dumps(config(spec)))


def _mounts(spec: ContainerSpec) -> list[dict[str, Any]]:
    shm = ["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]
    pts = ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"]
    fixed = [
        _mount("proc", "/proc", "proc", ["nosuid", "noexec", "nodev"]),
        _mount("tmpfs", "/dev", "tmpfs", ["nosuid", "strictatime", "mode=755", "size=64k"]),
        _mount("devpts", "/dev/pts", "devpts", pts),
        _mount("shm", "/dev/shm", "tmpfs", shm),
    ]
    for path, size in {"/tmp": _TMP_BYTES, **spec.tmpfs}.items():
        options = ["nosuid", "nodev", "mode=1777", f"size={size}"]
        fixed.append(_mount("tmpfs", path, "tmpfs", options))
    for bind in (*_system_binds(), *spec.mounts):
        options = ["rbind", "nosuid", "nodev", "ro" if bind.read_only else "rw"]
        fixed.append(_mount(str(bind.source), bind.target, "bind", options))
    return fixed


def _mount(source: str, target: str, fstype: str, options: list[str]) -> dict[str, Any]:
    return {"source": source, "destination": target, "type": fstype, "options": options}


def _linux(spec: ContainerSpec) -> dict[str, Any]:
    resources: dict[str, Any] = {
        "devices": [{"allow": False, "access": "rwm"}],
        "pids": {"limit": spec.pids_limit},
    }
    if spec.memory_bytes is not None:
        # Swap equal to memory: none. A limit that spills into swap is no limit.
        resources["memory"] = {"limit": spec.memory_bytes, "swap": spec.memory_bytes}
    return {
        "namespaces": [
            *({"type": kind} for kind in ("pid", "ipc", "uts", "mount")),
            {"type": "network", "path": str(spec.netns_path)},
        ],
        "cgroupsPath": spec.cgroup_path,
        "resources": resources,
        "maskedPaths": list(_MASKED),
        "readonlyPaths": list(_READ_ONLY),
        "seccomp": _seccomp(),
    }


def _seccomp() -> dict[str, Any]:
    new_user = {
        "index": 0,
        "value": _CLONE_NEWUSER,
        "valueTwo": _CLONE_NEWUSER,
        "op": "SCMP_CMP_MASKED_EQ",
    }
    return {
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [
            {"names": list(_FORBIDDEN), "action": "SCMP_ACT_ERRNO", "errnoRet": 1},
            {"names": ["clone"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1, "args": [new_user]},
            # Its flags are behind a pointer no filter can read; with ENOSYS libc falls back.
            {"names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38},
            *(_no_socket(n, "SCMP_CMP_EQ") for n in range(_NO_FAMILY) if n not in _FAMILIES),
            # With bits that the kernel would cut off, too.
            _no_socket(_NO_FAMILY, "SCMP_CMP_GE"),
        ],
    }


def _no_socket(family: int, op: str) -> dict[str, Any]:
    args = [{"index": 0, "value": family, "op": op}]
    names = ["socket", "socketpair"]
    return {"names": names, "action": "SCMP_ACT_ERRNO", "errnoRet": 97, "args": args}


def _files(spec: ContainerSpec) -> dict[str, str]:
    user = f"vcap:x:{spec.uid}:{spec.gid}::/home/vcap/app:/bin/sh\n"
    names = {"localhost": "127.0.0.1", spec.hostname: "127.0.0.1", **spec.hosts}
    return {
        "etc/passwd": "root:x:0:0:root:/root:/bin/sh\n" + user,
        "etc/group": f"root:x:0:\nvcap:x:{spec.gid}:\n",
        "etc/hosts": "".join(f"{address}\t{name}\n" for name, address in names.items()),
        "etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
        "etc/resolv.conf": f"nameserver {spec.nameserver}\n" if spec.nameserver else "",
        "etc/hostname": spec.hostname + "\n",
    }


@functools.cache
def _system_binds() -> tuple[BindMount, ...]:
    return tuple(BindMount(Path(path), path) for path in _SYSTEM if os.path.exists(path))


@functools.cache
def _merged_links() -> tuple[tuple[str, str], ...]:
    return tuple((name, f"usr/{name}") for name in _MERGED if os.path.isdir(f"/usr/{name}"))


def _mkdir(path: Path) -> None:
    if path.is_dir():
        return
    _mkdir(path.parent)
    path.mkdir()
    path.chmod(0o755)


def _write(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o644)
