"""The doctor's probes find what is there, and name what is not."""

from __future__ import annotations

import pytest

from meshnet.kernel import probe, probe_bpf
from meshnet.model.errors import PlatformError

pytestmark = pytest.mark.sudo


def test_this_machine_can_run_a_lab() -> None:
    rows = probe.run()
    assert {r.name: r.detail for r in rows if r.state == "missing"} == {}
    probe.require(rows)


def test_a_program_type_the_kernel_does_not_know_is_refused() -> None:
    with pytest.raises(OSError):
        probe_bpf.load(999, 0)


def test_a_missing_feature_is_named_with_its_remedy() -> None:
    def absent() -> str:
        probe_bpf.load(999, 0)
        return "loads"

    rows = [
        probe.Probe("veth", "ok", "pairs"),
        probe.required("BPF warp", "a newer kernel", absent),
    ]
    with pytest.raises(PlatformError, match=r"lacks BPF warp .*remedy: a newer kernel"):
        probe.require(rows)


def test_probing_leaves_no_link_behind() -> None:
    from pathlib import Path

    before = set(Path("/sys/class/net").iterdir())
    probe.run()
    assert set(Path("/sys/class/net").iterdir()) == before
