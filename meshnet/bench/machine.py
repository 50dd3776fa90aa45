"""The machine that a benchmark ran on, as its report describes it."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import subprocess
from pathlib import Path
from typing import Any

from meshnet.bench.meter import busy_share

_LOOK_SECONDS = 1.0
_GOVERNOR = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")


def describe() -> dict[str, Any]:
    """What decides the figures. Raises PlatformError where there is no Envoy."""
    return {
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "affinity": sorted(os.sched_getaffinity(0)),  # nothing is pinned to a core
        "governor": _governor(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "kernel": platform.release(),
        "system": platform.freedesktop_os_release().get("PRETTY_NAME", "?"),
        "virtual": "hypervisor" in Path("/proc/cpuinfo").read_text(encoding="utf-8"),
        "wrk": _first_line(["wrk", "-v"]),
        "envoy": _envoy(),
        "meshnet": importlib.metadata.version("meshnet"),
        "python": platform.python_version(),
        "load_average": os.getloadavg(),
        "busy": busy_share(_LOOK_SECONDS),
    }


def _cpu() -> str:
    text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    match = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    return match[1] if match else platform.machine()


def _governor() -> str:
    try:
        return _GOVERNOR.read_text(encoding="ascii").strip()
    except OSError:
        return "?"  # a virtual machine does not know


def _envoy() -> str:
    from netns_lab.lab import envoy_binary

    return Path(envoy_binary()).parent.name


def _first_line(command: list[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:
        return "?"
    return (done.stdout or done.stderr).split("\n", 1)[0].strip()
