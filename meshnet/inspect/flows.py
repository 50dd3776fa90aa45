"""Flow events of a lab's cells, decoded: what `observe` prints and `trace` reads."""

from __future__ import annotations

import bisect
import select
import time
from collections.abc import Iterator
from dataclasses import dataclass

from meshnet.kernel.bpf import abi
from meshnet.kernel.bpf.addresses import address_text, u16_be
from meshnet.model.modes import MODES
from meshnet.wire.flow_stream import Watcher
from netns_lab import status
from netns_lab.paths import Paths

_KINDS = {
    abi.EventKind.EVENT_CONNECT: "connect",
    abi.EventKind.EVENT_REFUSED: "refused",
    abi.EventKind.EVENT_VERDICT: "verdict",
    abi.EventKind.EVENT_CLOSE: "close",
}
_PROTOCOLS = {1: "icmp", 6: "tcp", 17: "udp"}
_HOLD_NS = 80_000_000  # observers look every 50 ms
_DENIALS = ("denied", "dropped", "refused")


@dataclass(frozen=True)
class Flow:
    """One event.

    Attributes:
        time_ns: CLOCK_REALTIME.
        kind: connect, refused, verdict, close.
        container: address of the container whose socket or veth it is.
        source, destination: (address, port) as the opener sends.
        meant: the VIP and port that the app asked for, ("", 0) where it asked for the destination.
        reason: the counter's name, for verdicts and refusals, else "".
        mode: how the app's connection is carried; "" for verdicts.
        proxy: the socket is the sidecar's.
        sent_bytes, received_bytes: None where the connection is spliced, and TCP counts none of it.
    """

    time_ns: int
    cell: str
    kind: str
    protocol: str
    container: str
    source: tuple[str, int]
    destination: tuple[str, int]
    meant: tuple[str, int]
    src_tag: int
    dst_tag: int
    reason: str
    mode: str
    proxy: bool
    sent_bytes: int | None
    received_bytes: int | None
    duration_ns: int

    @property
    def verdict(self) -> str:
        """allowed, denied, or "" for the events of sockets."""
        if self.kind == "refused" or any(f"_{word}_" in self.reason for word in _DENIALS):
            return "denied"
        return "allowed" if self.kind == "verdict" else ""


def decode(record: bytes, cell: str, boot_ns: int) -> Flow:
    """One record of `struct flow_event`.

    Args:
        boot_ns: what to add to CLOCK_MONOTONIC for CLOCK_REALTIME.
    """
    e = abi.FlowEvent.from_buffer_copy(record)
    socket_event = e.kind != abi.EventKind.EVENT_VERDICT
    return Flow(
        time_ns=e.time_ns + boot_ns,
        cell=cell,
        kind=_KINDS[e.kind],
        protocol=_PROTOCOLS.get(e.protocol, str(e.protocol)),
        container=address_text(e.container_be),
        source=(address_text(e.src_be), u16_be(e.sport_be)),
        destination=(address_text(e.dst_be), u16_be(e.dport_be)),
        meant=(address_text(e.meant_be), u16_be(e.meant_port_be)) if e.meant_be else ("", 0),
        src_tag=e.src_tag,
        dst_tag=e.dst_tag,
        reason="" if e.reason == abi.Counter.COUNTERS else abi.Counter(e.reason).name.lower(),
        mode=MODES[e.mode] if socket_event else "",
        proxy=bool(e.proxy),
        sent_bytes=None if e.spliced else e.sent_bytes,
        received_bytes=None if e.spliced else e.received_bytes,
        duration_ns=e.duration_ns,
    )


class FlowEvents:
    """The events of all cells of a lab from now on. Owner: `close()`."""

    def __init__(self, paths: Paths) -> None:
        """Start. Raises PeerError where a cell's observer does not answer."""
        self._watchers: dict[Watcher, str] = {}
        self._lost: dict[str, int] = {}
        self._held: list[Flow] = []
        self._boot_ns = time.time_ns() - time.monotonic_ns()
        try:
            for cell in status.cells(paths):
                self._watchers[Watcher(paths.socket(cell, "observe"))] = cell
        except BaseException:
            self.close()
            raise

    @property
    def lost(self) -> int:
        """Events that this watcher missed, all cells together."""
        return sum(self._lost.values())

    def records(self, timeout: float | None) -> Iterator[tuple[str, bytes]]:
        """(cell, record) of what has come, after waiting `timeout` seconds at most for some."""
        ready, _, _ = select.select(list(self._watchers), [], [], timeout)
        for watcher in ready:
            cell = self._watchers[watcher]
            for batch in watcher.receive():
                self._lost[cell] = batch.lost
                for record in batch.records:
                    yield cell, record

    def read(self, timeout: float) -> list[Flow]:
        """Events that have come, oldest first; waits `timeout` seconds at most for some.

        One is held back until no other cell can have told an older one.
        """
        wait = min(timeout, _HOLD_NS / 1e9) if self._held else timeout
        self._held += [decode(raw, cell, self._boot_ns) for cell, raw in self.records(wait)]
        self._held.sort(key=lambda flow: flow.time_ns)
        ripe = time.time_ns() - _HOLD_NS
        count = bisect.bisect_right(self._held, ripe, key=lambda flow: flow.time_ns)
        return self._release(count)

    def rest(self) -> list[Flow]:
        """What is held back."""
        return self._release(len(self._held))

    def _release(self, count: int) -> list[Flow]:
        released = self._held[:count]
        del self._held[:count]
        return released

    def close(self) -> None:
        """Stop watching."""
        for watcher in self._watchers:
            watcher.close()

    def __enter__(self) -> FlowEvents:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
