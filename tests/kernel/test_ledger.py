"""The ledger: everything it names goes, nothing else does, whatever crashed in between."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

import pytest

from meshnet.kernel import cgroup, ledger, links, mounts, netns, procs
from meshnet.kernel.ledger import Ledger
from meshnet.model.errors import InputError

NAME = f"b-le-{os.getpid()}"


def test_entries_are_what_was_recorded_and_not_forgotten(tmp_path: Path) -> None:
    book = Ledger(tmp_path / "ledger")
    assert book.entries() == []
    book.record("netns", name="a")
    book.record("dir", path=str(tmp_path))
    book.record("netns", name="a")
    book.forget("file", path="never seen")
    assert [(e.kind, e.ident) for e in book.entries()] == [
        ("netns", {"name": "a"}),
        ("dir", {"path": str(tmp_path)}),
    ]
    book.forget("netns", name="a")
    assert [e.kind for e in Ledger(book.path).entries()] == ["dir"]
    book.record("netns", name="a")
    assert [e.kind for e in book.entries()] == ["dir", "netns"]


def test_a_torn_line_costs_only_itself(tmp_path: Path) -> None:
    book = Ledger(tmp_path / "ledger")
    book.record("netns", name="a")
    with open(book.path, "a") as f:
        f.write('\n{"at": 5, "kind": "net')
    book.record("netns", name="b")
    assert [e.ident["name"] for e in book.entries()] == ["a", "b"]


def test_a_half_given_entry_is_refused(tmp_path: Path) -> None:
    book = Ledger(tmp_path / "ledger")
    for kind, ident in (("nonsense", {}), ("link", {"name": "x"}), ("sysctl", {"key": "x"})):
        with pytest.raises(InputError):
            book.record(kind, **ident)
    assert not book.path.exists()


@pytest.mark.sudo
def test_undo_removes_every_kind(tmp_path: Path) -> None:
    lab, book = tmp_path / "lab", Ledger(tmp_path / "lab" / "ledger")
    key = "net.ipv4.ping_group_range"
    number = links.unused_ifindex()
    lab.mkdir()
    book.record("dir", path=str(lab))
    before = Path(netns.sysctl_path(key)).read_text()
    book.record("sysctl", key=key, previous=before.strip())
    netns.set_sysctl(key, "7\t8")
    book.record("cgroup", path=f"/{NAME}")
    group = cgroup.create(f"/{NAME}/x")
    book.record("netns", name=NAME)
    netns.create(NAME)
    book.record("link", name=f"mnb{os.getpid() % 10**6}", ifindex=number)
    links.apply(None, [links.Veth(f"mnb{os.getpid() % 10**6}", "eth0", NAME, ifindex=number)])
    book.record("mount", path=str(lab / "bpf"))
    mounts.bpffs(lab / "bpf")
    book.record("file", path=str(tmp_path / "file"))
    (tmp_path / "file").touch()
    inside = procs.start(["sleep", "60"], cgroups=[group], netns=netns.path(NAME))
    alone = procs.start(["sleep", "60"])
    deadline = time.monotonic() + 5
    while inside.pid not in cgroup.pids(f"/{NAME}") and time.monotonic() < deadline:
        time.sleep(0.01)
    book.record("process", pid=alone.pid, start_time=alone.identity.start_time)

    assert ledger.undo([book.path]) == []

    assert not lab.exists() and not (tmp_path / "file").exists()
    assert not netns.exists(NAME) and not cgroup.exists(f"/{NAME}")
    assert number not in [link.ifindex for link in links.show()]
    assert Path(netns.sysctl_path(key)).read_text() == before
    for process in (inside, alone):
        assert not process.running()
        process.exit_status()
        process.close()
    assert ledger.undo([book.path]) == []


@pytest.mark.sudo
def test_what_was_recorded_but_never_made_is_forgiven(tmp_path: Path) -> None:
    book = Ledger(tmp_path / "ledger")
    book.record("dir", path=str(tmp_path / "absent"))
    book.record("file", path=str(tmp_path / "absent"))
    book.record("mount", path=str(tmp_path / "absent"))
    book.record("netns", name="b-absent")
    book.record("cgroup", path="/b-absent")
    book.record("link", name="b-absent", ifindex=77)
    book.record("process", pid=os.getpid(), start_time=1)  # our number, not our start time
    assert ledger.undo([book.path]) == []
    assert not book.path.exists()


@pytest.mark.sudo
def test_what_cannot_go_stays_in_the_ledger_and_is_told(tmp_path: Path) -> None:
    book, other = Ledger(tmp_path / "ledger"), Ledger(tmp_path / "other")
    book.record("dir", path=str(tmp_path / "lab"))
    other.record("file", path=str(tmp_path / "file"))
    (tmp_path / "file").touch()
    mounts.tmpfs(tmp_path / "lab" / "forgotten", size_bytes=4096)
    try:
        errors = ledger.undo([book.path, other.path])
        assert len(errors) == 1 and "still mounted" in errors[0]
        assert [e.kind for e in book.entries()] == ["dir"]
        assert not other.path.exists() and not (tmp_path / "file").exists()
    finally:
        mounts.unmount(tmp_path / "lab" / "forgotten")
    assert ledger.undo([book.path]) == []
    assert not (tmp_path / "lab").exists()


@pytest.mark.sudo
def test_what_the_killed_recorded_to_the_last_goes_too(tmp_path: Path) -> None:
    book, made = Ledger(tmp_path / "ledger"), tmp_path / "made"
    book.record("cgroup", path=f"/{NAME}")
    group = cgroup.create(f"/{NAME}/x")
    made.mkdir()
    busy = (
        "import sys, pathlib; from meshnet.kernel.ledger import Ledger\n"
        "book, made = Ledger(pathlib.Path(sys.argv[1])), pathlib.Path(sys.argv[2])\n"
        "for n in range(10**9):\n"
        "    book.record('file', path=str(made / str(n)))\n"
        "    (made / str(n)).touch()\n"
    )
    process = procs.start(
        [sys.executable, "-c", busy, str(book.path), str(made)],
        cgroups=[group],
        env=dict(os.environ),
    )
    deadline = time.monotonic() + 10
    while not any(made.iterdir()) and time.monotonic() < deadline:
        time.sleep(0.001)
    assert any(made.iterdir())
    assert ledger.undo([book.path]) == []
    assert not any(made.iterdir()) and not book.path.exists() and not process.running()


@pytest.mark.sudo
def test_a_link_of_the_same_name_that_is_not_ours_stays(tmp_path: Path) -> None:
    name = f"mnc{os.getpid() % 10**6}"
    links.apply(None, [links.Veth(name, name + "p")])
    try:
        book = Ledger(tmp_path / "ledger")
        book.record("link", name=name, ifindex=links.ifindex(name) + 1)
        assert ledger.undo([book.path]) == []
        assert links.ifindex(name)
    finally:
        links.apply(None, [links.Delete(name)])


def test_entries_are_plain_json_lines(tmp_path: Path) -> None:
    book = Ledger(tmp_path / "ledger")
    book.record("cgroup", path="/meshnet/x")
    (line,) = [line for line in book.path.read_text().splitlines() if line]
    assert json.loads(line)["ident"] == {"path": "/meshnet/x"}
