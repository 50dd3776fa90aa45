"""A runc or a conmon that hangs costs its container, not the cell: programs that hang stand in."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from meshnet.kernel import oci
from meshnet.kernel.oci import ContainerSpec
from meshnet.model.errors import KernelError

HANGS = "#!/bin/sh\nexec /bin/sleep 5\n"
# As conmon does: what it forked stays, with the pipe it is to answer on.
SAYS_NOTHING = "#!/bin/sh\n/bin/sleep 5 &\n"


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "bin").mkdir()
    monkeypatch.setattr(oci, "_PATH", str(tmp_path / "bin"))
    monkeypatch.setattr(oci, "_CREATE_TIMEOUT", 0.2)
    return tmp_path / "bin"


def put(program: Path, text: str) -> None:
    program.write_text(text)
    program.chmod(0o755)


@pytest.fixture
def spec(tmp_path: Path) -> ContainerSpec:
    return ContainerSpec(
        id="hangs",
        bundle_dir=tmp_path / "bundle",
        argv=("/bin/true",),
        env={},
        uid=1,
        gid=1,
        netns_path=tmp_path / "netns",
        cgroup_path="/meshnet-none/hangs",
        log_path=tmp_path / "log",
        init=False,
    )


@pytest.mark.parametrize("conmon", [HANGS, SAYS_NOTHING], ids=["hangs", "says nothing"])
def test_a_create_that_hangs_is_refused(programs: Path, spec: ContainerSpec, conmon: str) -> None:
    put(programs / "runc", HANGS)
    put(programs / "conmon", conmon)
    with pytest.raises(KernelError, match="container hangs: not created in"):
        oci.start(spec, spec.bundle_dir.parent / "runc")
    assert not spec.bundle_dir.exists()


def test_a_delete_that_hangs_leaves_nothing_all_the_same(
    programs: Path, spec: ContainerSpec
) -> None:
    put(programs / "runc", HANGS)
    root = spec.bundle_dir.parent / "runc"
    (root / spec.id).mkdir(parents=True)
    spec = dataclasses.replace(spec, bundle_dir=spec.bundle_dir.parent / "none")
    oci.remove(spec, root)
    assert not (root / spec.id).exists()
