"""Containers as the cell runs them: confined, limited, adopted after a crash, gone after delete."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from meshnet.kernel import cgroup, launch, mounts, netns, oci, procs
from meshnet.model.errors import InputError, KernelError, NotFound

pytestmark = pytest.mark.sudo

TOP = f"b-oci-{os.getpid()}"
WAIT_FOR_TERM = "trap 'echo got term; exit 7' TERM; echo ready; while :; do sleep 0.05; done"


class Place:
    """A directory, a network namespace and a cgroup for one test's containers."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.runtime = root / "runc"
        self.made: list[oci.ContainerSpec] = []

    def spec(self, *command: str, name: str = "app", **changes: object) -> oci.ContainerSpec:
        path = f"/{TOP}/i/{name}"
        cgroup.create(path)
        spec = oci.ContainerSpec(
            id=f"{TOP}-{name}",
            bundle_dir=self.root / name,
            argv=command,
            env={"PATH": "/usr/bin:/bin", "HOME": "/tmp"},
            uid=60001,
            gid=60001,
            netns_path=netns.path(TOP),
            cgroup_path=path,
            log_path=self.root / f"{name}.log",
        )
        self.made.append(replace(spec, **changes))  # type: ignore[arg-type]
        return self.made[-1]

    def start(self, *command: str, **changes: object) -> oci.Container:
        return oci.start(self.spec(*command, **changes), self.runtime)  # type: ignore[arg-type]

    def output(self, spec: oci.ContainerSpec, wanted: str) -> list[str]:
        deadline = time.monotonic() + 5
        while True:
            lines = spec.log_path.read_text().splitlines() if spec.log_path.exists() else []
            texts = [text for _, _, text in oci.log_lines(lines)]
            if wanted in texts or time.monotonic() > deadline:
                return texts
            time.sleep(0.01)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    netns.create(TOP)
    made = Place(tmp_path)
    yield made
    for spec in made.made:
        oci.remove(spec, made.runtime)
    if cgroup.exists(f"/{TOP}"):
        cgroup.kill(f"/{TOP}")
        cgroup.remove(f"/{TOP}")
    netns.delete(TOP)


def traces(place: Place) -> list[str]:
    """What is left of this test's containers anywhere on the machine."""
    tops = [root / TOP / "i" for root in (cgroup.v2_root(), *cgroup.v1_roots())]
    found = [str(path) for top in tops if top.exists() for path in top.iterdir() if path.is_dir()]
    found += [str(path) for path in mounts.below(place.root)]
    found += [str(path) for path in place.root.iterdir() if path.suffix != ".log"]
    found.remove(str(place.runtime))
    found += [str(path) for path in place.runtime.iterdir()]
    return found + [
        f"process {pid}" for pid in filter(str.isdigit, os.listdir("/proc")) if _ours(int(pid))
    ]


def _ours(pid: int) -> bool:
    try:
        line = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False
    return b"conmon" in line and TOP.encode() in line


def test_it_is_where_and_who_it_was_told_to_be(place: Place) -> None:
    show = "id -u; id -g; readlink /proc/self/ns/net; grep ^0:: /proc/self/cgroup; echo done"
    container = place.start("/bin/sh", "-c", show)
    texts = place.output(container.spec, "done")
    inode = os.stat(netns.path(TOP)).st_ino
    assert texts == ["60001", "60001", f"net:[{inode}]", f"0::/{TOP}/i/app", "done"]
    assert container.wait(5) and container.exit_status() == 0
    container.delete()
    assert traces(place) == []


def test_it_can_do_nothing_but_run(place: Place) -> None:
    tries = """
        exec 2>/dev/null
        grep -E 'CapBnd|CapEff|NoNewPrivs|Seccomp:' /proc/self/status | tr -d '\\t'
        touch /x || touch /etc/x || touch /usr/x || echo read-only
        touch /tmp/x && echo tmp
        unshare -U true || echo no-userns
        ls /run/meshnet /sys/fs /root/.ssh || echo hidden
        test -r /proc/kcore -a -s /proc/kcore || echo masked
        echo 1 > /proc/sys/kernel/panic || echo no-sysctl
        cat /etc/resolv.conf
        echo done"""
    container = place.start("/bin/sh", "-c", tries, nameserver="169.254.0.2")
    texts = place.output(container.spec, "done")
    assert texts == [
        "CapEff:0000000000000000",
        "CapBnd:0000000000000000",
        "NoNewPrivs:1",
        "Seccomp:2",
        "read-only",
        "tmp",
        "no-userns",
        "hidden",
        "masked",
        "no-sysctl",
        "nameserver 169.254.0.2",
        "done",
    ]
    container.delete()


SOCKETS = """
import ctypes, platform
libc, two = ctypes.CDLL(None, use_errno=True), (ctypes.c_int * 2)()
one, pair = {"x86_64": (41, 53)}.get(platform.machine(), (198, 199))
for family in [*range(80), 1 << 32 | 40, 1 << 32 | 38, -1]:
    for what, number in (("socket", one), ("pair", pair)):
        made = libc.syscall(ctypes.c_long(number), ctypes.c_long(family), 1, 0, two)
        if made >= 0 or ctypes.get_errno() != 97:
            print(what, family)
print("done", flush=True)
"""


def test_its_sockets_are_unix_ip_and_netlink(place: Place) -> None:
    container = place.start("/usr/bin/python3", "-c", SOCKETS)
    assert place.output(container.spec, "done") == [
        *(f"{what} {n}" for n in (1, 2, 10, 16) for what in ("socket", "pair")),
        "done",
    ]
    container.delete()


def test_term_reaches_the_command_below_its_init(place: Place) -> None:
    container = place.start("/bin/sh", "-c", WAIT_FOR_TERM)
    place.output(container.spec, "ready")
    assert container.running() and container.exit_status() is None
    assert container.stop(5)
    assert container.exit_status() == 7
    assert "got term" in place.output(container.spec, "got term")
    container.delete()
    container.delete()
    assert traces(place) == []


def test_one_that_ignores_term_is_killed(place: Place) -> None:
    container = place.start("/bin/sh", "-c", "trap '' TERM; echo ready; sleep 60; sleep 60")
    place.output(container.spec, "ready")
    assert not container.stop(0.2)
    assert container.exit_status() == 128 + signal.SIGKILL


def test_it_outlives_its_starter_and_is_adopted(place: Place) -> None:
    spec = place.spec("/bin/sh", "-c", WAIT_FOR_TERM)
    starter = f"""
import os, signal
from pathlib import Path, PosixPath
from meshnet.kernel import oci
from meshnet.kernel.oci import ContainerSpec
oci.start({spec!r}, Path({str(place.runtime)!r}))
os.kill(os.getpid(), signal.SIGKILL)
"""
    assert subprocess.run([sys.executable, "-c", starter]).returncode == -signal.SIGKILL
    place.output(spec, "ready")
    container = oci.adopt(spec, place.runtime)
    assert container.running() and container.stop(5)
    assert container.exit_status() == 7
    with pytest.raises(NotFound):
        oci.adopt(spec, place.runtime)
    assert oci.last_exit_status(spec) == 7
    container.delete()
    assert traces(place) == []


def test_the_memory_limit_holds(place: Place) -> None:
    eat = "x = bytearray(200 << 20); print('ate', flush=True)"
    container = place.start("/usr/bin/python3", "-Sc", eat, memory_bytes=64 << 20)
    assert container.wait(10)
    assert container.exit_status() == 128 + signal.SIGKILL
    assert container.spec.log_path.read_text() == "" and container.out_of_memory()
    assert not Path("oom").exists()
    container.delete()
    fed = place.start("/usr/bin/python3", "-Sc", eat, memory_bytes=300 << 20, name="fed")
    assert fed.wait(10) and fed.exit_status() == 0


def test_two_containers_share_a_network_namespace_only(place: Place) -> None:
    serve = (
        "import socket; s = socket.create_server(('127.0.0.1', 8080)); print('up', flush=True);"
        "c = s.accept()[0]; print(c.recv(9).decode(), flush=True)"
    )
    one = place.start("/usr/bin/python3", "-Sc", serve, name="one")
    assert "up" in place.output(one.spec, "up")
    two = place.start(
        "/bin/sh", "-c", "ps ax | wc -l; echo end; exec sleep 60", name="two", uid=50001
    )
    netns.run(TOP, lambda: socket.create_connection(("127.0.0.1", 8080))).sendall(b"hello")
    assert "hello" in place.output(one.spec, "hello")
    assert one.wait(5) and two.running()
    assert int(place.output(two.spec, "end")[0]) <= 5
    two.delete()
    one.delete()
    assert traces(place) == []


def test_mounts_are_writable_only_where_said(place: Place) -> None:
    work, fixed = place.root / "work", place.root / "fixed.txt"
    work.mkdir()
    os.chown(work, 60001, 60001)
    fixed.write_text("fixed\n")
    place.root.chmod(0o700)
    binds = [
        oci.BindMount(work, "/home/vcap/app", read_only=False),
        oci.BindMount(fixed, "/etc/fixed.txt"),
    ]
    script = (
        "exec 2>&-; pwd; echo hi > made; cat /etc/fixed.txt; echo x > /etc/fixed.txt || echo ro"
    )
    container = place.start("/bin/sh", "-c", script, mounts=binds, cwd="/home/vcap/app")
    assert container.wait(5) and container.exit_status() == 0
    texts = place.output(container.spec, "ro")
    assert texts == ["/home/vcap/app", "fixed", "ro"]
    assert (work / "made").read_text() == "hi\n" and (work / "made").stat().st_uid == 60001
    container.delete()
    assert (work / "made").exists() and fixed.read_text() == "fixed\n"


def test_a_start_that_fails_says_why_and_leaves_nothing(place: Place) -> None:
    cases = (
        (place.spec("/bin/absent", init=False), KernelError, "no such file"),
        (place.spec("true", netns_path=Path("/run/netns/b-absent")), KernelError, "b-absent"),
        (
            place.spec("true", mounts=[oci.BindMount(Path("/b-absent"), "/x")]),
            InputError,
            "b-absent",
        ),
        (place.spec("true", log_path=place.root / "no" / "log"), InputError, "directory"),
    )
    for spec, kind, text in cases:
        cgroup.create(spec.cgroup_path)
        with pytest.raises(kind, match=text):
            oci.start(spec, place.runtime)
    cgroup.create(f"/{TOP}/i/app")
    cgroup.remove(f"/{TOP}/i/app")
    assert traces(place) == []


def test_a_short_command_is_no_failed_start(place: Place) -> None:
    for status in (0, 3):
        container = place.start("/bin/sh", "-c", f"exit {status}")
        assert container.wait(5) and container.exit_status() == status
        container.delete()


def test_the_shim_is_in_its_own_group_and_a_killed_tree_leaves_nothing(place: Place) -> None:
    shim = f"/{TOP}/i/shim"
    container = place.start("/bin/sleep", "60", shim_cgroup_path=shim)
    assert len(cgroup.pids(shim)) == 1
    assert container.pid in cgroup.pids(f"/{TOP}/i/app")
    cgroup.kill(f"/{TOP}")
    assert container.wait(5)
    container.delete()
    cgroup.remove(f"/{TOP}")
    assert traces(place) == []


def test_root_can_look_inside(place: Place) -> None:
    container = place.start("/bin/sleep", "60", hostname="inside")
    line = launch.argv(["/bin/sh", "-c", "hostname; id -u; readlink /proc/self/ns/net; "
                        "grep ^0:: /proc/self/cgroup; ps ax | grep -c [s]leep; exit 9"],
                       container_pid=container.pid)  # fmt: skip
    done = subprocess.run(line, capture_output=True, text=True)
    inode = os.stat(netns.path(TOP)).st_ino
    assert done.stdout.splitlines()[:4] == ["inside", "0", f"net:[{inode}]", f"0::/{TOP}/i/app"]
    assert done.returncode == 9, done.stderr
    container.delete()


def _target(link: str) -> str:
    try:
        return os.readlink(link)
    except FileNotFoundError:
        return ""  # closed since it was listed


def test_no_fd_is_leaked(place: Place) -> None:
    fds = len(os.listdir("/proc/self/fd"))
    container = place.start("/bin/sleep", "60")
    inside = os.listdir(f"/proc/{container.pid}/fd")
    assert sorted(inside, key=int)[:3] == ["0", "1", "2"]
    targets = [_target(f"/proc/{container.pid}/fd/{fd}") for fd in inside]
    assert not [t for t in targets if t.startswith("/run/") or str(place.root) in t]
    container.delete()
    assert len(os.listdir("/proc/self/fd")) == fds


def test_pieces_of_a_line_are_joined_per_stream() -> None:
    raw = ["t1 stdout P he", "t2 stderr F oh no: x", "t3 stdout F llo", "torn", "t4 stdout F "]
    assert list(oci.log_lines(raw)) == [
        ("t2", "stderr", "oh no: x"),
        ("t3", "stdout", "hello"),
        ("t4", "stdout", ""),
    ]


def test_the_identity_is_beyond_doubt(place: Place) -> None:
    container = place.start("/bin/sleep", "60")
    stored = json.loads((container.spec.bundle_dir / "identity").read_text())
    assert procs.Identity(**stored) == container.identity == procs.identity(container.pid)
    container.close()
