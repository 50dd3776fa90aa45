"""Health checks: what a probe finds, and what the monitor makes of it."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from meshnet.cell import health, monitor
from meshnet.cell.evacuation import Evacuation
from meshnet.cell.health import Unhealthy, probe
from meshnet.cell.journal import Journal
from meshnet.cell.monitor import Crashed, Monitor
from meshnet.cell.process import Check, Process, process
from meshnet.model.errors import PeerError
from meshnet.wire.gen import bbs_pb2 as pb


@pytest.fixture(autouse=True)
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Probes go from this test's own network namespace."""
    monkeypatch.setattr(health.netns, "run", lambda name, work: work())


@contextlib.contextmanager
def answering(answer: bytes | None) -> Iterator[int]:
    """A server that sends `answer` to whoever connects (None: nothing, and waits); its port."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        kept = []

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    client, _ = server.accept()
                    kept.append(client)
                    if answer is not None:
                        client.recv(4096)
                        client.sendall(answer)
                        client.close()

        threading.Thread(target=serve, daemon=True).start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)
        for client in kept:
            client.close()


def found(check: Check) -> str:
    async def main() -> str:
        try:
            await probe("any", "127.0.0.1", check)
        except Unhealthy as exc:
            return str(exc)
        return ""

    return asyncio.run(main())


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", ""),
        (b"HTTP/1.0 200\r\n\r\n", ""),
        (b"HTTP/1.1 503 Oh\r\n\r\n", "received status code 503 in "),
        (b"HTTP/1.1 302 Found\r\nLocation: /\r\n\r\n", "received status code 302 in "),
        (b"SSH-2.0-OpenSSH\r\n", "malformed HTTP response"),
        (b"\r\n", "malformed HTTP response"),
        (b"", "EOF"),
        (b"x" * 100_000, "malformed HTTP response"),
        (None, "timed out after 0.20 seconds"),
    ],
)
def test_an_http_check_wants_200_in_time(answer: bytes | None, says: str) -> None:
    with answering(answer) as port:
        text = found(Check(port, "/health", 0.2 if answer is None else 5.0))
    if says:
        assert text.startswith(f"Failed to make HTTP request to '/health' on port {port}: {says}")
    else:
        assert text == ""


def test_a_tcp_check_wants_a_connection() -> None:
    with answering(None) as port:
        assert found(Check(port)) == ""
    assert found(Check(port)) == f"Failed to make TCP connection to port {port}: connection refused"


CHECKED = process(
    pb.DesiredLRP(
        action=pb.Action(run_action=pb.RunAction(path="x")),
        start_timeout_ms=200,
        check_definition=pb.CheckDefinition(
            checks=[pb.Check(tcp_check=pb.TCPCheck(port=8080, interval_ms=1))]
        ),
    )
)
UNCHECKED = process(pb.DesiredLRP(action=pb.Action(run_action=pb.RunAction(path="x"))))


def watched(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    answers: Callable[[int], str],
    what: Process = CHECKED,
    ends_at: int = 10**9,
) -> tuple[Monitor, Callable[[], str]]:
    """A Monitor whose n-th check (from 0) fails with answers(n), if that is not empty."""
    asked = iter(range(10**9))
    last = [0]

    async def probed(*_: Any) -> None:
        last[0] = next(asked)
        if failure := answers(last[0]):
            raise Unhealthy(failure)

    async def check_alive() -> None:
        if last[0] >= ends_at:
            raise Crashed("it ended")

    monkeypatch.setattr(monitor, "probe", probed)
    monkeypatch.setattr(monitor, "_FIRST_CHECKS_SECONDS", 0.001)
    path = tmp_path / "log"
    path.touch()
    made = Monitor(what, ("ns", "10.255.1.2"), Journal(path, 0), check_alive)
    return made, path.read_text


def test_an_instance_is_healthy_at_the_first_check_that_passes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, said = watched(tmp_path, monkeypatch, lambda n: "" if n == 3 else "deaf")
    asyncio.run(made.become_healthy())
    assert "Starting health monitoring of container" in said()
    assert "Container became healthy" in said() and "stderr" not in said()


def test_one_that_never_is_crashes_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, said = watched(tmp_path, monkeypatch, lambda n: "deaf")
    with pytest.raises(Crashed, match=r"^Instance never healthy after \d+(ms|\.\d+s): deaf$"):
        asyncio.run(made.become_healthy())
    assert "stderr F [HEALTH/0] deaf" in said()
    assert "startup health check never passed." in said()


def test_a_check_that_may_take_hours_does_not_make_the_start_take_hours(tmp_path: Path) -> None:
    async def check_alive() -> None:
        pass

    with answering(None) as port:
        http = pb.HTTPCheck(port=port, path="/", request_timeout_ms=2**31 - 1)
        checks = pb.CheckDefinition(checks=[pb.Check(http_check=http)])
        what = pb.DesiredLRP(
            action=pb.Action(run_action=pb.RunAction(path="x")),
            start_timeout_ms=300,
            check_definition=checks,
        )
        place = ("any", "127.0.0.1")
        made = Monitor(process(what), place, Journal(tmp_path / "log", 0), check_alive)

        async def main() -> None:
            async with asyncio.timeout(30):
                await made.become_healthy()

        with pytest.raises(Crashed, match=r"^Instance never healthy after .*timed out after"):
            asyncio.run(main())


def test_one_that_ends_meanwhile_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, _ = watched(tmp_path, monkeypatch, lambda n: "deaf", ends_at=2)
    with pytest.raises(Crashed, match="it ended"):
        asyncio.run(made.become_healthy())


def test_one_bad_check_is_repeated_and_two_are_a_crash(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, said = watched(tmp_path, monkeypatch, lambda n: "ill" if n in (2, 5, 6) else "")
    with pytest.raises(Crashed, match=r"^Instance became unhealthy: ill$"):
        asyncio.run(made.stay_healthy())
    assert "stderr F [HEALTH/0] ill" in said() and "Container became unhealthy" in said()


def test_without_checks_nothing_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made, said = watched(tmp_path, monkeypatch, lambda n: "deaf", UNCHECKED)
    asyncio.run(made.become_healthy())
    asyncio.run(made.stay_healthy())
    assert said() == ""


def test_a_cell_is_being_emptied_until_it_is_told_not_to(tmp_path: Path) -> None:
    class Instance:
        async def evacuate(self) -> None:
            raise PeerError("away")

    async def main() -> None:
        made = Evacuation(tmp_path)
        assert not made.on
        made.switch(True)
        made.switch(True)
        assert made.on and Evacuation(tmp_path).on
        waiting = asyncio.create_task(made.changed(60))
        await asyncio.sleep(0)
        made.switch(False)
        await asyncio.wait_for(waiting, 5)
        assert not made.on and not Evacuation(tmp_path).on
        with pytest.raises(PeerError):
            await made.move([Instance()])  # type: ignore[list-item]

    asyncio.run(main())
