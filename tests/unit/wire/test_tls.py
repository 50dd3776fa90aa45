"""Mutual TLS with real sockets, for HTTPS and gRPC: who is let in, and what renewal changes."""

from __future__ import annotations

import asyncio
import contextlib
import queue
import socket
import ssl
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
import uvloop
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from meshnet.model.errors import InputError
from meshnet.wire import grpc_server, runtime
from meshnet.wire.gen import copilot_pb2, copilot_pb2_grpc
from meshnet.wire.grpc_client import Channel
from meshnet.wire.http_client import http_client
from meshnet.wire.tls import Tls
from netns_lab.certificates import Authority, Issued, serial
from tests import handshake
from tests.handshake import Clients, client, leaf, meet, write

HOST = "127.0.0.1"


async def _hello(request: Request) -> PlainTextResponse:
    return PlainTextResponse(f"hello over {request.url.scheme}")


async def _https(port: int, tls: Tls) -> None:
    app = Starlette(routes=[Route("/", _hello)])
    await runtime.serve_asgi(app, host=HOST, port=port, tls=tls)


class _Healthy(copilot_pb2_grpc.VIPResolverCopilotServicer):
    async def Health(self, request: Any, context: Any) -> Any:
        return copilot_pb2.HealthResponse(healthy=True)


async def _grpc(port: int, tls: Tls) -> None:
    server = grpc.aio.server()
    copilot_pb2_grpc.add_VIPResolverCopilotServicer_to_server(_Healthy(), server)
    grpc_server.bind(server, f"{HOST}:{port}", tls)
    await server.start()
    try:
        await server.wait_for_termination()
    finally:
        await server.stop(0)


@contextlib.contextmanager
def _serving(serve: Callable[[int, Tls], Awaitable[None]], port: int, tls: Tls) -> Iterator[None]:
    """Run a server in a thread of its own, as the tests' clients block."""
    started: queue.Queue[Callable[[], None]] = queue.Queue()

    async def main() -> None:
        task = asyncio.ensure_future(serve(port, tls))
        loop = asyncio.get_running_loop()
        started.put(lambda: loop.call_soon_threadsafe(task.cancel))
        with contextlib.suppress(asyncio.CancelledError):
            await task

    def run() -> None:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:  # as daemons
            runner.run(main())

    thread = threading.Thread(target=run)
    thread.start()
    stop = started.get()
    try:
        _until_listening(port)
        yield
    finally:
        stop()
        thread.join(30)
        assert not thread.is_alive()


def _until_listening(port: int) -> None:
    deadline = time.monotonic() + 30
    while True:
        try:
            socket.create_connection((HOST, port), 1).close()
            return
        except OSError:
            assert time.monotonic() < deadline, "the server does not listen"
            time.sleep(0.02)


def _free_port() -> int:
    with socket.socket() as one:
        one.bind((HOST, 0))
        port: int = one.getsockname()[1]
        return port


KINDS = {"https": (_https, handshake.HTTP), "grpc": (_grpc, handshake.HTTP2)}


class World:
    """A CA, clients of all sorts, and one server that wants a certificate."""

    def __init__(self, directory: Path, kind: str) -> None:
        self.authority, self.directory = Authority.make("lab"), directory
        self.ca = self.authority.issued.certificate
        self.clients = Clients(directory, self.authority)
        self.server = write(directory / "server", self.authority.issue(leaf("server")), self.ca)
        self.serve, self.say = KINDS[kind]
        self.port = _free_port()

    def meet(self, files: Tls | None, version: ssl.TLSVersion | None = None) -> handshake.Met:
        """Be this client."""
        return meet((HOST, self.port), client(self.ca, files, version), self.say)


@pytest.fixture(params=sorted(KINDS))
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def world(kind: str, tmp_path: Path) -> Iterator[World]:
    found = World(tmp_path, kind)
    with _serving(found.serve, found.port, found.server):
        yield found


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_client_of_ours_is_let_in(world: World, version: ssl.TLSVersion) -> None:
    met = world.meet(world.clients.ours, version)
    assert met.version.replace(".", "_") == version.name
    assert "GCM" in met.cipher and ("ECDHE" in met.cipher or met.version == "TLSv1.3")


@pytest.mark.parametrize("who", ["none", "foreign", "expired"])
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_others_are_refused(world: World, who: str, version: ssl.TLSVersion) -> None:
    with pytest.raises(OSError):
        world.meet(getattr(world.clients, who), version)
    world.meet(world.clients.ours)  # and it still serves


def test_old_versions_and_plain_text_are_refused(world: World) -> None:
    with pytest.raises(ssl.SSLError), pytest.warns(DeprecationWarning):
        world.meet(world.clients.ours, ssl.TLSVersion.TLSv1_1)
    assert b"hello" not in handshake.plain((HOST, world.port), world.say)
    world.meet(world.clients.ours)


def test_a_renewed_certificate_is_served_to_new_connections(world: World) -> None:
    before = world.meet(world.clients.ours).certificate
    renewed = world.authority.issue(leaf("server", serves=True))
    write(world.directory / "server", renewed, world.ca)
    after = world.meet(world.clients.ours).certificate
    assert before.serial_number != after.serial_number == serial(renewed.certificate)


def test_a_key_without_its_certificate_changes_nothing(
    tmp_path: Path, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    world = World(tmp_path, kind)
    files = [tmp_path / name for name in ("certificate.pem", "key.pem")]
    server, renewed = (world.authority.issue(leaf("server")) for _ in range(2))
    files[0].write_bytes(server.certificate)
    files[1].write_bytes(server.key)
    tls = Tls(*map(str, files), world.server.ca)
    with _serving(world.serve, world.port, tls):
        # By rename: the server may be at the handshake of who looked whether it listens.
        (tmp_path / "new.pem").write_bytes(renewed.key)
        (tmp_path / "new.pem").rename(files[1])
        shown = world.meet(world.clients.ours).certificate
        assert shown.serial_number == serial(server.certificate)
        world.meet(world.clients.ours)
        assert caplog.text.count("the certificate before stays") == 1
        files[0].write_bytes(renewed.certificate)
        shown = world.meet(world.clients.ours).certificate
        assert shown.serial_number == serial(renewed.certificate)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_ca_is_trusted_as_long_as_it_is_in_the_file(
    world: World, version: ssl.TLSVersion
) -> None:
    new = Authority.make("lab")
    new_ca = new.issued.certificate
    newcomer = write(world.directory / "newcomer", new.issue(leaf("new")), new_ca)
    with pytest.raises(OSError):
        world.meet(newcomer, version)
    Path(world.server.ca).write_bytes(world.ca + new_ca)
    world.meet(newcomer, version)
    world.meet(world.clients.ours, version)
    Path(world.server.ca).write_bytes(new_ca)
    world.meet(newcomer, version)
    with pytest.raises(OSError):
        world.meet(world.clients.ours, version)


def test_a_session_does_not_outlive_its_ca(tmp_path: Path) -> None:
    world = World(tmp_path, "https")
    with _serving(world.serve, world.port, world.server):
        context = client(world.ca, world.clients.ours, ssl.TLSVersion.TLSv1_2)

        def again(session: Any = None) -> Any:
            with (
                socket.create_connection((HOST, world.port), 10) as plain,
                context.wrap_socket(plain, server_hostname=HOST, session=session) as tls,
            ):
                return tls.session, tls.session_reused

        session, _ = again()
        Path(world.server.ca).write_bytes(Authority.make("lab").issued.certificate)
        with pytest.raises(OSError):
            again(session)


async def _requests(url: str, tls: Tls) -> AsyncIterator[str]:
    async with http_client(url, tls) as http:
        while True:
            yield (await http.get("/", headers={"Connection": "close"})).text


def test_our_http_client_takes_over_renewed_files(tmp_path: Path) -> None:
    world = World(tmp_path, "https")

    async def scenario() -> None:
        calls = _requests(f"https://{HOST}:{world.port}", world.clients.ours)
        assert await anext(calls) == "hello over https"
        new = Authority.make("lab")
        both = (world.ca, new.issued.certificate)
        ours, server = (Path(t.ca).parent for t in (world.clients.ours, world.server))
        Path(world.clients.ours.ca).write_bytes(b"".join(both))
        Path(world.server.ca).write_bytes(b"".join(both))
        assert await anext(calls) == "hello over https"
        write(server, new.issue(leaf("server")), *both)
        assert await anext(calls) == "hello over https"
        write(ours, new.issue(leaf("ours")), new.issued.certificate)
        assert await anext(calls) == "hello over https"
        write(server, new.issue(leaf("server")), new.issued.certificate)
        assert await anext(calls) == "hello over https"
        await calls.aclose()  # type: ignore[attr-defined]

    with _serving(world.serve, world.port, world.server):
        asyncio.run(scenario())


def test_our_http_client_refuses_a_server_it_does_not_know(tmp_path: Path) -> None:
    world = World(tmp_path, "https")
    url = f"https://{HOST}:{world.port}"

    async def call(tls: Tls | None, address: str) -> None:
        async with http_client(address, tls) as http:
            await http.get("/")

    with _serving(world.serve, world.port, world.server):
        elsewhere = url.replace(HOST, "127.0.0.2")  # not in the certificate
        stranger = write(
            tmp_path / "stranger",
            world.authority.issue(leaf("a")),
            Authority.make("lab").issued.certificate,
        )
        for tls, address in ((None, url), (stranger, url), (world.clients.ours, elsewhere)):
            with pytest.raises(httpx.ConnectError):
                asyncio.run(call(tls, address))


def test_a_channel_takes_over_renewed_files(tmp_path: Path) -> None:
    world = World(tmp_path, "grpc")

    async def scenario() -> None:
        channel = Channel(f"{HOST}:{world.port}", world.clients.ours)

        async def call() -> bool:
            stub = copilot_pb2_grpc.VIPResolverCopilotStub(channel.get())
            reply = await stub.Health(copilot_pb2.HealthRequest(), timeout=10)
            return bool(reply.healthy)

        assert await call()
        first = channel.get()
        new = Authority.make("lab")
        write(Path(world.server.ca).parent, new.issue(leaf("server")), new.issued.certificate)
        write(Path(world.clients.ours.ca).parent, new.issue(leaf("a")), new.issued.certificate)
        assert await call()
        assert channel.get() is not first
        await channel.close()

    with _serving(world.serve, world.port, world.server):
        asyncio.run(scenario())


def test_a_channel_goes_on_while_its_files_do_not_fit_together(tmp_path: Path) -> None:
    world = World(tmp_path, "grpc")

    async def scenario() -> None:
        channel = Channel(f"{HOST}:{world.port}", world.clients.ours)
        first = channel.get()
        Path(world.clients.ours.key).write_bytes(b"half a")
        assert channel.get() is first
        await channel.close()

    asyncio.run(scenario())


def test_files_that_cannot_be_used_are_refused_at_the_start(tmp_path: Path) -> None:
    missing = Tls(*(str(tmp_path / name) for name in ("a", "b", "c")))
    one, other = (Authority.make("lab").issue(leaf("x")) for _ in range(2))
    mixed = write(tmp_path / "mixed", Issued(one.certificate, other.key), one.certificate)
    for tls in (missing, mixed):
        for use in (tls.server_context, tls.client_context, lambda t=tls: Channel("a:1", t)):
            with pytest.raises(InputError, match="cannot use certificate"):
                use()


def test_a_daemons_configuration_holds_its_files() -> None:
    from meshnet.bbs.main import Config

    files = {"certificate": "a", "key": "b", "ca": "c"}
    plain = {"listen_host": "x", "store": "y"}
    assert runtime.parse(Config, {**plain, "tls": files}).tls == Tls("a", "b", "c")
    assert runtime.parse(Config, plain).tls is None
    with pytest.raises(InputError, match="lacks key"):
        runtime.parse(Config, {**plain, "tls": {"certificate": "a", "ca": "c"}})
