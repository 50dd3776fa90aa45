"""What the pages of the manual must not forget."""

from __future__ import annotations

import re
from pathlib import Path

from meshnet.kernel.bpf import abi

DOCS = Path(__file__).resolve().parents[3] / "docs"


def test_every_kernel_counter_is_explained() -> None:
    text = (DOCS / "lab.md").read_text(encoding="utf-8")
    explained = re.findall(r"^\| `([a-z0-9_]+)` \| .", text, re.MULTILINE)
    counters = [c.name.lower() for c in abi.Counter if c.name != "COUNTERS"]
    assert sorted(explained) == sorted(counters)
