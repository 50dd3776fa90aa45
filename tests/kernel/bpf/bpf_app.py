"""An app and its sidecar on real sockets: two cgroups and a network namespace with the hooks on."""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass
from pathlib import Path

from bpf_world import World, errno_of

from meshnet.kernel.bpf.datapath import CellDatapath

VIP = ("127.128.0.7", 8080)
MAPPED_VIP = ("::ffff:127.128.0.7", 8080)
SO_ORIGINAL_DST = 80
MPTCP = 262
TCP4 = (socket.AF_INET, socket.SOCK_STREAM)
TCP6 = (socket.AF_INET6, socket.SOCK_STREAM)
UDP4 = (socket.AF_INET, socket.SOCK_DGRAM)
UDP6 = (socket.AF_INET6, socket.SOCK_DGRAM)


@dataclass
class App:
    world: World
    datapath: CellDatapath
    links: Path
    netns: str
    app: Path
    sidecar: Path

    def do(self, fn, *args):
        return self.world.do(fn, *args, netns=self.netns, cgroup=self.app)

    def start_sidecar(self, answers: int = 1, port: int = 15001):
        child = self.world.start(serve, port, answers, netns=self.netns, cgroup=self.sidecar)
        assert child.hear() == "listening"
        return child

    def counted(self, name: str) -> int:
        return self.datapath.counters()[name]


def original_dst(connection: socket.socket):
    raw = connection.getsockopt(socket.SOL_IP, SO_ORIGINAL_DST, 16)
    family, port, address = struct.unpack("<H2s4s", raw[:8])
    assert (family, len(raw)) == (socket.AF_INET, 16)
    return socket.inet_ntoa(address), int.from_bytes(port)


def serve(say, port: int, answers: int):
    """As a sidecar: accept, and say what each connection was meant for (or the errno)."""
    with socket.create_server(("", port)) as listener:
        say("listening")
        for _ in range(answers):
            connection, peer = listener.accept()
            with connection:
                try:
                    say((original_dst(connection), peer))
                except OSError as exc:
                    say(exc.errno)
                connection.recv(1)


def connect_and_ask(kind, address):
    with socket.socket(*kind) as s:
        s.settimeout(5)
        s.connect(address)
        return s.getpeername()[:2], s.getsockname()[:2]


def connect_errno(kind, address):
    with socket.socket(*kind) as s:
        s.settimeout(5)
        return errno_of(lambda: s.connect(address))


def bind_errno(kind, address):
    with socket.socket(*kind) as s:
        return errno_of(lambda: s.bind(address))


def send_errno(kind, address):
    with socket.socket(*kind) as s:
        return errno_of(lambda: s.sendto(b"x", address))
