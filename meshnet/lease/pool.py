"""Which subnet a cell gets: pure."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping

from meshnet.model.errors import Conflict, InputError


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
        Conflict: no subnet is free.
    """
    try:
        ipaddress.IPv4Address(underlay_ip)
    except ValueError as exc:
        raise InputError(f"{underlay_ip!r} is no IPv4 address") from exc
    if subnet := taken.get(underlay_ip) or fixed.get(underlay_ip):
        return subnet
    used = {*taken.values(), *fixed.values()}
    subnets = ipaddress.IPv4Network(overlay).subnets(new_prefix=prefix)
    next(subnets)  # silk keeps the first block for single-address leases
    for candidate in subnets:
        if str(candidate) not in used:
            return str(candidate)
    raise Conflict(f"no free /{prefix} in {overlay}")
