"""What a trace is made of: evidence in, hops out."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from meshnet.inspect.decode import Packet
from meshnet.inspect.flows import Flow
from meshnet.kernel.conntrack import Entry


@dataclass(frozen=True)
class Seen:
    """A packet of the trace at a point.

    Attributes:
        packet: the innermost one.
        outer: the VXLAN packet around it, if any.
        marked: it carries the trace's own header, and so is the request.
    """

    time_ns: int
    point: str
    outgoing: bool
    packet: Packet
    outer: Packet | None
    marked: bool

    @property
    def target(self) -> str:
        """The node or instance of the point."""
        return self.point.partition(":")[0]

    @property
    def place(self) -> str:
        """The point's place in it."""
        return self.point.partition(":")[2]


@dataclass(frozen=True)
class Access:
    """A proxy's access log line of the request."""

    proxy: str
    fields: dict[str, str]


@dataclass(frozen=True)
class Request:
    """What was sent and what came back.

    Attributes:
        status: HTTP status; 0 = no answer.
        error: curl's words where there was none.
        remote: (address, port) that the client sees as its peer.
        local: (address, port) of the client.
        seconds: what it took, by curl.
    """

    source: str
    container: str
    url: str
    host: str
    port: int
    marker: str
    began_ns: int
    ended_ns: int
    status: int
    error: str
    local: tuple[str, int]
    remote: tuple[str, int]
    seconds: float = 0.0
    body: str = ""


@dataclass(frozen=True)
class Behind:
    """An app that the asked host's route leads to, as the API knows it.

    Attributes:
        port: where the host serves it; 0 where that is not the port a client asks for.
        started: it is wanted to run.
    """

    app: str
    port: int
    started: bool


@dataclass(frozen=True)
class Evidence:
    """Everything that was collected, each kind oldest first.

    Attributes:
        conntrack: by node or instance.
        clusters: of the source's own proxy: name to instances' addresses.
        host_ports: "cell's address:port" to instance.
        hidden: apps behind the destination that the source's proxy is shown no route to.
        behind: what the host's route leads to; asked for only where the request failed.
        silent: daemons of the lab that do not answer; likewise.
    """

    request: Request
    seen: tuple[Seen, ...]
    flows: tuple[Flow, ...]
    access: tuple[Access, ...]
    conntrack: dict[str, tuple[Entry, ...]]
    policies: tuple[dict[str, Any], ...]
    clusters: dict[str, tuple[str, ...]] = field(default_factory=dict)
    host_ports: dict[str, str] = field(default_factory=dict)
    mode: str = ""
    hidden: tuple[str, ...] = ()
    behind: tuple[Behind, ...] = ()
    silent: tuple[str, ...] = ()


@dataclass(frozen=True)
class Hop:
    """One step.

    Attributes:
        time_ns: CLOCK_REALTIME.
        where: the point, proxy or node.
        evidence: what showed it: a capture, an eBPF event, an access log, conntrack.
        inferred: it was not seen but follows from what was.
        failed: here the request ended.
    """

    time_ns: int
    where: str
    what: str
    evidence: str
    inferred: bool = False
    failed: bool = False
    advice: str = ""
