"""The policy map: which app may call which, as the policy agent writes it and programs read it."""

from __future__ import annotations

import contextlib
import ctypes
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from meshnet.kernel.bpf import abi
from meshnet.kernel.bpf.addresses import u16_be
from meshnet.kernel.bpf.maps import Map, wait_for_pin
from meshnet.kernel.bpf.port_ranges import prefixes
from meshnet.model.errors import InputError, KernelError

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
        # Ranges of ports that differ may share entries: each is kept while a rule needs it.
        self._rules: set[PolicyRule] = set()
        self._needed: Counter[bytes] = Counter()

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
            KernelError: the map is full (E2BIG or ENOSPC) or refused; what was to go is gone all
                the same, and `replace` can be repeated.
        """
        self._rules = set(rules)
        self._needed = Counter(key for rule in self._rules for key in keys_of(rule))
        return self._write(self._needed.keys() - self._present, self._present - self._needed.keys())

    def change(self, added: Iterable[PolicyRule], removed: Iterable[PolicyRule]) -> tuple[int, int]:
        """Add some rules and remove others, at the cost of those; known and unknown ones are fine.

        Returns:
            As `replace`.

        Raises:
            KernelError: as `replace`, which has to be next then.
        """
        new, gone = set(added) - self._rules, set(removed) & self._rules
        self._rules |= new
        self._rules -= gone
        touched = set()
        for rules, step in ((new, 1), (gone, -1)):
            for key in (key for rule in rules for key in keys_of(rule)):
                self._needed[key] += step
                touched.add(key)
        needed = {key for key in touched if self._needed[key] > 0}
        for key in touched - needed:
            del self._needed[key]
        return self._write(needed - self._present, (touched - needed) & self._present)

    def _write(self, missing: Collection[bytes], obsolete: Collection[bytes]) -> tuple[int, int]:
        # What is new goes first, so that nothing that stays allowed is ever missing. But a map that
        # is full must not go on allowing what is forbidden because something new has no room.
        left = list(missing)
        with contextlib.suppress(KernelError):
            self._add(left)
        for key in obsolete:
            self._map.delete(abi.PolicyKey.from_buffer_copy(key))
            self._present.discard(key)
        self._add(left)
        return len(missing), len(obsolete)

    def _add(self, keys: list[bytes]) -> None:
        """Write keys, each of which leaves the list. Raises KernelError at the first refusal."""
        while keys:
            self._map.set(abi.PolicyKey.from_buffer_copy(keys[-1]), ctypes.c_uint32(1))
            self._present.add(keys.pop())

    def items(self) -> list[PolicyRule]:
        """What the map says now, one rule an entry, in order."""
        return sorted(rule_of(key) for key in self._map.keys())  # noqa: SIM118 - a walk

    def close(self) -> None:
        """Close the descriptor; the rules stay."""
        self._map.close()
