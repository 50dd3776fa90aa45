"""Names in internal domains, from BBS: each route's host, and <index>.<host>."""

from __future__ import annotations

import json
from collections import defaultdict
from typing import Any

from meshnet.wire import bbs_api as api


class Instances:
    """Follows desired and actual LRPs; `names` is replaced whole at each change."""

    def __init__(self) -> None:
        self._hosts: dict[str, list[str]] = {}
        self._running: dict[tuple[str, int], str] = {}
        self.names: dict[str, list[str]] = {}

    def replace(self, desired: list[Any], actual: list[Any]) -> None:
        """Take complete lists."""
        self._hosts = {lrp.process_guid: _hosts(lrp) for lrp in desired}
        self._running = {}
        for lrp in actual:
            self._set(lrp)
        self._rebuild()

    def apply(self, name: str, message: Any) -> None:
        """Take one event."""
        if name == api.DESIRED_CREATED:
            self._hosts[message.desired_lrp.process_guid] = _hosts(message.desired_lrp)
        elif name == api.DESIRED_CHANGED:
            self._hosts[message.after.process_guid] = _hosts(message.after)
        elif name == api.DESIRED_REMOVED:
            self._hosts.pop(message.desired_lrp.process_guid, None)
        elif name == api.CREATED:
            self._set(message.actual_lrp)
        elif name == api.CHANGED:
            self._set(api.changed_lrp(message))
        elif name == api.REMOVED:
            lrp = message.actual_lrp
            gone = lrp.actual_lrp_net_info.instance_address
            if self._running.get(_key(lrp)) == gone:
                self._running.pop(_key(lrp), None)
        self._rebuild()

    def _set(self, lrp: Any) -> None:
        address = lrp.actual_lrp_net_info.instance_address
        if lrp.state == api.RUNNING and address:
            self._running[_key(lrp)] = address
        else:
            self._running.pop(_key(lrp), None)

    def _rebuild(self) -> None:
        names: dict[str, list[str]] = defaultdict(list)
        for hosts in self._hosts.values():
            for host in hosts:
                names.setdefault(host, [])
        for (guid, index), address in sorted(self._running.items()):
            for host in self._hosts.get(guid, ()):
                names[host].append(address)
                names[f"{index}.{host}"].append(address)
        self.names = dict(names)


def _key(lrp: Any) -> tuple[str, int]:
    return lrp.actual_lrp_key.process_guid, lrp.actual_lrp_key.index


def _hosts(lrp: Any) -> list[str]:
    try:
        routes = json.loads(lrp.routes.routes.get(api.INTERNAL_ROUTER, b"[]"))
        return [str(route["hostname"]).lower() for route in routes]
    except (ValueError, TypeError, KeyError):
        return []
