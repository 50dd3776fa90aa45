"""VIPs of internal hosts: the lowest free offset into the range, as the Cloud Controller did it."""

from __future__ import annotations

import bisect
import ipaddress
import itertools
from collections.abc import Iterable, Iterator, Mapping

from meshnet.model.errors import Conflict, InputError

Changes = dict[str, str | None]  # lower-case host to its VIP; None: it has none any longer


class VipPool:
    """Who has which VIP of a range. A plan costs what it changes, and changes nothing yet."""

    def __init__(self, network: str, present: Mapping[str, str]) -> None:
        self._net = ipaddress.IPv4Network(network)
        self._base, self._most = int(self._net.network_address), self._net.num_addresses - 2
        self._owners: dict[int, str] = {}  # offset to host
        self._offsets: dict[str, int] = {}
        # Every free offset is in `gaps` (ascending) or not below `next`.
        self._gaps: list[int] = []
        self._next = 1
        self.apply(dict(present))

    def plan(self, wanted: Mapping[str, str], gone: Iterable[str] = ()) -> Changes:
        """What gives each wanted host a VIP: the one it has, or the one asked for, which wins
        (empty: any), or the lowest free one.

        Args:
            wanted: lower-case host to the VIP asked for.
            gone: hosts that give theirs back.

        Raises:
            InputError: a VIP asked for is no address of the range, or another host's.
            Conflict: the range is full.
        """
        asked = {host: self._offset(vip) for host, vip in wanted.items() if vip}
        freed = {host for host in gone if host in self._offsets}
        freed |= {h for h, offset in asked.items() if self._offsets.get(h, offset) != offset}
        taken: dict[int, str] = {}
        for host, offset in asked.items():
            owner = taken.get(offset) or self._owner(offset, freed)
            if owner not in (None, host):
                vip = self._address(offset)
                raise InputError(f"vip {vip} is taken: both {owner} and {host} have it")
            taken[offset] = host
        lowest = self._free(freed, taken)
        for host in sorted(wanted.keys() - asked.keys() - self._offsets.keys()):
            if (offset := next(lowest)) > self._most:
                raise Conflict(f"the VIP range {self._net} is full")
            taken[offset] = host
        changes: Changes = dict.fromkeys(freed)
        changes.update({host: self._address(offset) for offset, host in taken.items()})
        return {h: vip for h, vip in changes.items() if vip is None or not self._has(h, vip)}

    def apply(self, changes: Mapping[str, str | None]) -> None:
        """Let a plan be so."""
        for host in changes:
            if (offset := self._offsets.pop(host, None)) is not None:
                del self._owners[offset]
                if offset < self._next:
                    bisect.insort(self._gaps, offset)
        for host, vip in changes.items():
            if vip is None:
                continue
            offset = int(ipaddress.IPv4Address(vip)) - self._base
            self._owners[offset], self._offsets[host] = host, offset
            self._take(offset)

    def _take(self, offset: int) -> None:
        at = bisect.bisect_left(self._gaps, offset)
        if at < len(self._gaps) and self._gaps[at] == offset:
            del self._gaps[at]
        while self._next in self._owners:
            self._next += 1

    def _free(self, freed: set[str], taken: Mapping[int, str]) -> Iterator[int]:
        """Offsets that nobody has, ascending; such as are beyond the range at the end."""
        below = sorted(self._offsets[host] for host in freed)
        at = 0
        for offset in itertools.chain(self._gaps, [None]):
            while at < len(below) and (offset is None or below[at] < offset):
                if below[at] < self._next and below[at] not in taken:
                    yield below[at]
                at += 1
            if offset is not None and offset not in taken:
                yield offset
        offset = self._next
        while True:
            if offset not in taken and self._owner(offset, freed) is None:
                yield offset
            offset += 1

    def _owner(self, offset: int, freed: set[str]) -> str | None:
        owner = self._owners.get(offset)
        return None if owner in freed else owner

    def _has(self, host: str, vip: str) -> bool:
        offset = self._offsets.get(host)
        return offset is not None and self._address(offset) == vip

    def _address(self, offset: int) -> str:
        return str(ipaddress.IPv4Address(self._base + offset))

    def _offset(self, vip: str) -> int:
        try:
            address = ipaddress.IPv4Address(vip)
        except ValueError as exc:
            raise InputError(f"vip {vip!r} is no IPv4 address") from exc
        if address not in self._net or not 0 < int(address) - self._base <= self._most:
            raise InputError(f"vip {vip} is not in {self._net}")
        return int(address) - self._base
