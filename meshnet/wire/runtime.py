"""What every daemon needs around its room: config, logging, readiness, ASGI serving, retries."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import os
import re
import signal
import socket
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeVar

from meshnet.model.errors import InputError
from meshnet.wire.tls import Tls

T = TypeVar("T")
log = logging.getLogger("meshnet")

# Longer than our clients keep an idle connection (wire/http_client.py): they never send into one
# that is just being closed, nor shake hands again for each change of a quiet mesh.
KEEP_ALIVE_SECONDS = 75

_KEY = r"-----BEGIN [A-Z ]*PRIVATE KEY-----"
_NAME = r"[\w-]*(?:password|passwd|secret|[_-]token|private[_-]?key|assertion)"
_VALUE = r"""(?:"(?:[^"\\]|\\.)*"?|'(?:[^'\\]|\\.)*'?|[^\s"'&,;}\])]+)"""
# What never reaches a log: each pattern's first group stays, the rest does not.
_SECRETS = re.compile(
    rf"({_KEY}).*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)"
    r"|(://[^/\s:@]*:)[^@\s/]+(?=@)"
    r"|(\b(?:bearer|basic)\s+)[\w.~+/-]{4,}=*"
    rf"""|(\b{_NAME}["']?\s*[=:]\s*){_VALUE}"""
    r"|(\beyJ)[\w-]+\.[\w-]+\.[\w-]*",  # a JSON web token, wherever it stands
    re.IGNORECASE | re.DOTALL,
)


def masked(text: str) -> str:
    """`text` with passwords, tokens and private keys replaced by asterisks."""
    return _SECRETS.sub(lambda m: next(g for g in m.groups() if g is not None) + "***", text)


class _Formatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        text = super().format(record)
        return masked(f"{stamp}.{int(record.msecs):03d}Z {record.levelname.lower()} {text}")


def setup_logging(room: str) -> None:
    """Log to stderr, one record a line: time (UTC), level, room, message; secrets masked.

    So is what ends the process unexpectedly.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Formatter(f"{room}: %(message)s"))
    logging.basicConfig(level=os.environ.get("MESHNET_LOG", "INFO"), handlers=[handler], force=True)
    sys.excepthook = lambda kind, exc, trace: log.critical("died", exc_info=(kind, exc, trace))
    for noisy in ("httpx", "httpcore", "asyncio", "hpack"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


def parse(cls: type[T], mapping: Mapping[str, Any]) -> T:
    """Build the frozen dataclass `cls` from a daemon's config mapping; its `tls` becomes a Tls.

    Raises:
        InputError: a key is unknown or missing.
    """
    fields = {f.name: f for f in dataclasses.fields(cls)}  # type: ignore[arg-type]
    if unknown := sorted(set(mapping) - set(fields)):
        raise InputError(f"unknown config key {unknown[0]!r}; known: {', '.join(sorted(fields))}")
    missing = [
        name
        for name, f in fields.items()
        if name not in mapping
        and f.default is dataclasses.MISSING
        and f.default_factory is dataclasses.MISSING
    ]
    if missing:
        raise InputError(f"config lacks {', '.join(missing)}")
    if isinstance(files := mapping.get("tls"), Mapping):
        mapping = {**mapping, "tls": parse(Tls, files)}
    return cls(**mapping)


# Taken out of the environment, so that no child (runc would use it) takes it for its own.
_notify_address = os.environ.pop("NOTIFY_SOCKET", "")


def _sd_notify(text: str, descriptors: Sequence[int] = ()) -> None:
    address = _notify_address
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
        try:
            s.connect(address)
            socket.send_fds(s, [text.encode()], descriptors)
        except OSError as exc:
            log.warning("cannot notify the supervisor: %s", exc)


def environment_to_hand_over() -> dict[str, str]:
    """The environment for a program that this process becomes: it answers the supervisor then."""
    return {**os.environ, **({"NOTIFY_SOCKET": _notify_address} if _notify_address else {})}


def notify_ready() -> None:
    """Tell systemd or the lab's supervisor that this daemon serves (sd_notify(3), READY=1)."""
    _sd_notify("READY=1")


def notify_sockets(text: str, descriptors: Sequence[int]) -> None:
    """Send systemd or the lab's supervisor open files along with `text`."""
    _sd_notify(text, descriptors)


def notify_status(text: str) -> None:
    """Tell systemd or the lab's supervisor one line about the daemon's state."""
    _sd_notify("STATUS=" + text.replace("\n", " "))


async def serve_asgi(
    app: Any,
    *,
    host: str = "",
    port: int = 0,
    uds: str | None = None,
    tls: Tls | None = None,
    mutual: bool = True,
) -> None:
    """Serve an ASGI application on host:port or a unix socket until cancelled.

    The socket is bound before the first await returns control, so a caller that starts several
    servers in one TaskGroup and then awaits `asyncio.sleep(0)` may call `notify_ready`.

    Args:
        tls: HTTPS with this certificate; None = plain HTTP.
        mutual: only clients with a certificate of one of its CAs.

    Raises:
        InputError: the address is taken or not ours, or the certificate cannot be used.
    """
    import uvicorn

    from meshnet.wire.http_protocol import BoundedHttp
    from meshnet.wire.https_accept import accept

    context = tls.server_context(mutual=mutual) if tls else None
    if uds:
        if os.path.exists(uds):
            os.unlink(uds)
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        sock.bind(uds)
        os.chmod(uds, 0o600)
    else:
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind((host, port))
        except OSError as exc:
            sock.close()
            raise InputError(f"cannot listen on {host}:{port}: {exc.strerror}") from exc
    sock.listen(512)
    config = uvicorn.Config(
        app,
        http=BoundedHttp,
        ws="none",
        log_level="warning",
        access_log=False,
        lifespan="off",
        timeout_graceful_shutdown=1,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        proxy_headers=False,  # nobody stands in front: what X-Forwarded-* say is the client's own
    )
    server = uvicorn.Server(config)
    server.install_signal_handlers = lambda: None  # type: ignore[attr-defined]
    try:
        if context is None:
            await server._serve([sock])
        else:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(server._serve([]))
                tasks.create_task(accept(sock, server, context))
    finally:
        server.should_exit = True
        for listener in getattr(server, "servers", ()):
            listener.close()
        for connection in list(server.server_state.connections):
            connection.transport.abort()
        sock.close()


def run_async(main: Callable[[], Awaitable[None]]) -> None:
    """Run `main` on uvloop; SIGTERM and SIGINT cancel it and make this return."""
    import uvloop

    async def wrapped() -> None:
        loop = asyncio.get_running_loop()
        task = asyncio.ensure_future(main())
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, task.cancel)
        try:
            await task
        except asyncio.CancelledError:
            log.info("stopped")

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(wrapped())


async def keep_trying(
    session: Callable[[], Awaitable[None]], what: str, *, first: float = 0.1, most: float = 1.0
) -> None:
    """Run `session` for ever, again after each end or failure, with doubling pauses in seconds.

    A session that lasted longer than `most` starts over at `first`. The same failure text is
    logged once, not at every try.
    """
    pause, last = first, ""
    while True:
        began = time.monotonic()
        try:
            await session()
            text = "ended"
        except asyncio.CancelledError:
            raise
        except Exception as exc:
            text = f"{type(exc).__name__}: {exc}"
        if time.monotonic() - began > most:
            pause, last = first, ""
        if text != last:
            log.warning("%s: %s; trying again", what, text)
            last = text
        await asyncio.sleep(pause)
        pause = min(pause * 2, most)
