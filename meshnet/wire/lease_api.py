"""The arrow to the subnet leases: silk-controller's API, with a long poll added."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from meshnet.model.errors import PeerError

ACQUIRE, RENEW, RELEASE = "/leases/acquire", "/leases/renew", "/leases/release"
LEASES, WATCH = "/leases", "/leases/watch"
WATCH_SECONDS = 30.0


@dataclass(frozen=True)
class Lease:
    """One cell's part of the overlay.

    Attributes:
        underlay_ip: the cell.
        overlay_subnet: its /24; the first address is its VTEP's.
        overlay_hardware_addr: its VTEP's MAC address, ee:ee and the VTEP address's bytes.
    """

    underlay_ip: str
    overlay_subnet: str
    overlay_hardware_addr: str

    @property
    def vtep_ip(self) -> str:
        """The VTEP's overlay address."""
        return self.overlay_subnet.split("/")[0]

    def to_json(self) -> dict[str, str]:
        """As the API sends it."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Lease:
        """Parse and check one lease. Raises PeerError."""
        try:
            ipaddress.IPv4Address(value["underlay_ip"])
            ipaddress.IPv4Network(value["overlay_subnet"])
            return cls(
                value["underlay_ip"], value["overlay_subnet"], str(value["overlay_hardware_addr"])
            )
        except (KeyError, TypeError, ValueError) as exc:
            raise PeerError(f"not a lease: {value!r}") from exc


def vtep_mac(overlay_subnet: str) -> str:
    """ee:ee and the four bytes of the subnet's first address, as silk does it."""
    packed = ipaddress.IPv4Network(overlay_subnet).network_address.packed
    return ":".join(["ee", "ee", *(f"{byte:02x}" for byte in packed)])
