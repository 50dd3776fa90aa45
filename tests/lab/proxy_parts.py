"""Parts of the proxies' world: daemons to kill, stub apps, requests that go on meanwhile."""

from __future__ import annotations

import http.client
import json
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, TypeVar

from meshnet.kernel import netns

T = TypeVar("T")
_MAIN = "import json, sys; from meshnet.{0}.main import run; run(json.loads(sys.argv[1]))"
_POLL_SECONDS = 0.01


def wait(what: Callable[[], T], seconds: float = 10.0) -> T:
    """The first truthy answer."""
    deadline = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < deadline, f"{what} did not come about in {seconds} s"
        time.sleep(_POLL_SECONDS)
    return found


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=5)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.connect(str(self._path))


def ask(path: Path, url: str) -> str:
    connection = UnixConnection(path)
    try:
        connection.request("GET", url)
        return connection.getresponse().read().decode()
    finally:
        connection.close()


class Daemon:
    """A `meshnet run ROOM` process that can be killed and started again."""

    def __init__(self, room: str, config: dict[str, Any], log: Path) -> None:
        self.room, self.config, self.log = room, config, log
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, first: str = "") -> None:
        """Start it; `first` are statements that run before it, as another release of it would."""
        with self.log.open("ab") as log:
            line = [sys.executable, "-c", first + _MAIN.format(self.room), json.dumps(self.config)]
            self.process = subprocess.Popen(line, stderr=log)

    def end(self, number: int = signal.SIGKILL) -> None:
        if self.process and self.process.poll() is None:
            self.process.send_signal(number)
            self.process.wait(10)


class App:
    """A stub instance: answers 200 with its name, or what `script` says for the n-th request."""

    def __init__(self, space: str, name: str, address: str, script: Iterable[int] = ()) -> None:
        self.name, self.address, self.seen = name, address, 0
        self.delay = 0.0  # seconds that an answer takes
        self.headers: dict[str, str] = {}
        self._script = tuple(script)
        self._lock = threading.Lock()
        self._server = netns.run(space, self._listen)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def _listen(self) -> ThreadingHTTPServer:
        app = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_GET(self) -> None:
                status, body = app.answer(dict(self.headers)), app.name.encode()
                time.sleep(app.delay)
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        ThreadingHTTPServer.request_queue_size = 256
        ThreadingHTTPServer.daemon_threads = True
        return ThreadingHTTPServer((self.address, 8080), Handler)

    def answer(self, headers: dict[str, str]) -> int:
        with self._lock:
            self.headers = {k.lower(): v for k, v in headers.items()}
            self.seen += 1
            return self._script[(self.seen - 1) % len(self._script)] if self._script else 200

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class Load:
    """Requests one after the other, in a thread, until the block ends."""

    def __init__(self, work: Callable[[], tuple[int, str]]) -> None:
        self.replies: list[tuple[int, str]] = []
        self._work, self._over = work, threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        while not self._over.is_set():
            try:
                self.replies.append(self._work())
            except OSError as exc:
                self.replies.append((0, str(exc)))

    def __enter__(self) -> Load:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def failed(self) -> list[tuple[int, str]]:
        assert len(self.replies) > 20
        return [reply for reply in self.replies if reply[0] != 200]
