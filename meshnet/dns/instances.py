"""Names in internal domains, from BBS: each route's host, and <index>.<host>."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

from meshnet.wire import bbs_api as api
from meshnet.wire.bbs_running import Instance, Running

_INDEX_DIGITS = 10


class Instances:
    """Follows desired and actual LRPs; what an event costs does not grow with their number."""

    def __init__(self) -> None:
        self.listed = False
        self._hosts: dict[str, frozenset[str]] = {}
        self._guids: dict[str, set[str]] = {}
        self._running = Running()

    def find(self, name: str) -> tuple[str, ...] | None:
        """Addresses of a lower-case host or <index>.<host>; None where there is no such name."""
        if name in self._guids:
            return tuple(one.instance_address for one in self._of(name))
        index, _, host = name.partition(".")
        if host not in self._guids or not (index.isascii() and index.isdigit()):
            return None
        number = int(index) if len(index) < _INDEX_DIGITS else -1
        found = tuple(one.instance_address for one in self._of(host) if one.index == number)
        return found or None

    def _of(self, host: str) -> Iterator[Instance]:
        for guid in sorted(self._guids[host]):
            yield from self._running.of(guid)

    def replace(self, desired: Iterable[Any], actual: Iterable[Any]) -> None:
        """Take complete lists."""
        self._hosts, self._guids = {}, {}
        for lrp in desired:
            self._desire(lrp.process_guid, _hosts(lrp))
        self._running.replace(actual)
        self.listed = True

    def apply(self, name: str, message: Any) -> None:
        """Take one event."""
        if name == api.DESIRED_CREATED:
            self._desire(message.desired_lrp.process_guid, _hosts(message.desired_lrp))
        elif name == api.DESIRED_CHANGED:
            self._desire(message.after.process_guid, _hosts(message.after))
        elif name == api.DESIRED_REMOVED:
            self._desire(message.desired_lrp.process_guid, frozenset())
        else:
            self._running.apply(name, message)

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


def _hosts(lrp: Any) -> frozenset[str]:
    try:
        routes = json.loads(lrp.routes.routes.get(api.INTERNAL_ROUTER, b"[]"))
        return frozenset(str(route["hostname"]).lower() for route in routes)
    except (ValueError, TypeError, KeyError):
        return frozenset()
