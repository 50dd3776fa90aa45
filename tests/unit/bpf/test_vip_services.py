"""Services of `kernel` mode where not all have room: maps in memory stand for the kernel's."""

from __future__ import annotations

import errno
from typing import Any

import pytest

from meshnet.kernel.bpf import abi
from meshnet.kernel.bpf.vip_services import Slots, VipServices
from meshnet.model.errors import KernelError


class Memory:
    def __init__(self, key: Any, value: Any, room: int) -> None:
        self._key, self._value, self.room = key, value, room
        self.rows: dict[bytes, bytes] = {}

    def keys(self) -> list[Any]:
        return [self._key.from_buffer_copy(raw) for raw in self.rows]

    def items(self) -> list[tuple[Any, Any]]:
        return [(key, self.get(key)) for key in self.keys()]

    def get(self, key: Any) -> Any:
        raw = self.rows.get(bytes(key))
        return None if raw is None else self._value.from_buffer_copy(raw)

    def set(self, key: Any, value: Any) -> None:
        if bytes(key) not in self.rows and len(self.rows) >= self.room:
            raise KernelError("no room", errno.E2BIG)
        self.rows[bytes(key)] = bytes(value)

    def delete(self, key: Any) -> None:
        self.rows.pop(bytes(key), None)


def vip(number: int) -> tuple[str, int]:
    return f"127.128.0.{number}", 8080


def slots(*numbers: int) -> Slots:
    return tuple((f"10.255.1.{number}", 8080) for number in numbers)


@pytest.mark.parametrize(("services", "rows"), [(2, 100), (100, 4)])
def test_what_has_no_room_keeps_nothing_from_the_others(services: int, rows: int) -> None:
    vips = Memory(abi.VipKey, abi.VipVal, services)
    table = Memory(abi.SlotKey, abi.Endpoint, rows)
    maps: tuple[Any, Any] = (vips, table)
    kept = VipServices(*maps)
    kept.replace({vip(1): slots(1), vip(2): slots(2)})
    with pytest.raises(KernelError):
        kept.update({vip(3): slots(3, 4, 5), vip(1): slots(9)})
    assert kept.items() == {vip(1): slots(9), vip(2): slots(2)}
    assert len(table.rows) == 2, "nothing of what was refused is left"
    kept.update({vip(2): None})
    assert kept.items() == {vip(1): slots(9), vip(3): slots(3, 4, 5)}, "there is room now"
    with pytest.raises(KernelError):
        kept.replace({vip(2): slots(2), vip(4): slots(4, 5, 6, 7, 8), vip(5): slots(5, 6, 7, 8, 9)})
    assert kept.items().keys() <= {vip(2), vip(4), vip(5)}
