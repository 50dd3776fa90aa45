"""Running instances by Diego process guid, from BBS's list and its events."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from meshnet.model.routes import Backend
from meshnet.wire import bbs_api as api
from meshnet.wire.gen import bbs_pb2 as pb

_SSH_PORT = 2222
_Key = tuple[int, str]  # index, instance guid


@dataclass(frozen=True)
class _Instance:
    backend: Backend
    leaving: bool


def backend(lrp: Any) -> Backend | None:
    """What a mesh needs of an ActualLRP; None unless it runs."""
    if lrp.state != api.RUNNING:
        return None
    net = lrp.actual_lrp_net_info
    ports = [p for p in net.ports if p.container_port != _SSH_PORT]
    if not ports or not net.instance_address:
        return None
    return Backend(net.instance_address, ports[0].container_port, net.address, ports[0].host_port)


class Backends:
    """The instances that can take requests.

    There may be several of one index: one on a cell that is being evacuated, one on a cell that
    is suspect, and their replacement. The one that leaves takes requests until another runs.
    """

    def __init__(self) -> None:
        self._live: defaultdict[str, dict[_Key, _Instance]] = defaultdict(dict)

    def replace(self, lrps: Iterable[Any]) -> set[str]:
        """Take a complete list; the Diego process guids of which anything differs."""
        live: defaultdict[str, dict[_Key, _Instance]] = defaultdict(dict)
        for lrp in lrps:
            if found := _instance(lrp):
                live[lrp.actual_lrp_key.process_guid][_key(lrp)] = found
        before, self._live = self._live, live
        return {guid for guid in before.keys() | live.keys() if before.get(guid) != live.get(guid)}

    def apply(self, name: str, message: Any) -> str | None:
        """Take one event; the Diego process guid of which something differs, or None."""
        if name == api.CREATED:
            return self._set(message.actual_lrp, _instance(message.actual_lrp))
        if name == api.CHANGED:
            lrp = api.changed_lrp(message)
            return self._set(lrp, _instance(lrp))
        if name == api.REMOVED:
            return self._set(message.actual_lrp, None)
        return None

    def of(self, process_guid: str) -> list[Backend]:
        """A Diego process's instances, by address."""
        instances = self._live.get(process_guid, {})
        staying = {index for (index, _), one in instances.items() if not one.leaving}
        return sorted(
            one.backend
            for (index, _), one in instances.items()
            if not (one.leaving and index in staying)
        )

    def _set(self, lrp: Any, value: _Instance | None) -> str | None:
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


def _instance(lrp: Any) -> _Instance | None:
    found = backend(lrp)
    return _Instance(found, lrp.presence == pb.EVACUATING) if found else None
