"""What Copilot is told: routes, their mappings to processes, and where processes run."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Route:
    """A route of the Cloud Controller; `host` is the whole name, kept as sent."""

    guid: str
    host: str
    path: str = ""
    internal: bool = False


@dataclass(frozen=True, order=True)
class Backend:
    """One running instance as Copilot needs it.

    Attributes:
        instance_address, container_port: reached inside the overlay.
        address, host_port: reached from the routers; host_port 0 = not reachable from there.
    """

    instance_address: str
    container_port: int
    address: str
    host_port: int
