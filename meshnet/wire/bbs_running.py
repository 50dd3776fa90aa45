"""Which instances take requests, kept from BBS's list and its events."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from meshnet.wire import bbs_api as api
from meshnet.wire.gen import bbs_pb2 as pb

_Key = tuple[int, str]  # index, instance guid


@dataclass(frozen=True)
class Instance:
    """An instance that runs.

    Attributes:
        address: its cell's.
        instance_address: its own, in the overlay.
        ports: (container port, host port), as its cell reported them.
        leaving: its cell is being emptied.
    """

    index: int
    address: str
    instance_address: str
    ports: tuple[tuple[int, int], ...]
    leaving: bool


class Running:
    """Instances by process guid.

    There may be several of one index: one on a cell that is being emptied, one on a cell that is
    suspect, and their replacement. The one that leaves takes requests until another runs.
    """

    def __init__(self) -> None:
        self._live: defaultdict[str, dict[_Key, Instance]] = defaultdict(dict)

    def replace(self, lrps: Iterable[Any]) -> set[str]:
        """Take a complete list; the process guids of which anything differs."""
        live: defaultdict[str, dict[_Key, Instance]] = defaultdict(dict)
        for lrp in lrps:
            if found := _instance(lrp):
                live[lrp.actual_lrp_key.process_guid][_key(lrp)] = found
        before, self._live = self._live, live
        return {guid for guid in before.keys() | live.keys() if before.get(guid) != live.get(guid)}

    def apply(self, name: str, message: Any) -> str | None:
        """Take one event; the process guid of which something differs, or None."""
        if name == api.CREATED:
            return self._set(message.actual_lrp, _instance(message.actual_lrp))
        if name == api.CHANGED:
            lrp = api.changed_lrp(message)
            return self._set(lrp, _instance(lrp))
        if name == api.REMOVED:
            return self._set(message.actual_lrp, None)
        return None

    def of(self, process_guid: str) -> list[Instance]:
        """A process's instances that take requests, by index."""
        instances = self._live.get(process_guid, {})
        staying = {one.index for one in instances.values() if not one.leaving}
        serving = [o for o in instances.values() if not (o.leaving and o.index in staying)]
        return sorted(serving, key=lambda one: (one.index, one.instance_address))

    def _set(self, lrp: Any, value: Instance | None) -> str | None:
        guid: str = lrp.actual_lrp_key.process_guid
        instances, key = self._live[guid], _key(lrp)
        before = instances.pop(key, None)
        if value is not None:
            instances[key] = value
        if not instances:
            del self._live[guid]
        return guid if before != value else None


def _key(lrp: Any) -> _Key:
    return lrp.actual_lrp_key.index, lrp.actual_lrp_instance_key.instance_guid


def _instance(lrp: Any) -> Instance | None:
    net = lrp.actual_lrp_net_info
    if not api.routable(lrp) or not net.instance_address:
        return None
    return Instance(
        lrp.actual_lrp_key.index,
        net.address,
        net.instance_address,
        tuple((port.container_port, port.host_port) for port in net.ports),
        lrp.presence == pb.EVACUATING,
    )
