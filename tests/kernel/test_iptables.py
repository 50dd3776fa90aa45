"""Netfilter rules, proven by connections: inbound goes to the sidecar, host ports to containers."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator

import pytest

from meshnet.kernel import links, netns
from meshnet.kernel.iptables import HostPort, Iptables
from meshnet.kernel.links import Address, Change, Route, Sysctl, Veth
from meshnet.model.errors import KernelError, NotFound

pytestmark = pytest.mark.sudo

OUT, CELL, APP = (f"b-ip-{os.getpid()}-{n}" for n in ("out", "cell", "app"))


@pytest.fixture
def ipt() -> Iterator[Iptables]:
    for name in (OUT, CELL, APP):
        netns.create(name)
    links.apply(
        CELL,
        [
            Veth("eth0", "eth0", peer_netns=OUT),
            Veth("app", "eth0", peer_netns=APP),
            Change("eth0", up=True),
            Change("app", up=True),
            Address("eth0", "10.0.16.21/24"),
            Address("app", "10.255.1.1/24"),
            Sysctl("net.ipv4.ip_forward", 1),
        ],
    )
    links.apply(OUT, [Change("eth0", up=True), Address("eth0", "10.0.16.11/24")])
    gateway = Route("default", via="10.255.1.1")
    links.apply(APP, [Change("eth0", up=True), Address("eth0", "10.255.1.2/24"), gateway])
    with Iptables() as helper:
        yield helper
    for name in (OUT, CELL, APP):
        netns.delete(name)


def arrives(source: str, address: str, port: int, listening: tuple[int, ...]) -> int:
    """The port of APP at which a connection to address:port arrives; 0 if none."""
    servers = [
        netns.run(APP, lambda p=p: socket.create_server(("10.255.1.2", p))) for p in listening
    ]
    try:
        client = netns.run(source, lambda: socket.create_connection((address, port), 3))
    except OSError:
        return 0
    else:
        with client:
            client.setblocking(False)
            return next(p for p, s in zip(listening, servers, strict=True) if _accepts(s))
    finally:
        for server in servers:
            server.close()


def _accepts(server: socket.socket) -> bool:
    server.setblocking(False)
    try:
        server.accept()[0].close()
    except BlockingIOError:
        return False
    return True


def test_inbound_goes_to_the_sidecar_but_for_its_metrics(ipt: Iptables) -> None:
    ports = (8080, 15006, 15090)
    assert arrives(CELL, "10.255.1.2", 8080, ports) == 8080
    ipt.redirect_inbound(APP, "10.255.1.2")
    ipt.redirect_inbound(APP, "10.255.1.2")
    assert arrives(CELL, "10.255.1.2", 8080, ports) == 15006
    assert arrives(CELL, "10.255.1.2", 15090, ports) == 15090
    assert arrives(APP, "10.255.1.2", 8080, ports) == 8080
    assert len(ipt.rules(APP)) == 1


def test_host_ports_are_exactly_those_asked_for(ipt: Iptables) -> None:
    network = {"overlay_network": "10.255.0.0/16", "netns": CELL}
    assert arrives(OUT, "10.0.16.21", 61001, (8080,)) == 0
    ipt.set_host_ports("10.0.16.21", [HostPort(61001, "10.255.1.2")], **network)
    assert arrives(OUT, "10.0.16.21", 61001, (8080,)) == 8080
    ipt.set_host_ports("10.0.16.21", [HostPort(61002, "10.255.1.2", 9090)], **network)
    assert arrives(OUT, "10.0.16.21", 61001, (8080, 9090)) == 0
    assert arrives(OUT, "10.0.16.21", 61002, (8080, 9090)) == 9090
    ipt.set_host_ports("10.0.16.21", [], **network)
    chains = sorted(rule["chain"] for rule in ipt.rules(CELL))
    assert chains == ["POSTROUTING", "PREROUTING", "meshnet-masq"]


def test_other_users_rules_stay(ipt: Iptables) -> None:
    ipt.redirect_inbound(CELL, "10.0.16.21")
    ipt.set_host_ports("10.0.16.21", [], overlay_network="10.255.0.0/16", netns=CELL)
    assert [r["target"] for r in ipt.rules(CELL) if r["chain"] == "PREROUTING"] == [
        {"DNAT": {"to-destination": "10.0.16.21:15006"}},
        "meshnet-ports",
    ]


def test_a_refused_change_changes_nothing(ipt: Iptables) -> None:
    ipt.redirect_inbound(APP, "10.255.1.2")
    with pytest.raises(KernelError, match="redirect_inbound"):
        ipt.redirect_inbound(APP, "10.2.2.2.2")
    with pytest.raises(NotFound, match="b-absent"):
        ipt.rules("b-absent")
    assert len(ipt.rules(APP)) == 1 and ipt.rules(OUT) == []


def test_a_killed_helper_is_replaced(ipt: Iptables) -> None:
    ipt.redirect_inbound(APP, "10.255.1.2")
    assert ipt._helper is not None
    os.kill(ipt._helper.pid, signal.SIGKILL)
    ipt._helper.wait()
    assert len(ipt.rules(APP)) == 1


def test_the_helper_keeps_no_deleted_namespace_alive(ipt: Iptables) -> None:
    ipt.redirect_inbound(APP, "10.255.1.2")
    assert ipt._helper is not None
    helper = os.stat(f"/proc/{ipt._helper.pid}/ns/net").st_ino
    assert helper == os.stat("/proc/self/ns/net").st_ino


def test_a_switch_of_the_inbound_redirection_breaks_no_connection(ipt: Iptables) -> None:
    """Both ways: one made with it lives on without, one made without lives on with it."""
    servers = {
        port: netns.run(APP, lambda p=port: socket.create_server(("10.255.1.2", p)))
        for port in (8080, 15006)
    }

    def connected(port: int) -> tuple[socket.socket, socket.socket]:
        client = netns.run(CELL, lambda: socket.create_connection(("10.255.1.2", 8080), 2))
        servers[port].settimeout(2)
        return client, servers[port].accept()[0]

    def talks(pair: tuple[socket.socket, socket.socket]) -> bool:
        client, server = pair
        client.sendall(b"x")
        server.settimeout(2)
        return server.recv(1) == b"x"

    pairs = []
    try:
        for proxy_port, port in ((15006, 15006), (0, 8080), (15006, 15006), (0, 8080)):
            ipt.redirect_inbound(APP, "10.255.1.2", proxy_port=proxy_port)
            pairs.append(connected(port))
            assert all(map(talks, pairs))
    finally:
        for one in (*servers.values(), *(end for pair in pairs for end in pair)):
            one.close()


def test_outbound_connections_to_vips_go_to_loopback_or_not(ipt: Iptables) -> None:
    def reached() -> bool:
        with netns.run(APP, lambda: socket.create_server(("127.0.0.2", 15001))) as listener:
            try:
                with netns.run(
                    APP, lambda: socket.create_connection(("127.128.0.7", 8080), 0.5)
                ) as client:
                    return client.getpeername() == ("127.128.0.7", 8080) and _accepts(listener)
            except OSError:
                return False

    assert not reached()
    for _ in range(2):  # and again: what is there is replaced
        ipt.redirect_outbound(APP, "127.128.0.0/9")
    assert reached()
    assert sum(rule["chain"] == "OUTPUT" for rule in ipt.rules(APP)) == 1
    ipt.redirect_outbound(APP, "127.128.0.0/9", proxy_port=0)
    assert not reached()
