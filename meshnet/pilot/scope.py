"""What the proxies that see the same services have in common: their xDS view, kept up to date."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from meshnet.pilot.claims import Claims
from meshnet.pilot.mesh import Key, Service
from meshnet.proxy.xds import ORDER, Resource, Resources

Changed = dict[str, set[str]]  # type URL to the names of what differs


class Scope:
    """The resources of all services that are seen; work is proportional to what is touched.

    Attributes:
        view: type URL to name to resource. The same objects for ever, changed in place.
    """

    def __init__(self, services: Mapping[str, Service], sees: Callable[[Service], bool]) -> None:
        self._services, self._sees = services, sees
        self.view: Resources = {url: {} for url in ORDER}
        self._base: dict[Key, Resource] = {}
        self._claims = Claims[Key, Resource]()

    def set_base(self, base: Resources) -> Changed:
        """Say what is there whatever the services are; what differs."""
        before = self._base
        self._base = {(url, name): one for url, made in base.items() for name, one in made.items()}
        return self._settle(before.keys() | self._base.keys())

    def see(self, sees: Callable[[Service], bool], names: Iterable[str]) -> Changed:
        """Say anew what is seen; `names`: the services for which that differs."""
        self._sees = sees
        return self.refresh(names)

    def refresh(self, names: Iterable[str]) -> Changed:
        """Take services that differ, came or went; what of the view differs."""
        touched: set[Key] = set()
        for name in names:
            service = self._services.get(name)
            seen = service is not None and self._sees(service)
            touched |= self._claims.set(name, service.resources if service and seen else {})
        return self._settle(touched)

    def _settle(self, keys: Iterable[Key]) -> Changed:
        changed: Changed = {}
        for key in keys:
            url, name = key
            wanted, held = self._base.get(key) or self._claims.get(key), self.view[url]
            if wanted == held.get(name):
                continue
            changed.setdefault(url, set()).add(name)
            if wanted is None:
                del held[name]
            else:
                held[name] = wanted
        return changed
