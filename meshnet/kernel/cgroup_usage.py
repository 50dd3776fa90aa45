"""What the processes of a control group have used and use, in whichever hierarchy counts it."""

from __future__ import annotations

import functools
from pathlib import Path

from meshnet.kernel import cgroup
from meshnet.model.errors import NotFound


def cpu_seconds(path: str) -> float:
    """CPU time used so far in the group and below. Raises NotFound."""
    values = _values(cgroup.directory(path) / "cpu.stat")  # v2 counts it without a controller, too
    return values["usage_usec"] / 1e6


def memory_bytes(path: str) -> int:
    """Memory in use, without file pages that could be dropped at once, as Garden counts it.

    Raises:
        NotFound: there is no such group, or nothing on this machine counts memory.
    """
    directory = cgroup.directory(path)
    names = ("memory.current", "inactive_file")
    if not (directory / names[0]).exists() and (root := _v1_memory()):
        directory = root / directory.relative_to(cgroup.v2_root())
        names = ("memory.usage_in_bytes", "total_inactive_file")
    try:
        used = int((directory / names[0]).read_text(encoding="ascii"))
    except OSError as exc:
        raise NotFound(f"no memory count of cgroup {path}") from exc
    return max(0, used - _values(directory / "memory.stat").get(names[1], 0))


@functools.cache
def _v1_memory() -> Path | None:
    for root in cgroup.v1_roots():
        if "memory" in root.name.split(","):
            return root
    return None


def _values(path: Path) -> dict[str, int]:
    try:
        rows = [line.split() for line in path.read_text(encoding="ascii").splitlines()]
    except OSError as exc:
        raise NotFound(f"nothing at {path}") from exc
    return {row[0]: int(row[1]) for row in rows if len(row) == 2 and row[1].isdigit()}
