"""Redirection modes: how an app's connections to VIPs are carried."""

from __future__ import annotations

from dataclasses import dataclass

from meshnet.model.errors import InputError

EBPF, IPTABLES, KERNEL, OFF = "ebpf", "iptables", "kernel", "off"
MODES = (EBPF, IPTABLES, KERNEL, OFF)
# Modes in which a proxy is on the path: with retries, timeouts and the sidecar's inbound listener.
PROXIED = frozenset({EBPF, IPTABLES})


@dataclass(frozen=True)
class Redirection:
    """A mode, and whether the connection between app and sidecar is spliced (`ebpf` only)."""

    mode: str = EBPF
    sockmap: bool = False

    def __post_init__(self) -> None:
        """Refuse what is no mode."""
        if self.mode not in MODES:
            raise InputError(f"no mode {self.mode!r}: one of {', '.join(MODES)}")
        if self.sockmap and self.mode != EBPF:
            raise InputError(f"sockmap splices app and sidecar in mode {EBPF}, not in {self.mode}")

    @property
    def proxied(self) -> bool:
        """Whether the app's sidecar is on the path of its connections, both ways."""
        return self.mode in PROXIED

    def __str__(self) -> str:
        return f"{self.mode}+sockmap" if self.sockmap else self.mode
