"""Looking at a lab from Python: its points, sniffing, sending, and what to expect where.

from meshnet.inspect import Lab

lab = Lab()
with lab.capture("frontend/0:eth0", "cell-2:vtep", filter="tcp port 8080") as taps:
    ...
    for one in taps.rest():
        print(one.point.name, one.frame.time_ns, len(one.frame.data))
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING, Any

from meshnet.inspect.capture import SNAPLEN, Capture, Captured
from meshnet.inspect.points import Point, Points
from meshnet.model.errors import InputError, NotFound
from netns_lab import paths, status
from netns_lab.lab import need_root

if TYPE_CHECKING:
    from meshnet.inspect.names import Names

__all__ = ["Capture", "Captured", "Lab", "Point"]


class Lab:
    """A lab that is up."""

    def __init__(self, name: str | None = None) -> None:
        """Find it: by name, else $MESHNET_LAB's, the only one, or the default.

        Raises:
            PlatformError: not root.
            NotFound: it is not up.
        """
        need_root()
        self.paths = paths.chosen(name)

    @cached_property
    def names(self) -> Names:
        """Names of addresses and policy tags."""
        from meshnet.inspect.names import Names

        return Names(self.paths)

    @property
    def vxlan_port(self) -> int:
        """The overlay's UDP port."""
        return int(status.lab(self.paths).get("vxlan_port", 4789))

    def points(self) -> list[Point]:
        """Every point where packets can be seen."""
        return self._points().all()

    def resolve(self, text: str) -> list[Point]:
        """The points a text names: several for an app without an index. Raises NotFound."""
        return self._points().resolve(text)

    def point(self, text: str) -> Point:
        """The one point a text names. Raises NotFound, or InputError where it names several."""
        found = self.resolve(text)
        if len(found) > 1:
            raise InputError(f"{text} is {len(found)} points: say which, e.g. {found[0].name}")
        return found[0]

    def capture(self, *points: str | Point, filter: str = "", snaplen: int = SNAPLEN) -> Capture:
        """Begin to capture; frames wait in the kernel until they are read.

        Raises:
            NotFound, InputError: no such point; the filter does not parse.
        """
        found = [
            p for one in points for p in ([one] if isinstance(one, Point) else self.resolve(one))
        ]
        return Capture(found, filter, snaplen)

    def sniff(
        self, *points: str | Point, filter: str = "", count: int = 0, timeout: float = 5.0
    ) -> list[Captured]:
        """Frames at these points: the first `count`, or all of `timeout` seconds."""
        found: list[Captured] = []
        with self.capture(*points, filter=filter) as taps:
            for one in taps.follow(timeout):
                found.append(one)
                if count and len(found) >= count:
                    break
        return found

    def expect(
        self,
        point: str | Point,
        match: Callable[[Any], bool],
        *,
        filter: str = "",
        timeout: float = 5.0,
        after: Callable[[], Any] | None = None,
    ) -> Any:
        """The first packet at a point that `match` accepts, as scapy sees it.

        Args:
            after: called once the capture has begun, e.g. to send.

        Raises:
            NotFound: none came within `timeout` seconds.
        """
        from scapy.layers.l2 import Ether

        began = time.monotonic()
        with self.capture(point, filter=filter) as taps:
            if after is not None:
                after()
            for one in taps.follow(timeout):
                if match(packet := Ether(one.frame.data)):
                    return packet
        name = point if isinstance(point, str) else point.name
        waited = time.monotonic() - began
        raise NotFound(f"no such packet at {name} in {waited:.1f} s ({sum(taps.seen)} others)")

    def send(self, point: str | Point, packet: Any) -> None:
        """Send a scapy packet out of a point.

        One with an Ethernet header leaves the point's interface as it is; one without is routed by
        the point's namespace, with its IP header as given.

        Raises:
            KernelError: the kernel refused it.
        """
        from scapy.layers.inet import IP
        from scapy.layers.l2 import Ether

        from meshnet.kernel import packets

        where = self.point(point) if isinstance(point, str) else point
        if packet.haslayer(Ether) and isinstance(packet, Ether):
            packets.send(where.netns, where.ifname, bytes(packet))
        elif packet.haslayer(IP):
            packets.send_ip(where.netns, bytes(packet), packet[IP].dst)
        else:
            raise InputError("a packet to send begins with Ether or IP")

    def _points(self) -> Points:
        rows = status.instances(self.paths)
        return Points(
            self.paths, {row["app_guid"]: self.names.app(row["app_guid"]) for row in rows}
        )
