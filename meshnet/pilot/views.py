"""Each proxy's xDS view: what its kind shares, and a sidecar's own inbound listener."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from meshnet.pilot import translate
from meshnet.proxy import envoy, kernel
from meshnet.proxy.config import Inbound
from meshnet.proxy.xds import CLUSTERS, LISTENERS, Resources, View
from meshnet.wire.proxies import Sidecar


class Views:
    """Views by proxy id, compiled once a change for all proxies of a kind."""

    def __init__(self) -> None:
        self._ingress: Resources | None = None
        self._sidecars: Resources | None = None
        self.services: dict[kernel.Address, kernel.Slots] = {}
        self._own: dict[str, View] = {}
        self._known: dict[str, Sidecar] = {}

    @property
    def synced(self) -> bool:
        """Whether there is anything to serve."""
        return self._ingress is not None

    def update(self, collections: Mapping[str, Mapping[str, Any]]) -> bool:
        """Compile the mesh's present state; whether any proxy's view differs."""
        ingress = envoy.resources(translate.ingress(collections))
        outbound = translate.sidecars(collections)
        sidecars = envoy.resources(outbound)
        name, cluster = envoy.inbound_cluster()
        sidecars[CLUSTERS][name] = cluster
        changed = (ingress, sidecars) != (self._ingress, self._sidecars)
        if changed:
            self._ingress, self._sidecars = ingress, sidecars
            self.services = kernel.services(outbound)
            self._own.clear()
        return changed

    def set_sidecars(self, sidecars: Mapping[str, Sidecar]) -> None:
        """Say which sidecars there are."""
        self._known = dict(sidecars)
        self._own.clear()

    def of(self, proxy_id: str) -> View | None:
        """A proxy's view; None before the first update, or for one that nobody announced."""
        if proxy_id.startswith("router~"):
            return self._ingress
        sidecar = self._known.get(proxy_id)
        if sidecar is None or self._sidecars is None:
            return None
        if proxy_id not in self._own:
            name, listener = envoy.listener_resource(Inbound(sidecar.address))
            listeners = {**self._sidecars[LISTENERS], name: listener}
            self._own[proxy_id] = {**self._sidecars, LISTENERS: listeners}
        return self._own[proxy_id]
