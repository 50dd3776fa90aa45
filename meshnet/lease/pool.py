"""Which subnet a cell gets: pure."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from ipaddress import IPv4Network

from meshnet.model.errors import Conflict, InputError


def check(overlay: str, prefix: int, fixed: Mapping[str, str]) -> None:
    """Refuse settings from which no lease can come.

    Raises:
        InputError: a network is none, a lease would be no part of the overlay, or a fixed subnet
            lies outside it, has another size or is given twice.
    """
    try:
        whole = IPv4Network(overlay)
        subnets = {ip: IPv4Network(subnet) for ip, subnet in fixed.items()}
        for underlay_ip in fixed:
            ipaddress.IPv4Address(underlay_ip)
    except ValueError as exc:
        raise InputError(f"lease settings: {exc}") from exc
    if not whole.prefixlen < prefix <= 30:
        raise InputError(f"lease settings: a /{prefix} is no lease of {overlay}")
    for underlay_ip, subnet in subnets.items():
        if not subnet.subnet_of(whole) or subnet.prefixlen != prefix:
            raise InputError(
                f"lease settings: {subnet} of {underlay_ip} is no /{prefix} of {overlay}"
            )
    if len(set(subnets.values())) < len(subnets):
        raise InputError("lease settings: a subnet is fixed for two cells")


def allocate(
    overlay: str,
    prefix: int,
    taken: Mapping[str, str],
    fixed: Mapping[str, str],
    underlay_ip: str,
) -> str:
    """The subnet for a cell: its present one, its fixed one, or the lowest free.

    Args:
        overlay: the whole overlay network.
        prefix: length of one lease.
        taken: underlay address to subnet, as leased.
        fixed: underlay address to subnet, as configured; nobody else gets these.

    Raises:
        InputError: `underlay_ip` is no IPv4 address.
        Conflict: no subnet is free, or the fixed one is still leased to another cell.
    """
    try:
        ipaddress.IPv4Address(underlay_ip)
    except ValueError as exc:
        raise InputError(f"{underlay_ip!r} is no IPv4 address") from exc
    if subnet := taken.get(underlay_ip):
        return subnet
    if subnet := fixed.get(underlay_ip):
        for holder, held in taken.items():
            if held == subnet:
                raise Conflict(f"{subnet} is still leased to {holder}: release that first")
        return subnet
    used = {*taken.values(), *fixed.values()}
    subnets = IPv4Network(overlay).subnets(new_prefix=prefix)
    next(subnets)  # silk keeps the first block for single-address leases
    for candidate in subnets:
        if str(candidate) not in used:
            return str(candidate)
    raise Conflict(f"no free /{prefix} in {overlay}")
