"""Containers: OCI bundles run by runc, each watched by a conmon of its own.

The agent talks to conmon's files and to pidfds only, so it can die and `adopt` what it left. All
files of a container are in its bundle directory (config.json, rootfs/, pid, identity, exits/, oom);
runc keeps its state in the runtime root.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import signal
import subprocess
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TextIO

from meshnet.kernel import cgroup, oci_bundle, procs
from meshnet.kernel.oci_bundle import BindMount, ContainerSpec
from meshnet.model.errors import InputError, KernelError, NotFound, PlatformError

__all__ = [
    "BindMount",
    "Container",
    "ContainerSpec",
    "adopt",
    "last_exit_status",
    "log_lines",
    "remove",
    "start",
]

_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_CREATE_TIMEOUT = 20.0  # seconds: runc takes 0.1, a machine under full load some more


class Container:
    """A started container. `close()` lets go of it (it runs on); `delete()` ends and removes it."""

    def __init__(self, spec: ContainerSpec, runtime_root: Path, init: procs.Process) -> None:
        self.spec = spec
        self.pid = init.pid
        self.identity = init.identity
        self._runtime_root = runtime_root
        self._init = init

    def fileno(self) -> int:
        """The init's pidfd: readable once the container has ended (for `loop.add_reader`)."""
        return self._init.fileno()

    def running(self) -> bool:
        """Whether its init has not ended."""
        return self._init.running()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait up to `timeout` seconds for its end; whether that came."""
        return self._init.wait(timeout)

    def exit_status(self, timeout: float = 1.0) -> int | None:
        """0-255 as conmon wrote it (128+N for signal N); None while it runs or if it is unknown.

        conmon writes a moment after the end: waits up to `timeout` seconds for that.
        """
        if self.running():
            return None
        _wait_for_shim(self.spec, timeout)
        return last_exit_status(self.spec)

    def out_of_memory(self) -> bool:
        """Whether the kernel killed something in it for its memory limit (conmon's note)."""
        return (self.spec.bundle_dir / "oom").exists()

    def signal(self, number: int) -> None:
        """Signal its init (catatonit forwards to the command). Nothing happens if it has ended."""
        self._init.signal(number)

    def stop(self, patience: float = 10.0) -> bool:
        """SIGTERM, up to `patience` seconds, then kill all of it; whether it went politely.

        The end of its init is the end of everything in its PID namespace.
        """
        return self._init.stop(patience)

    def delete(self) -> None:
        """Kill what runs of it, remove runc's state, the bundle and the cgroup. Repeatable."""
        if self.fileno() >= 0:
            self.signal(signal.SIGKILL)
            self.wait(5.0)
        remove(self.spec, self._runtime_root)
        self.close()

    def close(self) -> None:
        """Free the pidfd; the container runs on."""
        self._init.close()


def start(spec: ContainerSpec, runtime_root: Path) -> Container:
    """Write the bundle and start the container under a conmon of its own.

    Args:
        runtime_root: directory of runc's state, shared by a cell's containers; made if missing.

    Raises:
        InputError: the spec names a source that is missing or a bundle that exists.
        KernelError: runc refused; the text is runc's own. Nothing is left behind but the log.
        PlatformError: runc, conmon or catatonit is not installed.
    """
    if spec.init and not os.path.exists(oci_bundle.CATATONIT):
        raise PlatformError("catatonit is not installed: apt install catatonit")
    conmon, runc = _program("conmon"), _program("runc")
    if not spec.log_path.parent.is_dir():
        raise InputError(f"container {spec.id}: no directory {spec.log_path.parent} for its log")
    runtime_root.mkdir(parents=True, mode=0o700, exist_ok=True)
    oci_bundle.write(spec)
    try:
        pid = _create(spec, runtime_root, conmon, runc)
        who = procs.identity(pid)
        if who is None:
            raise KernelError(f"container {spec.id} ended before it was started")
        # Before the start: a command that ends at once is no failed start.
        init = procs.adopt(who)
        _runc(runc, runtime_root, "start", spec.id)
        _store_identity(spec, who)
        return Container(spec, runtime_root, init)
    except BaseException:
        remove(spec, runtime_root)
        raise


def adopt(spec: ContainerSpec, runtime_root: Path) -> Container:
    """Take over a container that an earlier process started from the same spec.

    Raises:
        NotFound: it does not run any more (`remove(spec, runtime_root)` cleans up, and
            `last_exit_status(spec)` tells how it ended).
    """
    try:
        values = json.loads((spec.bundle_dir / "identity").read_text())
        return Container(spec, runtime_root, procs.adopt(procs.Identity(**values)))
    except (FileNotFoundError, ValueError, TypeError) as exc:
        raise NotFound(f"container {spec.id} was never started") from exc


def last_exit_status(spec: ContainerSpec) -> int | None:
    """The exit status conmon left for this container; None if there is none."""
    try:
        return int((spec.bundle_dir / "exits" / spec.id).read_text())
    except (FileNotFoundError, ValueError):
        return None


def remove(spec: ContainerSpec, runtime_root: Path) -> None:
    """Kill and remove whatever is left of the container, started or half-started. Repeatable."""
    with contextlib.suppress(NotFound):
        cgroup.kill(spec.cgroup_path)
    _wait_for_shim(spec, 2.0)
    if (runtime_root / spec.id).exists():
        with contextlib.suppress(KernelError):
            _runc(_program("runc"), runtime_root, "delete", "--force", spec.id)
        shutil.rmtree(runtime_root / spec.id, ignore_errors=True)
    with contextlib.suppress(NotFound):
        cgroup.remove(spec.cgroup_path)
    shutil.rmtree(spec.bundle_dir, ignore_errors=True)


def log_lines(raw: Iterable[str]) -> Iterator[tuple[str, str, str]]:
    """(time, "stdout" or "stderr", text) of the lines in conmon's log; others are skipped.

    The container's writes that ended in mid-line (tag P) are joined with what follows them.
    """
    pieces: dict[str, str] = {}
    for line in raw:
        fields = line.rstrip("\n").split(" ", 3)
        if len(fields) == 4:
            when, stream, tag, text = fields
            pieces[stream] = pieces.get(stream, "") + text
            if tag == "F":
                yield when, stream, pieces.pop(stream)


def _program(name: str) -> str:
    found = shutil.which(name, path=_PATH)
    if found is None:
        raise PlatformError(f"{name} is not installed: apt install {name}")
    return found


def _runc(runc: str, root: Path, *args: str) -> None:
    line = [runc, "--root", str(root), *args]
    try:
        done = subprocess.run(
            line, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_CREATE_TIMEOUT
        )
    except subprocess.TimeoutExpired as exc:
        raise KernelError(f"runc {args[0]} {args[-1]}: not done in {exc.timeout:.0f} s") from exc
    if done.returncode:
        raise KernelError(f"runc {args[0]} {args[-1]}: {_last_line(done.stderr)}")


def _create(spec: ContainerSpec, root: Path, conmon: str, runc: str) -> int:
    """Have conmon create the container (its init waits for `runc start`); its init's PID."""
    bundle = spec.bundle_dir
    line = [conmon, "--cid", spec.id, "--cuuid", spec.id, "--name", spec.id]
    line += ["--runtime", runc, "--runtime-arg", f"--root={root}", "--bundle", str(bundle)]
    line += ["--container-pidfile", str(bundle / "pid")]
    line += ["--conmon-pidfile", str(bundle / "conmon.pid"), "--exit-dir", str(bundle / "exits")]
    line += ["--persist-dir", str(bundle), "--full-attach", "--no-sync-log"]
    line += ["--log-path", f"k8s-file:{spec.log_path}", "--log-size-max", str(spec.log_max_bytes)]
    answer, sync = os.pipe()
    gate, go = os.pipe()
    env = {"PATH": _PATH, "_OCI_SYNCPIPE": str(sync), "_OCI_STARTPIPE": str(gate)}
    with open(answer) as answers:
        try:
            shim = subprocess.Popen(
                line,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env=env,
                pass_fds=(sync, gate),
                cwd=bundle,  # it drops a file "oom" where it stands
                start_new_session=True,
            )
        finally:
            os.close(sync)
            os.close(gate)
        # conmon waits at the gate before it forks, so it and runc are in their group from the start
        if spec.shim_cgroup_path:
            group = cgroup.create(spec.shim_cgroup_path)
            (group / "cgroup.procs").write_text(str(shim.pid))
        os.write(go, b"\0")
        os.close(go)
        text = _answer(spec, shim, answers)
    return _created_pid(spec, text)


def _answer(spec: ContainerSpec, shim: subprocess.Popen[bytes], answers: TextIO) -> str:
    """What conmon says of the create: one line, or nothing where it has ended."""
    began = time.monotonic()
    poller = select.poll()
    poller.register(answers)
    try:
        shim.wait(_CREATE_TIMEOUT)  # the real conmon is its child and stays
        left = began + _CREATE_TIMEOUT - time.monotonic()
        if poller.poll(max(0.0, left) * 1000):
            return answers.readline()
    except subprocess.TimeoutExpired:
        shim.kill()
        shim.wait()
    raise KernelError(f"container {spec.id}: not created in {_CREATE_TIMEOUT:.0f} s")


def _created_pid(spec: ContainerSpec, text: str) -> int:
    try:
        answer = json.loads(text)
    except ValueError as exc:
        raise KernelError(f"container {spec.id}: conmon said {text!r}") from exc
    pid = int(answer.get("pid", answer.get("data", -1)))
    if pid <= 0:
        message = answer.get("message") or "runc create failed"
        raise KernelError(f"container {spec.id}: {_last_line(message)}")
    return pid


def _last_line(text: str) -> str:
    """runc's complaint out of what it wrote: plain, logfmt or JSON lines."""
    line = next((one for one in reversed(text.splitlines()) if one.strip()), "no reason given")
    with contextlib.suppress(ValueError, KeyError, TypeError):
        return str(json.loads(line)["msg"])
    return line.partition("msg=")[2].strip('"') or line.strip()


def _store_identity(spec: ContainerSpec, who: procs.Identity) -> None:
    aside = spec.bundle_dir / "identity.new"
    aside.write_text(json.dumps(asdict(who)))
    aside.rename(spec.bundle_dir / "identity")


def _wait_for_shim(spec: ContainerSpec, timeout: float) -> None:
    """Wait until conmon, which ends after it wrote the exit status, has ended."""
    try:
        pid = int((spec.bundle_dir / "conmon.pid").read_text())
    except (FileNotFoundError, ValueError):
        return
    who = procs.identity(pid)
    if who is None or spec.id.encode() not in _command_line(pid):
        return
    deadline = time.monotonic() + timeout
    with contextlib.suppress(NotFound), procs.adopt(who) as shim:
        shim.wait(deadline - time.monotonic())


def _command_line(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""
