"""Who of a lab listens with TLS."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Listener:
    """A port of the control node.

    Attributes:
        grpc: HTTP/2; else HTTP/1.1.
        mutual: only for clients with a certificate.
    """

    room: str
    port: int
    grpc: bool = False
    mutual: bool = True


LISTENERS = (
    Listener("capi", 443, mutual=False),
    Listener("capi", 9023),
    Listener("policy", 4002, mutual=False),
    Listener("policy", 4003),
    Listener("lease", 4103),
    Listener("bbs", 8889),
    Listener("copilot", 9001, grpc=True),
    Listener("copilot", 9002, grpc=True),
    Listener("copilot", 9009, grpc=True),
    Listener("pilot", 15010, grpc=True),
    Listener("logcache", 8080, grpc=True),
    Listener("logcache", 8083),
)
