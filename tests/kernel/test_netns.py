"""Namespaces: made, entered, set up and removed, without a trace in the caller's own."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from meshnet.kernel import netns
from meshnet.model.errors import Conflict, InputError, KernelError, NotFound

pytestmark = pytest.mark.sudo


@pytest.fixture
def name() -> Iterator[str]:
    chosen = f"b-ns-{os.getpid()}"
    netns.create(chosen)
    yield chosen
    if netns.exists(chosen):
        netns.delete(chosen)


def _inode(where: str = "/proc/self/ns/net") -> int:
    return os.stat(where).st_ino


def test_a_namespace_has_its_loopback_and_nothing_else(name: str) -> None:
    def look() -> tuple[list[str], bool]:
        with socket.create_server(("127.0.0.1", 0)) as server:
            socket.create_connection(server.getsockname(), 1).close()
        return [n for _, n in socket.if_nameindex()], True

    links, connected = netns.run(name, look)
    assert "eth0" not in links and links[0] == "lo" and connected
    assert name in netns.names() and netns.exists(name)


def test_the_caller_stays_where_it_was(name: str) -> None:
    before, threads, fds = _inode(), threading.active_count(), len(os.listdir("/proc/self/fd"))
    inside = netns.run(name, lambda: _inode("/proc/thread-self/ns/net"))
    assert inside == os.stat(netns.path(name)).st_ino != before
    with pytest.raises(ZeroDivisionError):
        netns.run(name, lambda: 1 // 0)
    assert _inode() == before
    assert (threading.active_count(), len(os.listdir("/proc/self/fd"))) == (threads, fds)


def test_delete_leaves_no_file_and_tells_of_a_missing_one(name: str) -> None:
    netns.delete(name)
    assert not netns.path(name).exists() and name not in netns.names()
    with pytest.raises(NotFound):
        netns.delete(name)
    with pytest.raises(NotFound):
        netns.run(name, lambda: None)


def test_a_taken_name_is_refused_and_kept(name: str) -> None:
    before = netns.path(name).stat().st_ino
    with pytest.raises(Conflict):
        netns.create(name)
    assert netns.path(name).stat().st_ino == before


def test_a_name_cannot_climb() -> None:
    for bad in ("", "../x", "a/b", ".", "a b"):
        with pytest.raises(InputError):
            netns.path(bad)


def test_a_stale_file_is_no_namespace_and_can_be_deleted() -> None:
    stale = f"b-stale-{os.getpid()}"
    netns.NETNS_DIR.mkdir(exist_ok=True)
    netns.path(stale).touch()
    assert not netns.exists(stale)
    with pytest.raises(NotFound):
        netns.run(stale, lambda: None)
    netns.delete(stale)
    assert not netns.path(stale).exists()


def test_iproute2_and_we_live_in_one_directory(name: str) -> None:
    other = f"b-iproute-{os.getpid()}"
    subprocess.run(["ip", "netns", "add", other], check=True)
    try:
        assert {name, other} <= set(netns.names())
        netns.delete(name)
        assert other in netns.names() and name not in netns.names()
    finally:
        subprocess.run(["ip", "netns", "del", other], check=True)
        netns.create(name)


ALONE = """
import os, subprocess
from meshnet.kernel import netns
netns.create("one")
assert os.path.ismount(netns.NETNS_DIR)
subprocess.run(["ip", "netns", "add", "two"], check=True)
netns.delete("one")
assert netns.names() == ["two"]
netns.create("one")
subprocess.run(["ip", "netns", "del", "two"], check=True)
assert netns.names() == ["one"]
netns.delete("one")
assert not os.path.ismount(netns.NETNS_DIR)
"""


def test_the_directory_is_a_mount_while_it_has_names() -> None:
    # A /run of its own, so that other tests' namespaces do not count.
    line = f"mount -t tmpfs none /run && exec {sys.executable} -c '{ALONE}'"
    subprocess.run(["unshare", "-m", "sh", "-c", line], check=True)


def test_sysctl_holds_inside_only_and_returns_what_was(name: str) -> None:
    key = "net.ipv4.ip_default_ttl"
    outside = Path(netns.sysctl_path(key)).read_text()
    assert netns.sysctl(name, {key: 77}) == {key: "64"}
    assert netns.sysctl(name, {key: 78}) == {key: "77"}
    assert Path(netns.sysctl_path(key)).read_text() == outside
    with pytest.raises(KernelError, match=r"net\.ipv4\.nonsense"):
        netns.sysctl(name, {"net.ipv4.nonsense": 1})


def test_cookies_tell_namespaces_apart(name: str) -> None:
    assert netns.cookie(name) != netns.cookie(None)
    assert netns.cookie(name) == netns.cookie(netns.path(name))
