"""The load balancer's data path: spread connections to one address over routers, at layer 2."""

from __future__ import annotations

import ctypes
import itertools
from collections.abc import Iterable
from pathlib import Path

from meshnet.kernel.bpf import abi, attach, maglev
from meshnet.kernel.bpf.addresses import address_be, mac_bytes
from meshnet.kernel.bpf.maps import Map, read_counters
from meshnet.kernel.bpf.objects import Objects
from meshnet.kernel.bpf.source import LB_HOOKS

_PREFIX = "lb_"


class LbDatapath:
    """The lb daemon's handle. Packets keep flowing when it closes."""

    def __init__(self, objects: Objects, pin_dir: Path) -> None:
        self._objects = objects
        self._link_dir = pin_dir / "links"
        word = ctypes.c_uint32
        self._routers = Map(objects.maps["lb_routers"], word, abi.LbRouter)
        self._slots = Map(objects.maps["lb_slots"], word, word)

    @classmethod
    def open(cls, pin_dir: Path, public_ip: str) -> LbDatapath:
        """Load and pin below `pin_dir`, or adopt what is pinned there.

        Raises:
            InputError: `public_ip` is no IPv4 address.
            KernelError, PlatformError: see `Objects.open`.
        """
        config = abi.LbConfig(public_be=address_be(public_ip))
        objects = Objects.open(pin_dir, LB_HOOKS)
        Map(objects.maps["lb_configs"], ctypes.c_uint32, abi.LbConfig).set(
            ctypes.c_uint32(0), config
        )
        return cls(objects, pin_dir)

    def attach(self, ifindex: int) -> None:
        """Attach to an interface of the caller's network namespace; idempotent."""
        attach.attach_interface(LB_HOOKS, self._objects.programs, ifindex, self._link_dir)

    def attached(self) -> set[str]:
        """Names of the hooks attached and alive."""
        return attach.attached(self._link_dir)

    def set_routers(self, routers: Iterable[tuple[str, str]]) -> None:
        """Balance over exactly these (address, MAC address) pairs; none: connections are reset.

        Known flows stay on their router as long as it is among them.
        """
        wanted = {address: mac_bytes(mac) for address, mac in routers}
        numbers = {address: address_be(address) for address in wanted}
        for address, mac in wanted.items():
            value = abi.LbRouter()
            value.mac[:] = mac
            self._routers.set(ctypes.c_uint32(numbers[address]), value)
        # New routers are known before a slot names them; gone ones leave the slots first.
        table = [numbers[address] for address in maglev.table(list(wanted), abi.LB_SLOTS)]
        filled = itertools.islice(itertools.chain(table, itertools.repeat(0)), abi.LB_SLOTS)
        for slot, number in enumerate(filled):
            self._slots.set(ctypes.c_uint32(slot), ctypes.c_uint32(number))
        for key in self._routers.keys():  # noqa: SIM118 - a walk, not a dict
            if key.value not in numbers.values():
                self._routers.delete(key)

    def counters(self) -> dict[str, int]:
        """Flows and packets by outcome."""
        found = read_counters(self._objects.maps["counters"])
        return {name: count for name, count in found.items() if name.startswith(_PREFIX)}

    def close(self) -> None:
        """Close the descriptors; what is pinned and attached stays."""
        self._objects.close()
