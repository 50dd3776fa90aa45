"""Samples and results to test with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from meshnet.bench.result import FORMAT
from meshnet.bench.sample import Sample

MACHINE: dict[str, Any] = {
    "cpu": "Tester <1>", "cores": 2, "memory_gib": 4.0, "virtual": True, "kernel": "6.1",
    "system": "Debian", "envoy": "envoy-1", "wrk": "wrk 4", "load_average": [0.1, 0.1, 0.1],
}  # fmt: skip


def one(variant: str, number: int, rate: float, connections: int = 32, **more: Any) -> Sample:
    cpu = {"client": 10.0, "app": 5.0, "proxies": 0.0}
    return Sample(variant, "same cell", "keep-alive", connections, number, rate, 100.0, 200.0, 0,
                  cpu, 0, 0.1, more.pop("steal", 0.0), {"p50_us": 50.0, "p99_us": 90.0},
                  **more)  # fmt: skip


def result(samples: list[Sample], **more: Any) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "machine": MACHINE,
        "seed": 1,
        "rounds": 6,
        "seconds": 2,
        "variants": [{"name": "direct", "means": "no mesh"}],
        "samples": [s.row() for s in samples],
        "failed": [],
        "complete": True,
        "ended": "",
        **more,
    }


def kernel_result(path: Path, kernel: float) -> Path:
    """A result in which `kernel` has that ratio to direct."""
    samples = [one("direct", n, 1000 + n) for n in range(6)]
    samples += [one("kernel", n, kernel * (1000 + n)) for n in range(6)]
    path.write_text(json.dumps(result(samples)))
    return path
