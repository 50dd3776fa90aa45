"""Compile what this machine has not compiled yet, into a cache keyed by the sources' hash."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from meshnet.kernel.bpf.source import HOOKS, content_hash
from meshnet.model.errors import PlatformError

CACHE = Path("/var/cache/meshnet/bpf")
FILE = "programs.json"
_TIMEOUT_S = 120.0


def compiled_file(cache: Path = CACHE) -> Path:
    """Where the compiled form of the present sources is, or will be."""
    return cache / content_hash() / FILE


def ensure_compiled(cache: Path = CACHE) -> None:
    """Compile all programs unless the cache has them; safe to call from many processes at once.

    Raises:
        PlatformError: BCC, clang or the kernel headers are missing, or a program does not compile.
    """
    target = compiled_file(cache)
    if target.exists():
        return
    with _lock(cache):
        if target.exists():
            return
        with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
            programs = list(pool.map(_compile, [hook.name for hook in HOOKS]))
        _publish(programs, target)


@contextlib.contextmanager
def _lock(cache: Path) -> Iterator[None]:
    try:
        cache.mkdir(parents=True, exist_ok=True)
        lock = open(cache / "lock", "w")  # noqa: SIM115
    except OSError as exc:
        raise PlatformError(f"cannot write the BPF cache {cache}: {exc.strerror}") from exc
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _compile(name: str) -> dict[str, Any]:
    argv = [sys.executable, "-m", "meshnet.kernel.bpf.compile_child", name]
    try:
        done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=_TIMEOUT_S)
    except subprocess.TimeoutExpired as exc:
        raise PlatformError(f"compiling bpf/{name}.c took over {_TIMEOUT_S:.0f} s") from exc
    if done.returncode != 0:
        raise PlatformError(f"bpf/{name}.c does not compile: {_reason(done.stderr)}")
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def _reason(stderr: str) -> str:
    """What a person needs of BCC's output, on one line."""
    if "No module named 'bcc'" in stderr:
        return "BCC is missing: install python3-bpfcc and use a venv with --system-site-packages"
    if "kconfig.h" in stderr or "Unable to find kernel headers" in stderr:
        release = os.uname().release
        return f"no kernel headers under /lib/modules/{release}/build: run netns_lab/setup.sh"
    lines = stderr.strip().splitlines()
    errors = [line for line in lines if "error:" in line]
    return " | ".join((errors or lines)[-5:])


def _publish(programs: list[dict[str, Any]], target: Path) -> None:
    """One rename, so that no reader ever sees half a cache entry."""
    directory = Path(tempfile.mkdtemp(prefix=".new-", dir=target.parent.parent))
    try:
        directory.chmod(0o755)
        (directory / FILE).write_text(json.dumps({"programs": programs}), encoding="utf-8")
        shutil.rmtree(target.parent, ignore_errors=True)
        directory.rename(target.parent)
    except OSError as exc:
        shutil.rmtree(directory, ignore_errors=True)
        raise PlatformError(f"cannot write the BPF cache {target}: {exc.strerror}") from exc


if __name__ == "__main__":
    try:
        ensure_compiled()
    except PlatformError as exc:
        sys.exit(f"meshnet: {exc}")
