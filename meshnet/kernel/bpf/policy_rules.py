"""The policy map: which app may call which, as the policy agent writes it and programs read it."""

from __future__ import annotations

import ctypes
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from meshnet.kernel.bpf import abi
from meshnet.kernel.bpf.addresses import u16_be
from meshnet.kernel.bpf.maps import Map, wait_for_pin
from meshnet.kernel.bpf.port_ranges import prefixes
from meshnet.model.errors import InputError

_PROTOCOLS = {"tcp": 6, "udp": 17}
_NAMES = {number: name for name, number in _PROTOCOLS.items()}
_FIXED_BITS = 48  # both tags, protocol and pad


@dataclass(frozen=True, order=True)
class PolicyRule:
    """Apps with `src_tag` may open flows to apps with `dst_tag` at these ports (both included)."""

    src_tag: int
    dst_tag: int
    protocol: str
    start_port: int
    end_port: int

    def __post_init__(self) -> None:
        """Refuse what the map cannot hold or must not: tag 0 stands for `unknown`."""
        if not (1 <= self.src_tag <= 0xFFFF and 1 <= self.dst_tag <= 0xFFFF):
            raise InputError(f"policy tags are 1 to 65535, not {self.src_tag} and {self.dst_tag}")
        if self.protocol not in _PROTOCOLS:
            raise InputError(f"policy protocol is tcp or udp, not {self.protocol!r}")
        if not 1 <= self.start_port <= self.end_port <= 0xFFFF:
            raise InputError(f"{self.start_port}-{self.end_port} is not a range of ports")


def keys_of(rule: PolicyRule) -> Iterator[bytes]:
    """The map keys that together say this rule."""
    for port, length in prefixes(rule.start_port, rule.end_port):
        yield bytes(
            abi.PolicyKey(
                prefix_bits=_FIXED_BITS + length,
                src_tag_be=u16_be(rule.src_tag),
                dst_tag_be=u16_be(rule.dst_tag),
                protocol=_PROTOCOLS[rule.protocol],
                port_be=u16_be(port),
            )
        )


def rule_of(key: abi.PolicyKey) -> PolicyRule:
    """The rule one map key says: a whole rule, or a part of a wider one."""
    start = u16_be(key.port_be)
    size = 1 << (64 - key.prefix_bits)
    return PolicyRule(
        src_tag=u16_be(key.src_tag_be),
        dst_tag=u16_be(key.dst_tag_be),
        protocol=_NAMES[key.protocol],
        start_port=max(1, start),
        end_port=start + size - 1,
    )


class PolicyRules:
    """The policy agent's handle on the map `policy_rules` of its cell."""

    def __init__(self, rules: Map[abi.PolicyKey, ctypes.c_uint32]) -> None:
        self._map = rules
        self._present = {bytes(key) for key in rules.keys()}  # noqa: SIM118 - a walk, not a dict

    @classmethod
    def open(cls, pin_dir: Path, wait_s: float = 0.0) -> PolicyRules:
        """Open the map that the cell agent has pinned below `pin_dir`.

        Args:
            wait_s: how long to wait for the cell agent to have made it.

        Raises:
            KernelError: ENOENT where it is not there in time.
        """
        path = pin_dir / "maps" / "policy_rules"
        wait_for_pin(path, wait_s)
        return cls(Map.open(path, abi.PolicyKey, ctypes.c_uint32))

    def replace(self, rules: Iterable[PolicyRule]) -> tuple[int, int]:
        """Make the map say exactly these rules; what stays is never missing meanwhile.

        Returns:
            How many map entries were added and removed (a port range is several entries).

        Raises:
            KernelError: the map is full (E2BIG or ENOSPC) or refused; `replace` can be repeated.
        """
        wanted = {key for rule in rules for key in keys_of(rule)}
        added, removed = wanted - self._present, self._present - wanted
        for key in added:
            self._map.set(abi.PolicyKey.from_buffer_copy(key), ctypes.c_uint32(1))
            self._present.add(key)
        for key in removed:
            self._map.delete(abi.PolicyKey.from_buffer_copy(key))
            self._present.discard(key)
        return len(added), len(removed)

    def items(self) -> list[PolicyRule]:
        """What the map says now, one rule an entry, in order."""
        return sorted(rule_of(key) for key in self._map.keys())  # noqa: SIM118 - a walk

    def close(self) -> None:
        """Close the descriptor; the rules stay."""
        self._map.close()
