"""VIPs of internal hosts: the lowest free offset into the range, as the Cloud Controller did it."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping

from meshnet.model.errors import Conflict


def allocate(network: str, hosts: Iterable[str], present: Mapping[str, str]) -> dict[str, str]:
    """VIPs for exactly these hosts; a host keeps the one it has.

    Args:
        network: the VIP range.
        hosts: lower-case internal hosts.
        present: host to VIP, as allocated so far.

    Raises:
        Conflict: the range is full.
    """
    wanted = sorted(set(hosts))
    kept = {host: present[host] for host in wanted if host in present}
    net = ipaddress.IPv4Network(network)
    base, capacity = int(net.network_address), net.num_addresses - 2
    used = {int(ipaddress.IPv4Address(vip)) - base for vip in kept.values()}
    offset = 1
    for host in wanted:
        if host in kept:
            continue
        while offset in used:
            offset += 1
        if offset > capacity:
            raise Conflict(f"the VIP range {network} is full")
        used.add(offset)
        kept[host] = str(ipaddress.IPv4Address(base + offset))
    return kept
