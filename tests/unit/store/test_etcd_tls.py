"""etcd over mutual TLS: who is let in, and certificates and CAs that change while it serves."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from etcd_members import READY_SECONDS, Etcd, etcd
from etcd_writer import MOST_SECONDS_WITHOUT_A_WRITE, PATIENCE, Writer, opened

from meshnet.model.errors import InputError, PlatformError
from meshnet.store import Store, etcd_client
from meshnet.wire.tls import Tls
from netns_lab.certificates import Authority, Issued
from tests.handshake import Clients, leaf, write


class World:
    """Three members, a client's files, and the CA that both have certificates from."""

    def __init__(self, directory: Path) -> None:
        self.directory, self.authority = directory, Authority.make("first")
        self.ca = self.authority.issued.certificate
        self.files = {name: self._issued() for name in ("members", "client")}
        self.write(self.ca)
        self.tls = {name: self._tls(name) for name in self.files}

    def _issued(self) -> Issued:
        return self.authority.issue(leaf("one"))

    def _tls(self, name: str) -> Tls:
        both, ca = (str(self.directory / name / file) for file in ("identity.pem", "ca.pem"))
        return Tls(both, both, ca)

    def write(self, *cas: bytes) -> None:
        """Everyone's files, with these CAs."""
        for name, issued in self.files.items():
            write(self.directory / name, issued, *cas)

    def renew(self, *cas: bytes) -> None:
        """New certificates for everyone, with these CAs."""
        self.files = {name: self._issued() for name in self.files}
        self.write(*cas)


def url(members: Etcd, prefix: str, tls: Tls | None = None) -> str:
    options = f"?ca={tls.ca}&cert={tls.certificate}&key={tls.key}" if tls else ""
    return members.url(prefix, options)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


@pytest.fixture
def members(world: World) -> Iterator[Etcd]:
    with etcd(world.directory, tls=world.tls["members"]) as found:
        found.leader()
        yield found


def restart(members: Etcd) -> None:
    """One after the other, as `lab rotate-certs --ca` does it."""
    for member in members.members:
        member.signal(signal.SIGTERM)
        assert member.process
        member.process.wait(READY_SECONDS)
        members.start(member)
        members.healed()


def test_only_who_shows_a_certificate_of_the_ca_is_let_in(
    members: Etcd, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    clients = Clients(world.directory, world.authority)
    store = opened(url(members, "in", clients.ours))
    store.put("n", "n", 1)
    assert store.get("n", "n") == 1
    store.close()
    monkeypatch.setattr(etcd_client, "DEADLINE_SECONDS", 1.0)
    strangers = [members.url("in"), members.url("in", f"?ca={clients.ours.ca}")]
    strangers += [url(members, "in", files) for files in (clients.foreign, clients.expired)]
    for stranger in strangers:
        with pytest.raises(PlatformError, match="did not answer"):
            Store.open(stranger)


def test_a_certificate_that_cannot_be_used_is_named(world: World) -> None:
    with pytest.raises(InputError, match=r"gone\.pem"):
        Store.open("etcd://127.0.0.1:1/x?ca=gone.pem")
    ours, other = (world.tls[name] for name in ("client", "members"))
    with pytest.raises(InputError, match=ours.certificate):
        Store.open(f"etcd://127.0.0.1:1/x?ca={ours.ca}&cert={ours.certificate}&key={other.key}")


@pytest.mark.timeout(300)
def test_who_goes_on_takes_new_certificates_and_a_new_ca(members: Etcd, world: World) -> None:
    old, second = world.tls["client"], Authority.make("second")
    kept = write(world.directory / "old", world.files["client"], world.ca)
    new = second.issued.certificate

    async def scenario() -> None:
        store = opened(url(members, "renewed", old))
        watch = store.watch("n", 1)
        writer = Writer(url(members, "renewed", old))
        writer.start()
        try:
            await asyncio.to_thread(writer.written, 20)
            world.renew(world.ca)
            await asyncio.to_thread(writer.written, 20)
            world.write(new, world.ca)
            await asyncio.to_thread(restart, members)
            world.authority = second
            world.renew(new, world.ca)
            await asyncio.to_thread(writer.written, 20)
            world.write(new)
            await asyncio.to_thread(restart, members)
            await asyncio.to_thread(writer.written, 20)
        finally:
            await asyncio.to_thread(writer.stop)
        assert writer.failed == []
        assert writer.longest < MOST_SECONDS_WITHOUT_A_WRITE
        found = store.list("n")
        assert {f"{n:06}" for n in writer.done} <= set(found)
        seen = [await asyncio.wait_for(anext(watch), PATIENCE) for _ in found]
        assert [change.value for change in seen] == sorted(found.values()), "a gap, or twice"
        store.close()

    asyncio.run(scenario())
    with pytest.raises(PlatformError, match="did not answer"):
        Store.open(url(members, "renewed", kept))


def test_files_that_do_not_fit_leave_the_certificate_before_in_use(
    members: Etcd, world: World
) -> None:
    store = opened(url(members, "unfit", world.tls["client"]))
    identity = Path(world.tls["client"].certificate)
    identity.write_bytes(world.files["client"].certificate + world.files["members"].key)
    store.put("n", "n", 1)
    identity.write_bytes(world.files["client"].certificate + world.files["client"].key)
    store.put("n", "n", 2)
    assert store.get("n", "n") == 2
    store.close()


def sockets() -> int:
    """How many this process has."""
    found = 0
    for fd in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            found += os.readlink(f"/proc/self/fd/{fd}").startswith("socket:")
    return found


def test_connections_with_old_certificates_do_not_pile_up(members: Etcd, world: World) -> None:
    store = opened(url(members, "pile", world.tls["client"]))
    store.put("n", "n", 0)
    before = sockets()
    for n in range(20):
        world.renew(world.ca)
        store.put("n", "n", n)
    deadline = time.monotonic() + PATIENCE
    while sockets() > before + 2:  # one is kept for what other threads have begun
        assert time.monotonic() < deadline, "connections are left open"
        time.sleep(0.05)
    store.close()
