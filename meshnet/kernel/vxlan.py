"""The overlay's VXLAN device and the entries that lead to the other cells' subnets.

As silk-daemon lays it out: per remote cell one route, one permanent ARP entry and one forwarding
entry, nothing learnt; the group-policy extension carries the low 16 bits of a packet's mark.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from meshnet.kernel import links

if TYPE_CHECKING:
    from pyroute2 import IPRoute

OVERHEAD = 50  # bytes: Ethernet, IPv4, UDP and VXLAN headers
_SCOPE_LINK = 253
_NTF_SELF = 2
_FDB_STATE = 0x40 | 0x80  # NOARP, PERMANENT: neither learnt nor aged


@dataclass(frozen=True)
class Vtep:
    """A cell's tunnel end. `address` is its lease's network address; `device` the underlay link."""

    address: str
    overlay_network: str
    local: str
    device: str
    vni: int = 1
    port: int = 4789
    name: str = "silk-vtep"


@dataclass(frozen=True, order=True)
class RemoteLease:
    """Another cell's subnet ("10.255.2.0/24"), tunnel end's MAC and underlay address."""

    subnet: str
    mac: str
    underlay_ip: str


def hardware_address(address: str) -> str:
    """The MAC of the tunnel end or container side with this IPv4 address: ee:ee and its bytes."""
    return "ee:ee:" + ipaddress.IPv4Address(address).packed.hex(":")


def host_hardware_address(address: str) -> str:
    """The MAC of the host side of the container with this IPv4 address: aa:aa and its bytes."""
    return "aa:aa:" + ipaddress.IPv4Address(address).packed.hex(":")


def create(vtep: Vtep, netns: str | Path | None = None) -> int:
    """Make the tunnel end with its address, up; returns its MTU (the underlay link's less 50).

    One that is there already with the same settings is kept with all its entries; one with other
    settings is replaced.

    Raises:
        NotFound: there is no underlay link of that name.
        KernelError: the kernel refused, e.g. the UDP port is taken.
    """
    return links.with_socket(netns, f"make {vtep.name}", lambda ip: _create(ip, vtep))


def delete(vtep: Vtep, netns: str | Path | None = None) -> None:
    """Remove the tunnel end with all entries. NotFound if there is none."""
    links.apply(netns, [links.Delete(vtep.name)])


def sync_leases(
    vtep: Vtep, leases: Iterable[RemoteLease], netns: str | Path | None = None
) -> tuple[int, int]:
    """Make the device's routes, ARP and forwarding entries exactly those of `leases`.

    Only what differs is touched. Leases outside the overlay network are skipped, and so is the
    cell's own. Returns how many entries were made or changed, and how many removed.
    """
    wanted = entries(vtep, leases)
    return links.with_socket(netns, f"set {vtep.name}'s routes", lambda ip: _sync(ip, vtep, wanted))


@dataclass(frozen=True)
class Entries:
    """What the device shall hold: {subnet: gateway}, {gateway: mac}, {mac: underlay address}."""

    routes: dict[str, str]
    neighbours: dict[str, str]
    forwarding: dict[str, str]


def entries(vtep: Vtep, leases: Iterable[RemoteLease]) -> Entries:
    """The entries that `leases` ask for, from the point of view of this cell."""
    network = ipaddress.IPv4Network(vtep.overlay_network)
    found = Entries({}, {}, {})
    for lease in leases:
        subnet = ipaddress.IPv4Network(lease.subnet)
        gateway = str(subnet.network_address)
        if not subnet.subnet_of(network) or gateway == vtep.address:
            continue
        found.routes[str(subnet)] = gateway
        found.neighbours[gateway] = lease.mac.lower()
        found.forwarding[lease.mac.lower()] = lease.underlay_ip
    return found


def _create(ip: IPRoute, vtep: Vtep) -> int:
    device = links.index(vtep.device)
    mtu = int(next(iter(ip.get_links(device))).get_attr("IFLA_MTU")) - OVERHEAD
    settings = {
        "vxlan_id": vtep.vni,
        "vxlan_link": device,
        "vxlan_local": vtep.local,
        "vxlan_port": vtep.port,
    }
    found = next(iter(ip.link_lookup(ifname=vtep.name)), 0)
    if found and not _matches(next(iter(ip.get_links(found))), vtep, settings):
        ip.link("del", index=found)
        found = 0
    if not found:
        ip.link(
            "add",
            ifname=vtep.name,
            kind="vxlan",
            address=hardware_address(vtep.address),
            vxlan_learning=0,
            vxlan_gbp=True,
            **settings,
        )
        found = links.index(vtep.name)
    ip.link("set", index=found, mtu=mtu, state="up")
    prefix = ipaddress.IPv4Network(vtep.overlay_network).prefixlen
    ip.addr("replace", index=found, local=vtep.address, address=vtep.address, prefixlen=prefix,
            scope=_SCOPE_LINK)  # fmt: skip
    return mtu


def _matches(link: Any, vtep: Vtep, settings: dict[str, Any]) -> bool:
    data = link.get_nested("IFLA_LINKINFO", "IFLA_INFO_DATA")
    if data is None or link.get_attr("IFLA_ADDRESS") != hardware_address(vtep.address):
        return False
    names = {key: "IFLA_" + key.upper() for key in settings}
    return all(data.get_attr(names[key]) == settings[key] for key in settings) and bool(
        data.get_attr("IFLA_VXLAN_GBP") is not None
    )


def _sync(ip: IPRoute, vtep: Vtep, wanted: Entries) -> tuple[int, int]:
    index = links.index(vtep.name)
    have = _present(ip, index)
    changed = removed = 0
    for mac, where in wanted.forwarding.items():
        if have.forwarding.get(mac) != where:
            ip.fdb(
                "replace", ifindex=index, lladdr=mac, dst=where, flags=_NTF_SELF, state=_FDB_STATE
            )
            changed += 1
    for gateway, mac in wanted.neighbours.items():
        if have.neighbours.get(gateway) != mac:
            ip.neigh("replace", dst=gateway, lladdr=mac, ifindex=index, state=links.NUD_PERMANENT)
            changed += 1
    for subnet, gateway in wanted.routes.items():
        if have.routes.get(subnet) != gateway:
            ip.route("replace", dst=subnet, gateway=gateway, oif=index, prefsrc=vtep.address,
                     flags=links.RTNH_F_ONLINK)  # fmt: skip
            changed += 1
    # Routes first: nothing may be sent to an entry that is half gone.
    for subnet in have.routes.keys() - wanted.routes.keys():
        ip.route("del", dst=subnet, gateway=have.routes[subnet], oif=index)
        removed += 1
    for gateway in have.neighbours.keys() - wanted.neighbours.keys():
        ip.neigh("del", dst=gateway, ifindex=index)
        removed += 1
    for mac in have.forwarding.keys() - wanted.forwarding.keys():
        ip.fdb("del", ifindex=index, lladdr=mac, dst=have.forwarding[mac])
        removed += 1
    return changed, removed


def _present(ip: IPRoute, index: int) -> Entries:
    found = Entries({}, {}, {})
    for route in ip.get_routes(oif=index, family=socket.AF_INET):
        if gateway := route.get_attr("RTA_GATEWAY"):
            found.routes[f"{route.get_attr('RTA_DST')}/{route['dst_len']}"] = gateway
    for neighbour in ip.get_neighbours(ifindex=index, family=socket.AF_INET):
        # Multicast and broadcast addresses appear by themselves, in state NOARP.
        if neighbour["state"] & links.NUD_PERMANENT:
            mac = neighbour.get_attr("NDA_LLADDR")
            found.neighbours[neighbour.get_attr("NDA_DST")] = mac
    for entry in ip.get_neighbours(ifindex=index, family=socket.AF_BRIDGE):
        found.forwarding[entry.get_attr("NDA_LLADDR")] = entry.get_attr("NDA_DST")
    return found
