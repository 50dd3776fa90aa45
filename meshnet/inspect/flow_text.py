"""Flow events as lines for people and objects for programs; which of them are asked for. Pure."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from meshnet.inspect.flows import Flow

_MOST_CONNECTIONS = 65_536
_WORDS = {
    "from_passed_overlay": "leaves for the overlay",
    "from_passed_dns": "asks DNS",
    "from_denied_destination": "destination not open to containers",
    "from_denied_no_flow": "no such connection, or cut",
    "from_dropped_spoofed_address": "forged source address",
    "from_dropped_protocol": "protocol not allowed",
    "to_passed_policy": "policy",
    "to_passed_router": "from a router",
    "to_passed_cell": "from its cell",
    "to_denied_policy": "no policy",
    "to_denied_no_tag": "sender is no container and no router",
    "to_denied_proxy_port": "a sidecar's port",
    "vip_refused_protocol": "VIPs take TCP only",
    "vip_refused_no_state": "no room to remember it",
    "vip_refused_no_instance": "no instance behind the VIP",
    "vip_refused_mode_off": "VIPs are not served in mode off",
    "proxy_port_refused_connect": "a sidecar's port",
}
DIRECT = "direct"


class Namer(Protocol):
    """Names of addresses and tags."""

    def address(self, address: str) -> str:
        """An address's name."""

    def tag(self, tag: int) -> str:
        """A tag's app."""


class Carried:
    """Remembers by their connects how connections are carried, for verdicts on their packets."""

    def __init__(self) -> None:
        self._modes: OrderedDict[tuple[Any, Any], str] = OrderedDict()

    def mode(self, flow: Flow) -> str:
        """A mode's name, "direct" (no VIP was asked for), or "" where that is not known."""
        key = flow.source, flow.destination
        if flow.kind == "verdict":
            return self._modes.get(key, "")
        mode = flow.mode if flow.meant[0] or flow.proxy or flow.mode == "off" else DIRECT
        if flow.kind == "connect":
            self._modes[key] = mode
            if len(self._modes) > _MOST_CONNECTIONS:
                self._modes.popitem(last=False)
        elif flow.kind == "close":
            self._modes.pop(key, None)
        return mode


@dataclass(frozen=True)
class Wanted:
    """What to show.

    Attributes:
        app: an app or app/index at either end; "" = any.
        verdict: allowed or denied; "" = every event.
    """

    app: str = ""
    verdict: str = ""

    def shows(self, flow: Flow, name: Callable[[str], str]) -> bool:
        """Whether this event is asked for."""
        if self.verdict and flow.verdict != self.verdict:
            return False
        if not self.app:
            return True
        ends = (name(flow.container), name(flow.source[0]), name(flow.destination[0]))
        return any(end == self.app or end.partition("/")[0] == self.app for end in ends)


def reason(flow: Flow) -> str:
    """Why, in words."""
    return _WORDS.get(flow.reason, flow.reason.replace("_", " "))


def fields(flow: Flow, mode: str, names: Namer) -> dict[str, Any]:
    """An event as an object: addresses, names and numbers (ns since the epoch, bytes)."""
    own = names.address(flow.container)
    source = own if flow.source[0].startswith("127.") else names.address(flow.source[0])
    target = flow.meant if flow.kind != "verdict" and flow.meant[0] else flow.destination
    return {
        "time_ns": flow.time_ns,
        "cell": flow.cell,
        "event": flow.kind,
        "source": {"name": source, "address": flow.source[0], "port": flow.source[1]},
        "destination": {
            "name": names.address(target[0]),
            "address": target[0],
            "port": target[1],
            "carried_to": f"{flow.destination[0]}:{flow.destination[1]}",
        },
        "protocol": flow.protocol,
        "verdict": flow.verdict,
        "reason": flow.reason,
        "mode": mode,
        "proxy": flow.proxy,
        "source_app": names.tag(flow.src_tag) if flow.src_tag else "",
        "sent_bytes": flow.sent_bytes,
        "received_bytes": flow.received_bytes,
        "duration_ns": flow.duration_ns,
    }


def line(flow: Flow, mode: str, names: Namer) -> str:
    """An event as one line."""
    f = fields(flow, mode, names)
    clock = datetime.fromtimestamp(flow.time_ns // 1_000_000_000).strftime("%H:%M:%S")
    source = f["source"]["name"] + (" (sidecar)" if flow.proxy else "")
    if flow.source[1]:
        source += f":{flow.source[1]}"
    ends = f"{source} → {f['destination']['name']}:{f['destination']['port']}"
    what = flow.verdict or flow.kind
    return (
        f"{clock}.{flow.time_ns // 1000 % 1_000_000:06d}  {ends:<62} {flow.protocol:<4}"
        f" {what:<8} {mode or '-':<9} {_rest(flow, names)}"
    ).rstrip()


def _rest(flow: Flow, names: Namer) -> str:
    if flow.kind == "close":
        sent, received = size(flow.sent_bytes), size(flow.received_bytes)
        return f"{sent} out, {received} in, {flow.duration_ns / 1e6:.1f} ms"
    if flow.kind == "connect":
        carried = flow.meant[0] and flow.destination != flow.meant
        host = names.address(flow.destination[0])
        to = "its sidecar" if host == "localhost" else f"{host}:{flow.destination[1]}"
        return f"carried to {to}" if carried else ""
    return reason(flow)


def size(count: int | None) -> str:
    """Bytes, short; `-` where nobody counts them."""
    if count is None:
        return "-"
    return f"{count} B" if count < 10_000 else f"{count / 1000:.0f} kB"
