"""The benchmark's own two programs, compiled once per machine and content."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from meshnet.model.errors import PlatformError

SOURCES = Path(__file__).resolve().parent / "native"
CACHE = Path("/var/cache/meshnet/bench")
PROGRAMS = ("answer", "pace")


def programs() -> Path:
    """The directory that holds `answer` and `pace`, an app to push.

    Raises:
        PlatformError: there is no C compiler, or the cache cannot be written.
    """
    digest = hashlib.sha256()
    for name in PROGRAMS:
        digest.update((SOURCES / f"{name}.c").read_bytes())
    target = CACHE / digest.hexdigest()[:16]
    if target.exists():
        return target
    try:
        CACHE.mkdir(parents=True, exist_ok=True)
        made = Path(tempfile.mkdtemp(prefix=".new-", dir=CACHE))
    except OSError as exc:
        raise PlatformError(f"cannot write {CACHE}: {exc.strerror}") from exc
    try:
        for name in PROGRAMS:
            _compile(SOURCES / f"{name}.c", made / name)
        made.chmod(0o755)
        os.rename(made, target)
    except OSError as exc:
        if not target.exists():  # another one may have been faster
            raise PlatformError(f"cannot write {target}: {exc.strerror}") from exc
    finally:
        shutil.rmtree(made, ignore_errors=True)
    return target


def _compile(source: Path, target: Path) -> None:
    line = ["cc", "-O2", "-Wall", "-o", str(target), str(source)]
    try:
        done = subprocess.run(line, capture_output=True, text=True, check=False)
    except OSError as exc:
        raise PlatformError("no C compiler: run `make set-up`") from exc
    if done.returncode:
        raise PlatformError(f"{source.name} does not compile: {done.stderr.strip()[-300:]}")
