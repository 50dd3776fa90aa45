"""HTTP from those who mean ill: slow, endless, or deaf. Whoever means well is served meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from meshnet.wire import http_protocol, runtime
from meshnet.wire.http_client import http_client
from meshnet.wire.tls import Tls
from netns_lab import certificates

Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]
SECONDS = 15.0  # a deadline: each of these ends within a second


async def echo(request: Request) -> Response:
    return PlainTextResponse(str(len(await request.body())))


async def refuse(request: Request) -> Response:
    return PlainTextResponse("no", status_code=403)


async def large(request: Request) -> Response:
    return Response(b"x" * 32 * 1024 * 1024)


ROUTES = (("/echo", echo), ("/refuse", refuse), ("/large", large))
APP = Starlette(routes=[Route(p, w, methods=["GET", "POST"]) for p, w in ROUTES])


class Server:
    def __init__(self, port: int) -> None:
        self.port = port
        self._writers: list[asyncio.StreamWriter] = []

    async def connect(self) -> Stream:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        self._writers.append(writer)
        return reader, writer

    async def close(self) -> None:
        for writer in self._writers:
            writer.transport.abort()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def ended(self, reader: asyncio.StreamReader) -> bytes:
        """What came until the server ended the connection."""
        received = b""
        async with asyncio.timeout(SECONDS):
            try:
                while data := await reader.read(65536):
                    received += data
            except ConnectionError:
                pass
        return received


def served(
    monkeypatch: pytest.MonkeyPatch,
    scenario: Callable[[Server], Awaitable[None]],
    tls: Tls | None = None,
    **bounds: Any,
) -> None:
    for name, value in bounds.items():
        monkeypatch.setattr(http_protocol, name, value)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    async def main() -> None:
        serving = asyncio.ensure_future(
            runtime.serve_asgi(APP, host="127.0.0.1", port=port, tls=tls)
        )
        await asyncio.sleep(0)
        server = Server(port)
        try:
            async with asyncio.timeout(4 * SECONDS):
                await scenario(server)
        finally:
            await server.close()
            serving.cancel()
            await asyncio.wait([serving])

    runtime.run_async(main)


def test_a_head_that_never_ends_is_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(server: Server) -> None:
        for start in (b"GET /echo HTTP/1.1\r\nX: ", b"GET /", b"GET / HTTP/1.1\r\n"):
            reader, writer = await server.connect()
            writer.write(start)
            received = asyncio.ensure_future(server.ended(reader))
            sent = 0
            while not received.done() and sent < 64 * 1024 * 1024:
                writer.write(
                    b"x" * 65536 if start != b"GET / HTTP/1.1\r\n" else b"a: b\r\n" * 10000
                )
                sent += 65536
                try:
                    await writer.drain()
                except ConnectionError:
                    break
            assert sent < 64 * 1024 * 1024
            assert (await received).startswith((b"HTTP/1.1 431", b""))

    served(monkeypatch, scenario)


@pytest.mark.parametrize("start", [b"", b"GET /echo HTT", b"GET /echo HTTP/1.1\r\nHost: a\r\n"])
def test_a_head_that_comes_late(monkeypatch: pytest.MonkeyPatch, start: bytes) -> None:
    async def scenario(server: Server) -> None:
        reader, writer = await server.connect()
        writer.write(start)
        says = await server.ended(reader)
        assert says.startswith(b"HTTP/1.1 408") if start else says == b""

    served(monkeypatch, scenario, HEAD_SECONDS=0.3)


def test_a_second_head_that_comes_late(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(server: Server) -> None:
        reader, writer = await server.connect()
        writer.write(b"GET /echo HTTP/1.1\r\nHost: a\r\n\r\n")
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
        assert await reader.readexactly(1) == b"0"
        writer.write(b"GET /ec")
        assert (await server.ended(reader)).startswith(b"HTTP/1.1 408")

    served(monkeypatch, scenario, HEAD_SECONDS=0.3)


def test_a_body_that_drips(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(server: Server) -> None:
        reader, writer = await server.connect()
        writer.write(b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n")

        async def drip() -> None:
            while True:
                writer.write(b"x")
                await writer.drain()
                await asyncio.sleep(0.05)

        dripping = asyncio.ensure_future(drip())
        assert await server.ended(reader) == b""
        dripping.cancel()

    served(monkeypatch, scenario, PERIOD_SECONDS=0.3)


def test_a_body_that_goes_on_after_the_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(server: Server) -> None:
        reader, writer = await server.connect()
        writer.write(b"POST /refuse HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
        ended = asyncio.ensure_future(server.ended(reader))
        chunk = b"10000\r\n" + b"x" * 65536 + b"\r\n"
        while not ended.done():
            writer.write(chunk)
            try:
                await writer.drain()
            except ConnectionError:
                break
            await asyncio.sleep(0.01)
        await ended

    served(monkeypatch, scenario, PERIOD_SECONDS=0.3)


@pytest.mark.parametrize(
    ("request_", "more"),
    [
        (b"GET /echo HTTP/1.1\r\nHost: a\r\n\r\n", b"\r\n"),
        (b"POST /refuse HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n", b"x"),
    ],
)
def test_an_idle_connection_ends_whatever_it_was_left_with(
    monkeypatch: pytest.MonkeyPatch, request_: bytes, more: bytes
) -> None:
    async def scenario(server: Server) -> None:
        reader, writer = await server.connect()
        writer.write(request_)
        head = await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(int(head.lower().partition(b"content-length: ")[2].split()[0]))
        writer.write(more)
        assert await server.ended(reader) == b""

    monkeypatch.setattr(runtime, "KEEP_ALIVE_SECONDS", 1)
    served(monkeypatch, scenario)


def test_an_answer_that_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    lost, lose = asyncio.Event(), http_protocol.BoundedHttp.connection_lost

    def losing(self: http_protocol.BoundedHttp, exc: Exception | None) -> None:
        lost.set()
        lose(self, exc)

    monkeypatch.setattr(http_protocol.BoundedHttp, "connection_lost", losing)

    async def scenario(server: Server) -> None:
        with socket.create_connection(("127.0.0.1", server.port)) as deaf:
            deaf.sendall(b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n")
            async with asyncio.timeout(SECONDS):
                await lost.wait()

    served(monkeypatch, scenario, STALLED_SECONDS=0.3)


def test_one_client_has_only_so_many_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(server: Server) -> None:
        first = [await server.connect() for _ in range(3)]
        for _, writer in first:
            writer.write(b"GET /echo HTTP/1.1\r\nHost: a\r\n\r\n")
        for reader, _ in first:
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
        reader, writer = await server.connect()
        assert await server.ended(reader) == b""
        first[0][1].close()
        async with asyncio.timeout(SECONDS):
            while True:
                reader, writer = await server.connect()
                writer.write(b"GET /echo HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
                if (await server.ended(reader)).startswith(b"HTTP/1.1 200"):
                    break

    served(monkeypatch, scenario, MOST_OF_A_CLIENT=3)


def test_who_does_not_shake_hands_has_no_more_connections_either(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    authority = certificates.Authority.make("lab")
    ours = authority.issue(certificates.Leaf("r", "n", ("127.0.0.1",), serves=True))
    both, trusted = tmp_path / "identity.pem", tmp_path / "ca.pem"
    both.write_bytes(ours.certificate + ours.key)
    trusted.write_bytes(authority.issued.certificate)
    tls = Tls(str(both), str(both), str(trusted))

    async def scenario(server: Server) -> None:
        silent = [await server.connect() for _ in range(3)]
        reader, _ = await server.connect()
        assert await server.ended(reader) == b""
        for reader, _ in silent:
            assert await server.ended(reader) == b"", "too late"
        url = f"https://127.0.0.1:{server.port}"
        async with http_client(url, tls) as http:
            for _ in range(5):
                assert (await http.post("/echo", content=b"x" * 100_000)).text == "100000"
        silent = [await server.connect() for _ in range(3)]
        silent[0][1].close()
        async with asyncio.timeout(SECONDS):
            while True:
                with contextlib.suppress(httpx.TransportError):
                    async with http_client(url, tls) as http:
                        assert (await http.get("/echo")).text == "0"
                        break

    served(monkeypatch, scenario, tls=tls, MOST_OF_A_CLIENT=3, HEAD_SECONDS=1.0)


def test_who_means_well_is_served(monkeypatch: pytest.MonkeyPatch) -> None:
    async def slowly() -> Any:
        for _ in range(8):
            yield b"x" * 2048
            await asyncio.sleep(0.1)

    async def scenario(server: Server) -> None:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{server.port}") as http:
            for _ in range(3):
                assert (await http.get("/echo")).text == "0"
                assert (await http.post("/echo", content=b"x" * 5_000_000)).text == "5000000"
            assert (await http.post("/echo", content=slowly(), timeout=30)).text == str(8 * 2048)
            assert len((await http.get("/large", timeout=30)).content) == 32 * 1024 * 1024
            await asyncio.sleep(0.7)  # longer than a head may take: an idle connection is kept
            assert (await http.get("/echo")).text == "0"
            headers = {f"x-{n}": "y" * 1000 for n in range(30)}
            assert (await http.get("/echo", headers=headers)).status_code == 200

    bounds = {"HEAD_SECONDS": 0.5, "PERIOD_SECONDS": 0.5, "STALLED_SECONDS": 5.0}
    served(monkeypatch, scenario, **bounds, PERIOD_BYTES=1024)
