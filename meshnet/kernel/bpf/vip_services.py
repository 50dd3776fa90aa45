"""Services of `kernel` mode: VIP and port to the slots of a table of instances."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from meshnet.kernel.bpf import abi
from meshnet.kernel.bpf.addresses import address_be, address_text, u16_be
from meshnet.kernel.bpf.maps import Map, wait_for_pin
from meshnet.model.errors import KernelError

Address = tuple[str, int]
Slots = tuple[Address, ...]
_TCP = 6


class VipServices:
    """The Pilot's handle on the maps `vip_services` and `vip_slots` of its cell."""

    def __init__(
        self,
        services: Map[abi.VipKey, abi.VipVal],
        slots: Map[abi.SlotKey, abi.Endpoint],
    ) -> None:
        self._services, self._slots = services, slots
        self._tables = {
            (address_text(key.addr_be), u16_be(key.port_be)): (value.table, value.slots)
            for key, value in services.items()
        }
        self._present: dict[Address, Slots] = {}
        self._refused: dict[Address, Slots] = {}
        self._last = max((table for table, _ in self._tables.values()), default=0)
        self._sweep()

    @classmethod
    def open(cls, pin_dir: Path, wait_s: float = 0.0) -> VipServices:
        """Open the maps that the cell agent has pinned below `pin_dir`.

        Args:
            wait_s: how long to wait for the cell agent to have made them.

        Raises:
            KernelError: ENOENT where they are not there in time.
        """
        maps = pin_dir / "maps"
        wait_for_pin(maps / "vip_slots", wait_s)
        services = Map.open(maps / "vip_services", abi.VipKey, abi.VipVal)
        return cls(services, Map.open(maps / "vip_slots", abi.SlotKey, abi.Endpoint))

    def replace(self, wanted: Mapping[Address, Slots]) -> int:
        """Make the maps say exactly these services; how many changed.

        Raises:
            KernelError: as `update`.
        """
        gone = self._tables.keys() - wanted.keys()
        changed = {vip: one for vip, one in wanted.items() if self._present.get(vip) != one}
        self._refused.clear()
        self.update({**dict.fromkeys(gone), **changed})
        return len(changed) + len(gone)

    def update(self, changes: Mapping[Address, Slots | None]) -> None:
        """Set these services, or remove them (None), and leave all others alone.

        A service's new table is whole before it is used, and its old one goes after that.

        Raises:
            KernelError: a map is full (E2BIG) or refused. All others are as they should be; what
                was refused is tried again with the next changes.
        """
        todo = {**self._refused, **changes}
        self._refused, error = {}, None
        for vip in (vip for vip, slots in todo.items() if slots is None):
            self._remove(vip)  # first, for the room
        for vip, slots in todo.items():
            if slots is None or self._present.get(vip) == slots:
                continue
            try:
                self._set(vip, slots)
            except KernelError as exc:
                self._refused[vip], error = slots, exc
        if error is not None:
            text = f"{len(self._refused)} services of `kernel` mode have no room: {error}"
            raise KernelError(text, error.errno) from error

    def items(self) -> dict[Address, Slots]:
        """What the maps say now."""
        found = {}
        for key, value in self._services.items():
            rows = [self._slots.get(abi.SlotKey(value.table, n)) for n in range(value.slots)]
            found[address_text(key.addr_be), u16_be(key.port_be)] = tuple(
                (address_text(row.addr_be), u16_be(row.port_be)) for row in rows if row
            )
        return found

    def close(self) -> None:
        """Close the descriptors; the services stay."""
        self._services.close()
        self._slots.close()

    def _set(self, vip: Address, slots: Slots) -> None:
        table = self._last = self._last % 0xFFFFFFFF + 1
        try:
            for number, (address, port) in enumerate(slots):
                value = abi.Endpoint(addr_be=address_be(address), port_be=u16_be(port))
                self._slots.set(abi.SlotKey(table, number), value)
            self._services.set(_key(vip), abi.VipVal(table, len(slots)))
        except KernelError:
            self._clear(table, len(slots))
            raise
        if vip in self._tables:
            self._clear(*self._tables[vip])
        self._tables[vip], self._present[vip] = (table, len(slots)), slots

    def _remove(self, vip: Address) -> None:
        if vip in self._tables:
            self._services.delete(_key(vip))
            self._clear(*self._tables.pop(vip))
            self._present.pop(vip, None)

    def _clear(self, table: int, slots: int) -> None:
        for number in range(slots):
            self._slots.delete(abi.SlotKey(table, number))

    def _sweep(self) -> None:
        """Remove what an earlier Pilot left half written."""
        used = dict(self._tables.values())
        for key in self._slots.keys():  # noqa: SIM118 - a walk
            if key.slot >= used.get(key.table, 0):
                self._slots.delete(key)


def _key(vip: Address) -> abi.VipKey:
    return abi.VipKey(addr_be=address_be(vip[0]), port_be=u16_be(vip[1]), protocol=_TCP)
