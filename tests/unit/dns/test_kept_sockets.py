"""A killed DNS loses no question: its sockets are kept, and the next process answers."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import dns.message
import pytest

from meshnet.wire import kept_sockets

PATIENCE = 30.0


class Kept:
    """What a supervisor does: takes sockets, and hands them to the next process."""

    def __init__(self, directory: Path) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            s.bind(("127.0.0.1", 0))
            self.port = int(s.getsockname()[1])
        config = {
            "listen_host": "127.0.0.1",
            "port": self.port,
            "bbs_url": "http://127.0.0.1:9",
            "vip_resolver_addr": "127.0.0.1:9",
            "zone": {"*.mesh.lab": ["10.0.16.10"]},
        }
        self._config = directory / "dns.json"
        self._config.write_text(json.dumps(config))
        self._path = directory / "notify"
        self._notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._notify.bind(str(self._path))
        self._notify.settimeout(PATIENCE)
        self.fds: list[int] = []
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        environment = {**os.environ, "NOTIFY_SOCKET": str(self._path)}
        if self.fds:
            environment[kept_sockets.VARIABLE] = ",".join(map(str, self.fds))
        line = [
            sys.executable,
            "-m",
            "meshnet.cli.main",
            "run",
            "dns",
            "--config",
            str(self._config),
        ]
        self.process = subprocess.Popen(line, env=environment, pass_fds=self.fds)

    def until_ready(self) -> int:
        """How many sockets it sent."""
        sent = 0
        while True:
            text, fds, _, _ = socket.recv_fds(self._notify, 4096, 8)
            if b"FDSTORE=1" in text:
                self.fds, sent = fds, sent + len(fds)
            if b"READY=1" in text:
                return sent

    def end(self) -> None:
        if self.process:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()

    def close(self) -> None:
        self.end()
        for fd in self.fds:
            os.close(fd)
        self._notify.close()


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[Kept]:
    made = Kept(tmp_path)
    yield made
    made.close()


def question() -> bytes:
    return dns.message.make_query("hello.mesh.lab", "A").to_wire()


def test_a_question_to_a_killed_dns_is_answered_by_the_next(kept: Kept) -> None:
    kept.start()
    assert kept.until_ready() == 2
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp, socket.socket() as tcp:
        udp.connect(("127.0.0.1", kept.port))
        udp.settimeout(PATIENCE)
        tcp.settimeout(PATIENCE)
        kept.end()
        udp.send(question())  # nobody is there, and it is not refused
        tcp.connect(("127.0.0.1", kept.port))
        tcp.sendall(len(question()).to_bytes(2, "big") + question())
        kept.start()
        assert kept.until_ready() == 0, "it took what was kept"
        assert b"\x0a\x00\x10\x0a" in udp.recv(512)
        assert b"\x0a\x00\x10\x0a" in tcp.recv(512)


def test_sockets_of_another_address_are_not_taken(kept: Kept) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.1", 0))
        kept.fds = [os.dup(other.fileno())]
        kept.start()
        fds = kept.fds
        assert kept.until_ready() == 2
        for fd in fds:
            os.close(fd)


@pytest.mark.parametrize(
    ("environment", "found"),
    [
        ({}, []),
        ({kept_sockets.VARIABLE: "7,9"}, [7, 9]),
        ({"LISTEN_FDS": "2", "LISTEN_PID": str(os.getpid())}, [3, 4]),
        ({"LISTEN_FDS": "2", "LISTEN_PID": "1"}, []),  # another process's
    ],
)
def test_what_is_handed_on_is_read_once(environment: dict[str, str], found: list[int]) -> None:
    environment = dict(environment)
    assert kept_sockets.listed(environment) == found
    assert environment == {}
