"""Server-sent events as Diego's BBS frames them: `id:`, `event:`, base64 `data:`, blank line.

Source: cloudfoundry/bbs handlers/events_handlers.go over vito/go-sse.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass

from meshnet.model.errors import PeerError

MAX_EVENT_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True)
class SseEvent:
    """One event: its running number on this stream, its name and its decoded data."""

    id: int
    name: str
    data: bytes


def encode(event: SseEvent) -> bytes:
    """The event's bytes on the wire."""
    data = base64.b64encode(event.data).decode("ascii")
    return f"id: {event.id}\nevent: {event.name}\ndata: {data}\n\n".encode()


class Decoder:
    """Bytes in, events out; holds at most one unfinished event of bounded size."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[SseEvent]:
        """Events completed by these bytes.

        Raises:
            PeerError: the stream is not what BBS sends, or one event is too large.
        """
        *blocks, self._rest = (self._rest + data).split(b"\n\n")
        if len(self._rest) > MAX_EVENT_BYTES:
            raise PeerError(f"an event of the stream is larger than {MAX_EVENT_BYTES} bytes")
        found = (_fields(block) for block in blocks)
        return [_event(fields) for fields in found if fields]


def _fields(block: bytes) -> dict[bytes, bytes]:
    """The fields of a block; a comment (a line that begins with a colon) is none."""
    fields: dict[bytes, bytes] = {}
    for line in block.splitlines():
        name, _, value = line.partition(b":")
        if name:
            fields[name] = value.removeprefix(b" ")
    return fields


def _event(fields: dict[bytes, bytes]) -> SseEvent:
    try:
        return SseEvent(
            int(fields[b"id"]),
            fields[b"event"].decode("ascii"),
            base64.b64decode(fields[b"data"], validate=True),
        )
    except (KeyError, ValueError, binascii.Error) as exc:
        shown = repr(fields)[:80]
        raise PeerError(f"the event stream holds no event but {shown}") from exc
