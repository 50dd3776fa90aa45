"""VIPs of internal hosts: the lowest free offset into the range, as the Cloud Controller did it."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping

from meshnet.model.errors import Conflict, InputError


def allocate(
    network: str,
    hosts: Iterable[str],
    present: Mapping[str, str],
    asked: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """VIPs for exactly these hosts; a host keeps the one it has.

    Args:
        network: the VIP range.
        hosts: lower-case internal hosts.
        present: host to VIP, as allocated so far.
        asked: host to the VIP that the Cloud Controller gave it, which wins.

    Raises:
        InputError: a VIP asked for is no address of the range, or another host's.
        Conflict: the range is full.
    """
    wanted = sorted(set(hosts))
    net = ipaddress.IPv4Network(network)
    base, capacity = int(net.network_address), net.num_addresses - 2
    given = {host: _checked(vip, net) for host, vip in (asked or {}).items() if vip}
    kept = {host: given.get(host) or present.get(host, "") for host in wanted}
    kept = {host: vip for host, vip in kept.items() if vip}
    _check_unique(kept)
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


def _checked(vip: str, net: ipaddress.IPv4Network) -> str:
    try:
        address = ipaddress.IPv4Address(vip)
    except ValueError as exc:
        raise InputError(f"vip {vip!r} is no IPv4 address") from exc
    if address not in net or address in (net.network_address, net.broadcast_address):
        raise InputError(f"vip {vip} is not in {net}")
    return str(address)


def _check_unique(vips: Mapping[str, str]) -> None:
    owners: dict[str, str] = {}
    for host, vip in vips.items():
        if vip in owners:
            raise InputError(f"vip {vip} is taken: both {owners[vip]} and {host} have it")
        owners[vip] = host
