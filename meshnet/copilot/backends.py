"""Running instances by Diego process guid, from BBS's list and its events."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from meshnet.model.routes import Backend
from meshnet.wire import bbs_api as api
from meshnet.wire.gen import bbs_pb2 as pb

_SSH_PORT = 2222
_Key = tuple[str, int]


def backend(lrp: Any) -> Backend | None:
    """What a mesh needs of an ActualLRP; None unless it runs and is not being evacuated."""
    if lrp.state != api.RUNNING or lrp.presence == pb.EVACUATING:
        return None
    net = lrp.actual_lrp_net_info
    ports = [p for p in net.ports if p.container_port != _SSH_PORT]
    if not ports or not net.instance_address:
        return None
    return Backend(net.instance_address, ports[0].container_port, net.address, ports[0].host_port)


class Backends:
    """The instances that can take requests, one per (process guid, index)."""

    def __init__(self) -> None:
        self._live: dict[_Key, Backend] = {}

    def replace(self, lrps: Iterable[Any]) -> bool:
        """Take a complete list; whether anything differs."""
        live = {_key(lrp): found for lrp in lrps if (found := backend(lrp))}
        changed, self._live = live != self._live, live
        return changed

    def apply(self, name: str, message: Any) -> bool:
        """Take one event; whether anything differs."""
        if name == api.CREATED:
            return self._set(_key(message.actual_lrp), backend(message.actual_lrp))
        if name == api.CHANGED:
            lrp = api.changed_lrp(message)
            return self._set(_key(lrp), backend(lrp))
        if name == api.REMOVED:
            # One instance, by what it was: its index may have been given to another one since.
            gone, key = backend(message.actual_lrp), _key(message.actual_lrp)
            return gone is not None and self._live.get(key) == gone and self._set(key, None)
        return False

    def by_process(self) -> dict[str, list[Backend]]:
        """Diego process guid to its running instances."""
        found: dict[str, list[Backend]] = defaultdict(list)
        for (process_guid, _), one in sorted(self._live.items()):
            found[process_guid].append(one)
        return dict(found)

    def _set(self, key: _Key, value: Backend | None) -> bool:
        before = self._live.get(key)
        if value is None:
            self._live.pop(key, None)
        else:
            self._live[key] = value
        return before != value


def _key(lrp: Any) -> _Key:
    return lrp.actual_lrp_key.process_guid, lrp.actual_lrp_key.index
