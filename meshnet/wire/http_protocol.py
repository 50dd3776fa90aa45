"""HTTP/1.1 for whoever comes: what uvicorn takes without end is bounded, in bytes and in time.

Against those who open connections and then send a byte a minute, or one header for ever, or ask for
what is large and never read it: each such connection ends, and costs little until then. Nor can one
client open as many as there are descriptors.
"""

from __future__ import annotations

import asyncio
import weakref
from collections import Counter
from http import HTTPStatus
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_BYTES = 64 * 1024  # request line and headers
HEAD_SECONDS = 20.0  # from a connection's start, or a request's first byte, to its last header
# In each period a body that has not ended must bring so many bytes, and an answer must be read on.
PERIOD_SECONDS, PERIOD_BYTES = 10.0, 10 * 1024
STALLED_SECONDS = 60.0
# Connections of one address: whoever opens more takes no descriptors from all others.
MOST_OF_A_CLIENT = 512


# Of each server, by its ServerState: connections by their client's address.
_CONNECTIONS: weakref.WeakKeyDictionary[Any, Counter[str]] = weakref.WeakKeyDictionary()


def connections(server: Any) -> Counter[str]:
    """How many each address has, of a server's by its ServerState. It is live."""
    return _CONNECTIONS.setdefault(server, Counter())


class BoundedHttp(HttpToolsProtocol):
    """uvicorn's protocol on httptools; see the module's own words."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A connection: a request has to come."""
        super().connection_made(transport)
        self._timer: asyncio.TimerHandle | None = None
        self._stalled: asyncio.TimerHandle | None = None
        self._in_head, self._head_bytes, self._period_bytes = True, 0, 0
        self._arm(HEAD_SECONDS, self._head_is_late)
        counts = connections(self.server_state)
        counts[self._address] += 1
        if self.client and counts[self._address] > MOST_OF_A_CLIENT:
            transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Its end."""
        self._disarm()
        self._read_on()
        counts = connections(self.server_state)
        counts[self._address] -= 1
        if not counts[self._address]:
            del counts[self._address]
        super().connection_lost(exc)

    @property
    def _address(self) -> str:
        return self.client[0] if self.client else ""

    def data_received(self, data: bytes) -> None:
        """Bytes of a head, or of a body."""
        self._head_bytes += len(data) if self._in_head else 0
        self._period_bytes += len(data)
        super().data_received(data)
        if self._in_head and self._head_bytes > HEAD_BYTES and not self.transport.is_closing():
            self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
        elif self._timer is None and self.cycle is not None and self.cycle.response_complete:
            # No request has begun: an empty line, or the rest of one that was answered before its
            # end. uvicorn has stopped its clock for it all the same.
            self._arm(self.timeout_keep_alive, self.timeout_keep_alive_handler)

    def on_message_begin(self) -> None:
        """A request's first byte."""
        super().on_message_begin()
        if not self._in_head:  # of a connection that is kept alive
            self._in_head, self._head_bytes = True, 1
            self._arm(HEAD_SECONDS, self._head_is_late)

    def on_headers_complete(self) -> None:
        """The end of its head."""
        super().on_headers_complete()
        self._in_head, self._period_bytes = False, 0
        self._arm(PERIOD_SECONDS, self._period_is_over)

    def on_message_complete(self) -> None:
        """The end of its body."""
        super().on_message_complete()
        self._disarm()

    def pause_writing(self) -> None:
        """The client does not read what it has asked for."""
        super().pause_writing()
        self._read_on()
        self._stalled = self.loop.call_later(STALLED_SECONDS, self.transport.abort)

    def resume_writing(self) -> None:
        """It does again."""
        super().resume_writing()
        self._read_on()

    def _read_on(self) -> None:
        if self._stalled is not None:
            self._stalled.cancel()
            self._stalled = None

    def _head_is_late(self) -> None:
        if self.flow.read_paused:  # a request before it is being answered: it is we who are late
            self._arm(HEAD_SECONDS, self._head_is_late)
        elif self._head_bytes:
            self._refuse(HTTPStatus.REQUEST_TIMEOUT)
        else:
            self.transport.close()

    def _period_is_over(self) -> None:
        answered = self.cycle is not None and self.cycle.response_complete
        waits = self.flow.read_paused  # for us
        if answered or (self._period_bytes < PERIOD_BYTES and not waits):
            self.transport.abort()
            return
        self._period_bytes = 0
        self._arm(PERIOD_SECONDS, self._period_is_over)

    def _refuse(self, status: HTTPStatus) -> None:
        line = f"HTTP/1.1 {status.value} {status.phrase}\r\n"
        self.transport.write(f"{line}content-length: 0\r\nconnection: close\r\n\r\n".encode())
        self.transport.close()

    def _arm(self, seconds: float, then: Any) -> None:
        self._disarm()
        self._timer = self.loop.call_later(seconds, then)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
