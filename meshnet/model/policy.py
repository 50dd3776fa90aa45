"""Network policies: who may open connections to whom."""

from __future__ import annotations

from dataclasses import dataclass

MAX_PORT = 65535
PROTOCOLS = ("tcp", "udp")


@dataclass(frozen=True, order=True)
class Policy:
    """App `source` may reach app `destination` (guids) on ports `start`..`end` of a protocol."""

    source: str
    destination: str
    protocol: str
    start: int
    end: int
