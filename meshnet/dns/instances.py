"""Names in internal domains, from BBS: each route's host, and <index>.<host>."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from meshnet.wire import bbs_api as api

_INDEX_DIGITS = 10


class Instances:
    """Follows desired and actual LRPs; what an event costs does not grow with their number."""

    def __init__(self) -> None:
        self.listed = False
        self._hosts: dict[str, frozenset[str]] = {}
        self._guids: dict[str, set[str]] = {}
        self._running: dict[str, dict[int, str]] = {}

    def find(self, name: str) -> tuple[str, ...] | None:
        """Addresses of a lower-case host or <index>.<host>; None where there is no such name."""
        if name in self._guids:
            rows = (self._running.get(guid, {}) for guid in sorted(self._guids[name]))
            return tuple(row[index] for row in rows for index in sorted(row))
        index, _, host = name.partition(".")
        if host not in self._guids or not (index.isascii() and index.isdigit()):
            return None
        number = int(index) if len(index) < _INDEX_DIGITS else -1
        rows = (self._running.get(guid, {}) for guid in sorted(self._guids[host]))
        return tuple(row[number] for row in rows if number in row) or None

    def replace(self, desired: Iterable[Any], actual: Iterable[Any]) -> None:
        """Take complete lists."""
        self._hosts, self._guids, self._running = {}, {}, {}
        for lrp in desired:
            self._desire(lrp.process_guid, _hosts(lrp))
        for lrp in actual:
            self._set(lrp)
        self.listed = True

    def apply(self, name: str, message: Any) -> None:
        """Take one event."""
        if name == api.DESIRED_CREATED:
            self._desire(message.desired_lrp.process_guid, _hosts(message.desired_lrp))
        elif name == api.DESIRED_CHANGED:
            self._desire(message.after.process_guid, _hosts(message.after))
        elif name == api.DESIRED_REMOVED:
            self._desire(message.desired_lrp.process_guid, frozenset())
        elif name == api.CREATED:
            self._set(message.actual_lrp)
        elif name == api.CHANGED:
            self._set(api.changed_lrp(message))
        elif name == api.REMOVED:
            # Only the instance named: its successor of the same index may run already.
            lrp, (guid, index) = message.actual_lrp, _key(message.actual_lrp)
            address = lrp.actual_lrp_net_info.instance_address
            if self._running.get(guid, {}).get(index) == address:
                self._stop(guid, index)

    def _desire(self, guid: str, hosts: frozenset[str]) -> None:
        before = self._hosts.pop(guid, frozenset())
        if hosts:
            self._hosts[guid] = hosts
        for host in hosts - before:
            self._guids.setdefault(host, set()).add(guid)
        for host in before - hosts:
            self._guids[host].discard(guid)
            if not self._guids[host]:
                del self._guids[host]

    def _set(self, lrp: Any) -> None:
        guid, index = _key(lrp)
        address = lrp.actual_lrp_net_info.instance_address
        if lrp.state == api.RUNNING and address:
            self._running.setdefault(guid, {})[index] = address
        else:
            self._stop(guid, index)

    def _stop(self, guid: str, index: int) -> None:
        row = self._running.get(guid, {})
        row.pop(index, None)
        if not row:
            self._running.pop(guid, None)


def _key(lrp: Any) -> tuple[str, int]:
    return lrp.actual_lrp_key.process_guid, lrp.actual_lrp_key.index


def _hosts(lrp: Any) -> frozenset[str]:
    try:
        routes = json.loads(lrp.routes.routes.get(api.INTERNAL_ROUTER, b"[]"))
        return frozenset(str(route["hostname"]).lower() for route in routes)
    except (ValueError, TypeError, KeyError):
        return frozenset()
