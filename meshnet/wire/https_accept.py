"""Connections to an HTTPS server, from their first packet on.

uvicorn hears of a connection when it has shaken hands. Until then nobody would count it, and who
opens connections and says nothing would have a server's descriptors for a minute each.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import ssl
from collections import Counter
from typing import Any

from meshnet.wire import http_protocol

log = logging.getLogger("meshnet")

_PAUSE_SECONDS = 0.1  # without descriptors or memory for one more


async def accept(listener: socket.socket, server: Any, context: ssl.SSLContext) -> None:
    """Accept connections for a uvicorn server, that listens to nothing itself, for ever.

    Those of one address that shake hands or have done so are MOST_OF_A_CLIENT at most.
    """
    while not server.started:
        await asyncio.sleep(0.01)
    loop = asyncio.get_running_loop()
    listener.setblocking(False)
    shaking, tasks, said = Counter[str](), set[asyncio.Task[None]](), ""
    try:
        while True:
            try:
                sock, (address, *_) = await loop.sock_accept(listener)
            except OSError as exc:
                if (text := str(exc)) != said:
                    log.warning("no connection is taken: %s", text)
                    said = text
                await asyncio.sleep(_PAUSE_SECONDS)
                continue
            there = http_protocol.connections(server.server_state)[address] + shaking[address]
            if there >= http_protocol.MOST_OF_A_CLIENT:
                sock.close()
                continue
            shaking[address] += 1
            task = asyncio.create_task(_shake_hands(sock, server, context))
            tasks.add(task)

            def over(task: asyncio.Task[None], address: str = address) -> None:
                tasks.discard(task)
                shaking[address] -= 1
                if not shaking[address]:
                    del shaking[address]

            task.add_done_callback(over)
    finally:
        for task in tasks:
            task.cancel()


async def _shake_hands(sock: socket.socket, server: Any, context: ssl.SSLContext) -> None:
    def protocol() -> asyncio.Protocol:
        return http_protocol.BoundedHttp(
            config=server.config, server_state=server.server_state, app_state=server.lifespan.state
        )

    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    with contextlib.suppress(OSError):  # it did not, or went: its own affair
        await asyncio.get_running_loop().connect_accepted_socket(
            protocol, sock, ssl=context, ssl_handshake_timeout=http_protocol.HEAD_SECONDS
        )
