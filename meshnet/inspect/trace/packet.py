"""`meshnet trace --packet`: one crafted packet instead of a request. Its own tuple is its mark."""

from __future__ import annotations

import ast
import time
from dataclasses import replace
from typing import Any

from meshnet.inspect import Lab
from meshnet.inspect.decode import TCP, UDP
from meshnet.inspect.trace.legs import openings
from meshnet.inspect.trace.model import Evidence, Request
from meshnet.inspect.trace.send import Source
from meshnet.kernel import packets
from meshnet.model.errors import InputError

_WAIT_SECONDS = 0.5
# Layers put on each other, with constants for their fields; no other Python.
_ALLOWED = (
    *(ast.Expression, ast.Call, ast.keyword, ast.Name, ast.Load, ast.Constant, ast.List, ast.Tuple),
    *(ast.BinOp, ast.Div, ast.Mult, ast.UnaryOp, ast.USub),
)


def craft(text: str, source: Source) -> Any:
    """The scapy packet a text describes, with the source's address where it names none.

    Raises:
        InputError: it is no IP packet with TCP or UDP.
    """
    import scapy.all as scapy_all
    from scapy.layers.inet import IP

    layers = {
        name: one
        for name, one in vars(scapy_all).items()
        if isinstance(one, type) and issubclass(one, (scapy_all.Packet, scapy_all.VolatileValue))
    }
    try:
        tree = ast.parse(text.strip(), mode="eval")
        for node in ast.walk(tree):
            if not isinstance(node, _ALLOWED):
                raise TypeError(f"{type(node).__name__} has no place in a packet")
        packet = eval(compile(tree, "--packet", "eval"), {"__builtins__": {}, **layers})
    except Exception as exc:
        raise InputError(f"--packet {text!r}: {type(exc).__name__}: {exc}") from exc
    if (
        not hasattr(packet, "haslayer")
        or not isinstance(packet, IP)
        or packet.proto not in (TCP, UDP)
    ):
        raise InputError(f"--packet {text!r}: wants IP(...)/TCP(...) or IP(...)/UDP(...)")
    if "src" not in packet.fields:
        packet.src = source.address
    if "sport" not in packet.payload.fields:
        packet.payload.sport = 20_000 + time.time_ns() % 10_000
    return IP(bytes(packet))


def send(lab: Lab, source: Source, packet: Any) -> Request:
    """Send it, and wait a moment for what becomes of it."""
    began = time.time_ns()
    packets.send_ip(source.netns, bytes(packet), packet.dst)
    time.sleep(_WAIT_SECONDS)  # nothing tells that a packet will not come
    return Request(
        source=source.name,
        container=source.address,
        url=packet.summary(),
        host=packet.dst,
        port=int(packet.payload.dport),
        marker="",
        began_ns=began,
        ended_ns=time.time_ns(),
        status=0,
        error="",
        local=(packet.src, int(packet.payload.sport)),
        remote=(packet.dst, int(packet.payload.dport)),
    )


def arrived(evidence: Evidence, target: str) -> str:
    """The point inside the destination, the node or instance `target`, where it came; or ""."""
    request = evidence.request
    for leg in openings(evidence.seen, [request.local]):
        for seen in leg.request:
            if seen.target == target and seen.place in ("eth0", "") and not seen.outgoing:
                return seen.point
    return ""


def marked(evidence: Evidence) -> Evidence:
    """The evidence with every packet of the tuple marked as the request."""
    local = evidence.request.local
    seen = tuple(
        replace(s, marked=True) if (s.packet.source, s.packet.sport) == local else s
        for s in evidence.seen
    )
    return replace(evidence, seen=seen)
