"""The mesh as MCP tells it, service by service, and what a change of it touches. Pure memory.

A service is a VirtualService and the ServiceEntries it depends on. It is translated when somebody
who sees it asks, and again only when one of these differs.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from meshnet.pilot import translate
from meshnet.proxy import envoy, kernel
from meshnet.proxy.config import ProxyConfig
from meshnet.proxy.xds import Resource
from meshnet.wire import mcp
from meshnet.wire.mcp_sink import Deltas

Key = tuple[str, str]  # type URL, resource name
_Host = tuple[bool, str]  # internal?, lower-case host


@dataclass(frozen=True, eq=False)
class Service:
    """One service as it is now; another object when anything of it differs.

    Attributes:
        name: of its VirtualService.
        entries: lower-case host to ServiceEntry, of the hosts it depends on.
    """

    name: str
    message: Any
    entries: Mapping[str, Any]

    @property
    def internal(self) -> bool:
        """Whether it is inside the mesh, for sidecars, and not for ingress proxies."""
        return self.name.startswith(translate.INTERNAL)

    @cached_property
    def hosts(self) -> list[str]:
        """Its lower-case hosts."""
        return translate.hosts(self.message)

    @cached_property
    def config(self) -> ProxyConfig:
        """What a proxy does for it."""
        make = translate.internal if self.internal else translate.external
        return make(self.message, self.entries)

    @cached_property
    def resources(self) -> dict[Key, Resource]:
        """The same for an Envoy."""
        made = envoy.resources(self.config)
        return {(url, name): one for url, named in made.items() for name, one in named.items()}

    @cached_property
    def slots(self) -> dict[kernel.Address, kernel.Slots]:
        """The same for the kernel."""
        return kernel.services(self.config)


class Mesh:
    """All services by name.

    Attributes:
        gateways, sidecars: Istio's resources by name.
    """

    def __init__(self) -> None:
        self.services: dict[str, Service] = {}
        self.gateways: dict[str, Any] = {}
        self.sidecars: dict[str, Any] = {}
        self._entries: dict[str, Any] = {}
        self._entries_of: defaultdict[_Host, set[str]] = defaultdict(set)
        self._dependants: defaultdict[_Host, set[str]] = defaultdict(set)

    def update(self, news: Deltas) -> set[str]:
        """Take what is new; the names of the services that differ, those that went included."""
        touched: set[str] = set()
        for held, collection in ((self.gateways, mcp.GATEWAYS), (self.sidecars, mcp.SIDECARS)):
            for name, message in _changes(news, collection):
                _put(held, name, message)
        for name, message in _changes(news, mcp.SERVICE_ENTRIES):
            touched |= self._set_entry(name, message)
        for name, message in _changes(news, mcp.VIRTUAL_SERVICES):
            self._set_service(name, message)
            touched.add(name)
        for name in touched & self.services.keys():
            message = self.services[name].message
            self.services[name] = Service(name, message, self._needed(name, message))
        return touched

    def dependants(self, host: str) -> set[str]:
        """The names of the internal services that a host inside the mesh has to do with."""
        return self._dependants.get((True, host), set())

    def _set_entry(self, name: str, message: Any | None) -> set[str]:
        touched: set[str] = set()
        before = self._entries.get(name)
        for one, change in ((before, set.discard), (message, set.add)):
            for host in one.hosts if one is not None else ():
                key = (name.startswith(translate.INTERNAL), host.lower())
                change(self._entries_of[key], name)
                touched |= self._dependants.get(key, set())
                if not self._entries_of[key]:
                    del self._entries_of[key]
        _put(self._entries, name, message)
        return touched

    def _set_service(self, name: str, message: Any | None) -> None:
        before = self.services.pop(name, None)
        inside = name.startswith(translate.INTERNAL)
        for host in translate.needs(before.message) if before else ():
            self._dependants[inside, host].discard(name)
            if not self._dependants[inside, host]:
                del self._dependants[inside, host]
        if message is not None:
            for host in translate.needs(message):
                self._dependants[inside, host].add(name)
            self.services[name] = Service(name, message, {})

    def _needed(self, name: str, message: Any) -> dict[str, Any]:
        inside, found = name.startswith(translate.INTERNAL), {}
        for host in translate.needs(message):
            if names := self._entries_of.get((inside, host)):
                found[host] = self._entries[max(names)]
        return found


def _changes(news: Deltas, collection: str) -> Iterable[tuple[str, Any | None]]:
    if delta := news.get(collection):
        yield from ((name, None) for name in delta.removed)
        yield from delta.changed.items()


def _put(held: dict[str, Any], name: str, message: Any | None) -> None:
    if message is None:
        held.pop(name, None)
    else:
        held[name] = message
