"""Policy and resets on real connections: within a cell, over VXLAN and through a host port."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import socket
import struct
import threading
import time
from pathlib import Path

import pytest
from bpf_network import (
    DNS,
    GATEWAY,
    LB,
    ROUTER,
    STRANGER,
    Box,
    Cell,
    Network,
    ip,
    serve_echo,
    sysctl,
)
from bpf_world import World, errno_of
from scapy.layers.inet import IP, TCP
from scapy.layers.l2 import Ether

from meshnet.kernel.bpf import attach
from meshnet.kernel.bpf.datapath import CellParams, LbDatapath, PolicyRule

pytestmark = pytest.mark.sudo

CLIENT_TAG, SERVER_TAG = 0x101, 0x103
RULE = PolicyRule(CLIENT_TAG, SERVER_TAG, "tcp", 8080, 8080)
BIG = 3_000_000


@pytest.fixture(params=["tcx", "filter"])
def network(request, monkeypatch, world: World, bpffs: Path, params: CellParams) -> Network:
    """Two cells, their tc programs attached by link, or as filters (kernels before 6.6)."""
    monkeypatch.setenv(attach.NO_TCX, "1" if request.param == "filter" else "")
    attach.tcx_works.cache_clear()
    yield Network(world, bpffs, params)
    attach.tcx_works.cache_clear()


@pytest.fixture(params=["same cell", "across cells"])
def pair(request, network: Network) -> tuple[Box, Box, Cell]:
    """A client, a server and the server's cell."""
    first, second = network.cells
    client = first.box(2, CLIENT_TAG)
    cell = first if request.param == "same cell" else second
    server = cell.box(3, SERVER_TAG)
    server.start(serve_echo, server.address, 8080)
    return client, server, cell


def try_connect(address):
    """(errno, seconds it took)"""
    with socket.socket() as s:
        s.settimeout(5)
        begin = time.monotonic()
        return errno_of(lambda: s.connect(address)), time.monotonic() - begin


def echo(address, size):
    """Whether `size` bytes come back as they were."""
    data = os.urandom(size)
    with socket.create_connection(address, timeout=5) as s:
        writer = threading.Thread(target=s.sendall, args=(data,))
        writer.start()
        got = b""
        while len(got) < size and (part := s.recv(1 << 16)):
            got += part
        writer.join()
    return got == data


def refused_fast(result) -> bool:
    code, seconds = result
    return code == errno.ECONNREFUSED and seconds < 0.9  # before the SYN is sent again


def test_denied_without_a_policy_and_allowed_with_one(pair):
    client, server, cell = pair
    address = (server.address, 8080)
    assert refused_fast(client.do(try_connect, address))
    assert cell.counted("to_denied_policy") == 1
    assert cell.counted("resets_made") == 1
    cell.allow(RULE)
    assert client.do(echo, address, BIG)
    assert cell.counted("to_denied_policy") == 1
    cell.allow()
    assert refused_fast(client.do(try_connect, address))


def test_other_ports_and_the_other_way_stay_closed(pair):
    client, server, cell = pair
    cell.allow(RULE)
    client.start(serve_echo, client.address, 8080)
    assert refused_fast(client.do(try_connect, (server.address, 8081)))
    assert cell.counted("to_denied_policy") == 1
    assert refused_fast(server.do(try_connect, (client.address, 8080)))


def test_a_closed_port_is_refused_by_the_server_itself(pair):
    client, server, cell = pair
    cell.allow(PolicyRule(CLIENT_TAG, SERVER_TAG, "tcp", 8081, 8081))
    assert refused_fast(client.do(try_connect, (server.address, 8081)))
    assert cell.counted("to_denied_policy") == 0


@pytest.mark.parametrize("size", [1, 500_000])
def test_a_policy_taken_away_cuts_what_is_established(network, pair, size):
    client, server, cell = pair
    cell.allow(RULE)
    go, tell = os.pipe()

    def talk(say):
        with socket.create_connection((server.address, 8080), timeout=5) as s:
            s.sendall(b"x")
            assert s.recv(1) == b"x"
            say("ready")
            os.read(go, 1)
            return errno_of(lambda: (s.sendall(b"x" * size), s.recv(1)))

    child = client.start(talk)
    cell.allow()
    os.write(tell, b"x")
    assert child.hear() in (errno.ECONNRESET, errno.EPIPE)  # not a timeout


def test_a_servers_stream_is_cut_too(pair):
    """The server keeps sending; the client only acknowledges. Both ends learn of the end."""
    client, server, cell = pair
    cell.allow(PolicyRule(CLIENT_TAG, SERVER_TAG, "tcp", 9000, 9000))

    def stream(say):
        with socket.create_server((server.address, 9000)) as listener:
            say("ready")
            connection, _ = listener.accept()
            with connection:
                connection.settimeout(5)
                while True:
                    try:
                        connection.sendall(b"x" * 10_000)
                    except OSError as exc:
                        return exc.errno

    def drain(say):
        with socket.create_connection((server.address, 9000), timeout=5) as s:
            s.recv(1)
            say("ready")
            while True:
                try:
                    if not s.recv(1 << 16):
                        return "closed"
                except OSError as exc:
                    return exc.errno

    streaming = server.start(stream)
    draining = client.start(drain)
    cell.allow()
    assert draining.hear(3) == errno.ECONNRESET
    assert streaming.hear(3) in (errno.ECONNRESET, errno.EPIPE)


def test_the_tag_rides_in_the_vxlan_header(network):
    first, second = network.cells
    client, server = first.box(2, CLIENT_TAG), second.box(3, SERVER_TAG)
    server.start(serve_echo, server.address, 8080)
    second.allow(RULE)

    def capture(say):
        groups = set()
        every = 3  # ETH_P_ALL: with any other, a packet socket sees no outgoing frame
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(every)) as s:
            s.bind(("eth0", every))
            s.settimeout(5)
            say("ready")
            while len(groups) < 2:
                frame = s.recv(2048)
                if frame[23] == 17 and frame[36:38] == struct.pack(">H", 4789):
                    flags, group = struct.unpack(">HH", frame[42:46])
                    assert flags == 0x8800
                    groups.add(group)
        return groups

    capturing = network.world.start(capture, netns=second.netns)
    assert capturing.hear() == "ready"
    assert client.do(echo, (server.address, 8080), 10)
    assert capturing.hear() == {CLIENT_TAG, SERVER_TAG}


def test_host_ports_are_the_routers(network):
    cell = network.cells[1]
    server = cell.box(3, SERVER_TAG)
    echoing = server.start(serve_echo, server.address, 8080)
    address = network.host_port(cell, server)
    assert network.world.do(echo, address, BIG, netns=network.router)
    assert echoing.hear() == (ROUTER, "closed")
    assert cell.counted("to_passed_router") > 0
    assert refused_fast(network.world.do(try_connect, address, netns=network.stranger))
    assert cell.counted("to_denied_no_tag") == 1
    cell.datapath.set_routers([STRANGER])
    assert network.world.do(echo, address, 10, netns=network.stranger)
    assert refused_fast(network.world.do(try_connect, address, netns=network.router))


def test_containers_reach_no_host_port_nor_anything_else_beyond(network):
    first, second = network.cells
    client, server = first.box(2, CLIENT_TAG), second.box(3, SERVER_TAG)
    server.start(serve_echo, server.address, 8080)
    address = network.host_port(second, server)
    beyond = [address, (first.underlay, 22), (ROUTER, 80), (GATEWAY, 53), (second.vtep, 80),
              (first.vtep, 80), ("8.8.8.8", 53)]  # fmt: skip
    for number, target in enumerate(beyond, 1):
        assert refused_fast(client.do(try_connect, target)), target
        assert first.counted("from_denied_destination") == number


def test_dns_on_the_cell_always_answers(network):
    cell = network.cells[0]
    client = cell.box(2, 0)

    def resolver(say):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            s.bind((DNS, 53))
            say("ready")
            data, peer = s.recvfrom(512)
            s.sendto(data[::-1], peer)
            s.recvfrom(1)

    def ask():
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            s.settimeout(2)
            s.sendto(b"abc", (DNS, 53))
            return s.recv(512)

    def ask_nobody():
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            s.settimeout(2)
            s.connect((DNS, 53))
            s.send(b"abc")
            return errno_of(lambda: s.recv(512))

    assert client.do(ask_nobody) == errno.ECONNREFUSED
    child = network.world.start(resolver, netns=cell.netns)
    assert child.hear() == "ready"
    assert client.do(ask) == b"cba"


def test_the_cell_alone_reads_metrics(network):
    cell = network.cells[0]
    client, server = cell.box(2, CLIENT_TAG), cell.box(3, SERVER_TAG)
    server.start(serve_echo, server.address, 15090)
    cell.allow(PolicyRule(CLIENT_TAG, SERVER_TAG, "tcp", 1, 65535))
    assert network.world.do(echo, (server.address, 15090), 10, netns=cell.netns)
    assert refused_fast(client.do(try_connect, (server.address, 15090)))
    assert cell.counted("to_denied_proxy_port") == 1


def test_data_path_survives_its_agent_and_is_adopted(pair, params, bpffs):
    client, server, cell = pair
    cell.allow(RULE)
    cell.datapath.close()
    assert client.do(echo, (server.address, 8080), 1000)
    again = type(cell.datapath).open(bpffs / f"cell-{cell.number}", params)
    assert again.containers()[server.ifindex].address == server.address
    assert again.counters()["to_passed_policy"] > 0
    assert cell.rules.items() == [RULE]
    again.close()


def test_load_balancer_sends_connections_on_with_the_clients_address(network, bpffs):
    lb = network.node("lb", LB)
    ip(network.router, "addr", "add", f"{LB}/32", "dev", "lo")
    sysctl(network.router, "net.ipv4.conf.all.arp_ignore=1", "net.ipv4.conf.all.arp_announce=2")
    words = ip(network.router, "-o", "link", "show", "eth0").split()
    router_mac = words[words.index("link/ether") + 1]
    datapath = LbDatapath.open(bpffs / "lb", LB)
    ifindex = int(ip(lb, "-o", "link", "show", "eth0").split(":")[0])
    network.world.do(datapath.attach, ifindex, netns=lb)
    serving = network.world.start(serve_echo, LB, 80, netns=network.router)
    assert serving.hear() == "ready"
    assert refused_fast(network.world.do(try_connect, (LB, 80), netns=network.stranger))
    datapath.set_routers([(ROUTER, router_mac)])
    assert network.world.do(echo, (LB, 80), BIG, netns=network.stranger)
    assert serving.hear() == (STRANGER, "closed")
    assert datapath.counters()["lb_new_flow"] == 1
    datapath.close()


def set_tx_checksum(device: str, on: bool) -> None:
    """As `ethtool -K DEVICE tx on|off`."""
    value = ctypes.create_string_buffer(struct.pack("<II", 0x17, on))  # ETHTOOL_STXCSUM
    request = struct.pack("<16sQ16x", device.encode(), ctypes.addressof(value))
    with socket.socket() as s:
        fcntl.ioctl(s, 0x8946, request)  # SIOCETHTOOL


def capture_reset(say):
    """The first TCP reset that arrives at eth0, as a scapy packet's bytes."""
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0800)) as s:
        s.bind(("eth0", 0x0800))
        s.settimeout(5)
        say("ready")
        while True:
            frame = s.recv(2048)
            if frame[23] == 6 and frame[47] & 4:
                return frame


@pytest.mark.parametrize("sender_offloads", [True, False])
@pytest.mark.parametrize("target", ["policy", "destination"])
def test_checksums_of_resets_are_right_on_a_wire(network, sender_offloads, target):
    """Offloaded or not, the reset's checksum is whole once a device without offload sent it."""
    cell = network.cells[0]
    client, server = cell.box(2, CLIENT_TAG), cell.box(3, SERVER_TAG)
    client.do(set_tx_checksum, "eth0", sender_offloads)
    network.world.do(set_tx_checksum, client.veth, False, netns=cell.netns)
    capturing = client.start(capture_reset)
    address = (server.address, 8080) if target == "policy" else (ROUTER, 80)
    assert refused_fast(client.do(try_connect, address))
    packet = Ether(capturing.hear())
    want = packet.copy()
    del want[TCP].chksum, want[IP].chksum
    assert bytes(want) == bytes(packet)
