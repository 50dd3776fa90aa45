"""A real etcd of one to three members on loopback, which tests may kill and start again."""

from __future__ import annotations

import contextlib
import json
import shutil
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from meshnet.wire.tls import Tls

READY_SECONDS = 60.0


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


class Member:
    """One etcd process."""

    def __init__(self, name: str, directory: Path, tls: Tls | None) -> None:
        self.name, self.client_port, self.peer_port = name, free_port(), free_port()
        self._directory, self._tls = directory / name, tls
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, cluster: str, options: tuple[str, ...]) -> None:
        client, peer = (
            f"{self.scheme}://127.0.0.1:{p}" for p in (self.client_port, self.peer_port)
        )
        line = [
            "etcd", "--name", self.name, "--data-dir", str(self._directory),
            "--listen-client-urls", client, "--advertise-client-urls", client,
            "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer,
            "--initial-cluster", cluster, "--initial-cluster-state", "new", "--logger", "zap",
            *options,
        ]  # fmt: skip
        if self._tls:
            for prefix in ("--", "--peer-"):
                line += [f"{prefix}cert-file={self._tls.certificate}"]
                line += [f"{prefix}key-file={self._tls.key}", f"{prefix}client-cert-auth"]
                line += [f"{prefix}trusted-ca-file={self._tls.ca}"]
        with open(f"{self._directory}.log", "ab") as log:
            self.process = subprocess.Popen(line, stdout=log, stderr=log)

    @property
    def scheme(self) -> str:
        return "https" if self._tls else "http"

    def signal(self, number: int) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def status(self) -> dict[str, Any]:
        url = f"{self.scheme}://127.0.0.1:{self.client_port}/v3/maintenance/status"
        request = urllib.request.Request(url, b"{}")
        context = self._tls.client_context() if self._tls else None
        with urllib.request.urlopen(request, timeout=2, context=context) as reply:
            return dict(json.loads(reply.read()))


class Etcd:
    """The members, started together."""

    def __init__(
        self,
        directory: Path,
        size: int = 3,
        options: tuple[str, ...] = (),
        tls: Tls | None = None,
    ) -> None:
        self.members = [Member(f"m{n}", directory, tls) for n in range(size)]
        self._options = options
        self._cluster = ",".join(
            f"{m.name}={m.scheme}://127.0.0.1:{m.peer_port}" for m in self.members
        )

    def start(self, *members: Member) -> None:
        for member in members or self.members:
            member.start(self._cluster, self._options)

    def url(self, prefix: str, options: str = "") -> str:
        addresses = ",".join(f"127.0.0.1:{m.client_port}" for m in self.members)
        return f"etcd://{addresses}/{prefix}{options}"

    def leader(self) -> Member:
        """The member that leads; waits for an election."""
        deadline = time.monotonic() + READY_SECONDS
        while time.monotonic() < deadline:
            for member in self.members:
                with contextlib.suppress(OSError, ValueError):
                    status = member.status()
                    if status.get("leader", "0") == status["header"]["member_id"]:
                        return member
            time.sleep(0.05)
        raise TimeoutError("etcd has no leader")

    def healed(self) -> None:
        """Every member runs again and follows."""
        for member in self.members:
            if member.process is None:
                self.start(member)
            else:
                member.signal(signal.SIGCONT)
        deadline = time.monotonic() + READY_SECONDS
        while True:
            with contextlib.suppress(OSError, ValueError):
                if all(int(m.status().get("leader", "0")) for m in self.members):
                    return
            assert time.monotonic() < deadline, "etcd does not heal"
            time.sleep(0.05)

    def stop(self) -> None:
        for member in self.members:
            member.kill()


@contextlib.contextmanager
def etcd(directory: Path, size: int = 3, **options: Any) -> Iterator[Etcd]:
    """An etcd that serves; ended with the block."""
    if shutil.which("etcd") is None:
        pytest.fail("etcd is not installed: netns_lab/setup.sh --tests installs it")
    found = Etcd(directory, size, **options)
    try:
        found.start()
        yield found
    finally:
        found.stop()
