"""Redirection modes, on real sockets: how connect carries a VIP, and what can be seen of it."""

from __future__ import annotations

import errno
import socket
import time

import pytest
from bpf_app import (
    MAPPED_VIP,
    TCP4,
    TCP6,
    UDP4,
    VIP,
    App,
    connect_and_ask,
    connect_errno,
    send_errno,
)
from bpf_world import run

from meshnet.kernel import netns
from meshnet.kernel.bpf import abi
from meshnet.kernel.bpf.datapath import VipServices
from meshnet.kernel.bpf.maps import Map
from meshnet.kernel.iptables import Iptables
from meshnet.model.modes import Redirection

pytestmark = pytest.mark.sudo
OWN = "10.255.1.2"
ONE, OTHER = (OWN, 7001), (OWN, 7002)


def switch(app: App, mode: str, *, sockmap: bool = False) -> None:
    app.datapath.set_redirect(netns.cookie(app.netns), OWN, Redirection(mode, sockmap))


@pytest.fixture
def services(app, bpffs):
    services = VipServices.open(bpffs / "cell")
    yield services
    services.close()


def instance(say, port):
    """An app's instance: says who connected, answers with its own port."""
    with socket.create_server((OWN, port), family=socket.AF_INET) as listener:
        say("listening")
        while True:
            connection, peer = listener.accept()
            with connection:
                connection.sendall(b"%d" % port)
                say(peer)


def ask(kind, address):
    with socket.socket(*kind) as s:
        s.settimeout(5)
        s.connect(address)
        return s.getpeername()[:2], s.recv(16)


@pytest.mark.parametrize(("kind", "address"), [(TCP4, VIP), (TCP6, MAPPED_VIP)])
def test_kernel_mode_goes_to_an_instance_by_weight(app, services, kind, address):
    for port in (ONE[1], OTHER[1]):
        assert app.world.start(instance, port, netns=app.netns).hear() == "listening"
    switch(app, "kernel")
    services.replace({VIP: (ONE, OTHER, OTHER, OTHER)})
    seen = [app.do(ask, kind, address) for _ in range(60)]
    assert {peer for peer, _ in seen} == {address}
    share = sum(answer == b"7002" for _, answer in seen) / len(seen)
    assert 0.5 < share < 0.95  # 0.75 within 4 standard deviations
    assert app.counted("vip_to_instance") == 60
    assert app.counted("vip_to_proxy") == 0


def test_kernel_mode_refuses_what_has_no_instance(app, services):
    sidecar = app.start_sidecar()
    switch(app, "kernel")
    assert app.do(connect_errno, TCP4, VIP) == errno.ECONNREFUSED
    services.replace({VIP: ()})
    assert app.do(connect_errno, TCP4, VIP) == errno.ECONNREFUSED
    assert app.counted("vip_refused_no_instance") == 2
    assert app.do(send_errno, UDP4, VIP) == errno.EPERM
    switch(app, "ebpf")
    app.do(connect_and_ask, TCP4, VIP)
    assert sidecar.hear()[0] == VIP


def test_off_refuses_vips_and_leaves_addresses_alone(app):
    app.start_sidecar()
    assert app.world.start(instance, ONE[1], netns=app.netns).hear() == "listening"
    switch(app, "off")
    assert app.do(connect_errno, TCP4, VIP) == errno.ECONNREFUSED
    assert app.counted("vip_refused_mode_off") == 1
    assert app.do(ask, TCP4, ONE) == (ONE, b"7001")


def test_iptables_mode_leaves_vips_to_netfilter(app):
    sidecar = app.start_sidecar()
    with Iptables() as tables:
        tables.redirect_outbound(app.netns, "127.128.0.0/9")
        switch(app, "iptables")
        peer, local = app.do(connect_and_ask, TCP4, VIP)
        assert (peer, sidecar.hear()) == (VIP, (VIP, ("127.0.0.1", local[1])))
        assert app.counted("vip_to_netfilter") == 1
        assert app.counted("original_dst_unknown") == 1
        tables.redirect_outbound(app.netns, "127.128.0.0/9", proxy_port=0)
        assert "15001" not in str(tables.rules(app.netns))


@pytest.mark.parametrize("modes", [("ebpf", "iptables"), ("iptables", "ebpf")])
def test_a_tuple_used_again_in_another_mode_is_not_mistaken(app, modes):
    """The same client port, by connect's redirection and by netfilter's."""
    other = ("127.128.0.9", 8080)

    def from_port(vip):
        with socket.socket(*TCP4) as s:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            # A reset leaves no TIME_WAIT behind.
            s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            s.bind(("127.0.0.1", 41000))
            s.connect(vip)
            s.sendall(b"x")  # the sidecar has asked before it reads
            s.recv(1)

    sidecar = app.start_sidecar(answers=2)
    with Iptables() as tables:
        tables.redirect_outbound(app.netns, "127.128.0.0/9")
        for mode, vip in zip(modes, (VIP, other), strict=True):
            switch(app, mode)
            app.do(from_port, vip)
            assert sidecar.hear() == (vip, ("127.0.0.1", 41000))


def test_nothing_stays_of_a_connection_that_is_closed(app, bpffs):
    path = bpffs / "cell" / "maps" / "orig_dsts"
    noted = Map.open(path, abi.ConnectionKey, abi.Meant)
    sidecar = app.start_sidecar()
    app.do(connect_and_ask, TCP4, VIP)
    assert sidecar.hear()[0] == VIP
    sidecar.close()
    deadline = time.monotonic() + 5
    while list(noted.items()):
        assert time.monotonic() < deadline, "the entry stayed"
    assert app.do(connect_errno, TCP4, VIP) == errno.ECONNREFUSED
    assert list(noted.items()) == []
    noted.close()


def test_old_connections_live_on_when_the_mode_changes(app):
    sidecar = app.start_sidecar()

    def hold(say):
        with socket.socket(*TCP4) as s:
            s.connect(VIP)
            say("connected")
            s.sendall(b"x")
            return s.recv(1)

    def echo(say):
        with socket.create_server(("127.0.0.1", 15001)) as listener:
            say("listening")
            connection, _ = listener.accept()
            connection.sendall(connection.recv(1))

    sidecar.close()
    assert app.world.start(echo, netns=app.netns, cgroup=app.sidecar).hear() == "listening"
    held = app.world.start(hold, netns=app.netns, cgroup=app.app)
    assert held.hear() == "connected"
    switch(app, "off")
    assert held.hear() == b"x"
    assert app.do(connect_errno, TCP4, VIP) == errno.ECONNREFUSED


def test_spliced_connections_carry_every_byte(app):
    size = 3_000_000

    def echo(say):
        with socket.create_server(("127.0.0.1", 15001)) as listener:
            say("listening")
            connection, _ = listener.accept()
            while data := connection.recv(65536):
                connection.sendall(data)
            connection.close()

    def talk():
        with socket.socket(*TCP4) as s:
            s.settimeout(10)
            s.connect(VIP)
            sent = bytes(range(256)) * 50
            for _ in range(size // len(sent)):
                s.sendall(sent)
                got = b""
                while len(got) < len(sent):
                    got += s.recv(len(sent) - len(got))
                assert got == sent
            s.shutdown(socket.SHUT_WR)
            return s.recv(1)

    app.world.start(echo, netns=app.netns, cgroup=app.sidecar).hear()
    switch(app, "ebpf", sockmap=True)
    assert app.do(talk) == b""
    assert app.counted("spliced_to_peer") > 100


def test_services_change_whole_and_leave_nothing(services, bpffs):
    services.replace({VIP: (ONE, OTHER), ("127.128.0.8", 80): (ONE,)})
    assert services.items() == {VIP: (ONE, OTHER), ("127.128.0.8", 80): (ONE,)}
    assert services.replace({VIP: (ONE, OTHER)}) == 1
    again = VipServices.open(bpffs / "cell")
    assert again.items() == {VIP: (ONE, OTHER)}
    again.replace({VIP: (OTHER,)})
    assert again.items() == {VIP: (OTHER,)}
    again.replace({})
    again.close()
    slots = bpffs / "cell" / "maps" / "vip_slots"
    assert run("bpftool", "map", "dump", "pinned", str(slots)).strip().endswith("0 elements")
