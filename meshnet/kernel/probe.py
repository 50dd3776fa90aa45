"""What this kernel and machine can do, found by trying each thing, never by the kernel's version.

The probes run in a child with a network and mount namespace of its own, so that nothing they make
can be seen or left behind: `run()` starts it, `python -m meshnet.kernel.probe` is it.
"""

from __future__ import annotations

import ctypes
import dataclasses
import json
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from meshnet.kernel import probe_bpf
from meshnet.model.errors import PlatformError

CLONE_NEWNS = 0x00020000
CLONE_NEWNET = 0x40000000
MIN_MEMORY_MIB = 2048
MIN_FILES = 4096


@dataclasses.dataclass(frozen=True)
class Probe:
    """One row of `meshnet doctor`.

    Attributes:
        name: what was probed.
        state: "ok", "advice" (works, could be better) or "missing" (no lab without it).
        detail: what was found, or the error.
        remedy: what to do about it; empty where all is well.
    """

    name: str
    state: str
    detail: str
    remedy: str = ""


def required(name: str, remedy: str, find: Callable[[], str]) -> Probe:
    """A probe without which no lab starts; `find` returns the detail or raises OSError."""
    try:
        return Probe(name, "ok", find())
    except OSError as exc:
        return Probe(name, "missing", exc.strerror or str(exc), remedy)


def _memory() -> Probe:
    text = Path("/proc/meminfo").read_text(encoding="ascii")
    mib = int(text.split("MemAvailable:")[1].split()[0]) // 1024
    if mib < MIN_MEMORY_MIB:
        remedy = f"the default lab wants {MIN_MEMORY_MIB} MiB: stop other things or add memory"
        return Probe("memory", "advice", f"{mib} MiB available", remedy)
    return Probe("memory", "ok", f"{mib} MiB available")


def _files() -> Probe:
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < MIN_FILES:
        return Probe("open files", "advice", f"hard limit {hard}", f"ulimit -Hn {MIN_FILES}")
    return Probe("open files", "ok", f"hard limit {hard}")


def _cgroup2() -> str:
    for line in Path("/proc/mounts").read_text(encoding="utf-8").splitlines():
        fields = line.split()
        if fields[2] == "cgroup2":
            if not (Path(fields[1]) / "cgroup.procs").exists():
                raise OSError(0, f"{fields[1]} holds no cgroup")
            return fields[1]
    raise OSError(0, "no cgroup2 file system is mounted")


def _jit() -> Probe:
    path = Path("/proc/sys/net/core/bpf_jit_enable")
    if path.exists() and path.read_text(encoding="ascii").strip() == "0":
        return Probe("BPF JIT", "advice", "off", "sysctl net.core.bpf_jit_enable=1")
    return Probe("BPF JIT", "ok", "on")


def _btf() -> Probe:
    path = Path("/sys/kernel/btf/vmlinux")
    if not path.exists():
        return Probe("BTF", "advice", "absent", "a kernel with CONFIG_DEBUG_INFO_BTF")
    return Probe("BTF", "ok", f"{path.stat().st_size // 1024} KiB")


def _headers() -> str:
    build = Path("/lib/modules") / os.uname().release / "build"
    if not build.exists():
        raise OSError(0, f"{build} does not exist")
    return str(build.resolve())


def _program(name: str) -> Callable[[], str]:
    def find() -> str:
        if found := shutil.which(name):
            return found
        raise OSError(0, "not installed")

    return find


def _bcc() -> str:
    import importlib.util

    spec = importlib.util.find_spec("bcc")
    if spec is None or not spec.origin:
        raise OSError(0, "this Python cannot import bcc")
    return str(Path(spec.origin).parent)


def _links() -> list[Probe]:
    from pyroute2 import IPRoute
    from pyroute2.netlink.exceptions import NetlinkError

    def make(what: str, **link: object) -> Callable[[], str]:
        def find() -> str:
            try:
                with IPRoute() as ip:
                    ip.link("add", ifname="probe0", **link)
                    ip.link("del", ifname="probe0")
            except NetlinkError as exc:
                raise OSError(exc.code, os.strerror(exc.code)) from exc
            return what

        return find

    module = "a kernel with this module (modprobe, or another kernel package)"
    gbp = {"vxlan_id": 1, "vxlan_port": 4789, "vxlan_gbp": True, "vxlan_local": "127.0.0.1"}
    return [
        required("veth", module, make("pairs", kind="veth", peer="probe1")),
        required("bridge", module, make("bridges", kind="bridge")),
        required("VXLAN GBP", module, make("group policy extension", kind="vxlan", **gbp)),
    ]


def _iptables() -> str:
    try:
        import iptc

        table = iptc.Table("nat")
        chains = [c.name for c in table.chains]
    except Exception as exc:  # iptc raises its own errors and, without libxtables, bare ones
        raise OSError(0, f"nat table: {exc}") from exc
    if "PREROUTING" not in chains:
        raise OSError(0, "the nat table has no PREROUTING chain")
    default = os.path.realpath(shutil.which("iptables") or "none")
    kind = "nf_tables" if default.endswith("xtables-nft-multi") else "legacy"
    return f"legacy nat table works (python-iptables); `iptables` here is {kind}"


def _advice_sysctl(name: str, least: int) -> Probe:
    path = Path("/proc/sys") / name.replace(".", "/")
    if not path.exists():
        return Probe(name, "ok", "not set here")
    value = int(path.read_text(encoding="ascii").split()[0])
    if value < least:
        return Probe(name, "advice", str(value), f"sysctl {name}={least} (for large meshes)")
    return Probe(name, "ok", str(value))


def probe_all() -> list[Probe]:
    """Every probe, in the order printed. Call it in a process of its own namespaces only."""
    rows = [
        required("cgroup v2", "mount -t cgroup2 none /sys/fs/cgroup/unified", _cgroup2),
        _btf(),
        _jit(),
        required("kernel headers", "install linux-headers for this kernel: make set-up", _headers),
        required("bcc", "apt-get install python3-bpfcc, then make set-up", _bcc),
    ]
    for name, find in probe_bpf.programs():
        rows.append(
            required(f"BPF {name}", "a kernel with CONFIG_CGROUP_BPF and 5.8 or newer", find)
        )
    rows.append(
        Probe("BPF tcx links", "ok", "tc programs are attached by bpf_link")
        if probe_bpf.tcx()
        else Probe("BPF tcx links", "ok", "not in this kernel: tc programs are attached as filters")
    )
    rows += _links()
    remedy = "apt-get install iptables; a kernel with CONFIG_IP_NF_NAT (legacy tables)"
    rows.append(required("iptables", remedy, _iptables))
    for name in ("runc", "conmon", "catatonit"):
        rows.append(required(name, f"apt-get install {name}", _program(name)))
    rows += [
        _memory(),
        _files(),
    ]
    return rows


def run() -> list[Probe]:
    """Probe this machine.

    Raises:
        PlatformError: not root, or the child could not run at all.
    """
    if os.geteuid() != 0:
        raise PlatformError("needs root to probe the kernel: run it through sudo")
    command = [sys.executable, "-m", "meshnet.kernel.probe"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    try:
        rows = [Probe(**row) for row in json.loads(done.stdout)]
    except (ValueError, TypeError) as exc:
        tail = done.stderr.strip().splitlines()[-1:] or ["no output"]
        raise PlatformError(f"the kernel probe died: {tail[0]}") from exc
    # These two exist in the initial network namespace only.
    rows.append(_advice_sysctl("net.ipv4.neigh.default.gc_thresh3", 1024))
    rows.append(_advice_sysctl("net.netfilter.nf_conntrack_max", 65536))
    return rows


def require(rows: list[Probe]) -> None:
    """Raise PlatformError naming every missing thing and the first one's remedy; else return."""
    missing = [row for row in rows if row.state == "missing"]
    if missing:
        names = ", ".join(f"{row.name} ({row.detail})" for row in missing)
        raise PlatformError(f"this machine lacks {names}; remedy: {missing[0].remedy}")


def _main() -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNET | CLONE_NEWNS) != 0:
        raise OSError(ctypes.get_errno(), "unshare: " + os.strerror(ctypes.get_errno()))
    rows = probe_all()
    print(json.dumps([dataclasses.asdict(row) for row in rows]))


if __name__ == "__main__":
    _main()
