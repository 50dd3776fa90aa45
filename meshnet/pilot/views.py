"""Each proxy's xDS view: one for all ingress proxies, one an app for its sidecars."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Iterable, Mapping

from meshnet.pilot import egress, translate
from meshnet.pilot.claims import Claims
from meshnet.pilot.egress import Egress
from meshnet.pilot.mesh import Mesh, Service
from meshnet.pilot.scope import Changed, Scope
from meshnet.proxy import envoy, kernel
from meshnet.proxy.config import Inbound, Outbound, ProxyConfig
from meshnet.proxy.xds import CLUSTERS, LISTENERS, View
from meshnet.wire import mcp
from meshnet.wire.mcp_sink import Deltas
from meshnet.wire.proxies import Sidecar

INGRESS = ""  # the ingress proxies' scope; the others' are named by their app's guid


class Views:
    """Views by proxy id, kept up to date at a cost that follows the change.

    Attributes:
        synced: whether there is anything to serve.
        slots: the services that `kernel` mode balances.
    """

    def __init__(self, *, ingress: bool = True, kernel_mode: bool = True) -> None:
        """What for: ingress proxies, `kernel` mode; sidecars it is always."""
        self.synced = False
        self.slots: dict[kernel.Address, kernel.Slots] = {}
        self._mesh = Mesh()
        self._scopes: dict[str, Scope] = {}
        self._egress: dict[str, Egress] = {}
        self._known: dict[str, Sidecar] = {}
        self._own: dict[str, View] = {}
        self._slot_claims = Claims[kernel.Address, kernel.Slots]() if kernel_mode else None
        self._slots_changed: set[kernel.Address] = set()
        if ingress:
            self._scopes[INGRESS] = Scope(self._mesh.services, _is_external)

    def update(self, news: Deltas) -> dict[str, Changed]:
        """Take what is new in the mesh; scope to what of its view differs."""
        touched = self._mesh.update(news)
        changed = {key: scope.refresh(touched) for key, scope in self._scopes.items()}
        self._update_slots(touched)
        self.synced = True
        if INGRESS in self._scopes and mcp.GATEWAYS in news:
            base = envoy.resources(translate.edge(self._mesh.gateways))
            _join(changed[INGRESS], self._scopes[INGRESS].set_base(base))
        if sidecars := news.get(mcp.SIDECARS):
            # Those without a Sidecar of their own have the one for all.
            names = sidecars.changed.keys() | sidecars.removed
            everybody = bool(names - self._egress.keys())
            for app in self._egress if everybody else names & self._egress.keys():
                _join(changed[app], self._see(app))
        return {key: differs for key, differs in changed.items() if differs}

    def set_sidecars(self, sidecars: Mapping[str, Sidecar]) -> None:
        """Say which sidecars there are."""
        for guid in [g for g, known in self._known.items() if sidecars.get(g) != known]:
            self._own.pop(guid, None)
        self._known = dict(sidecars)
        apps = {sidecar.app_guid for sidecar in sidecars.values()}
        for app in self._egress.keys() - apps:
            del self._egress[app], self._scopes[app]
        for app in apps - self._egress.keys():
            self._add_scope(app)

    def of(self, proxy_id: str) -> View | None:
        """A proxy's view, the same object for as long as the proxy is known; None before the first
        update, or for one that nobody announced.
        """
        scope = self.scope_of(proxy_id)
        if not self.synced or scope not in self._scopes:
            return None
        shared = self._scopes[scope].view
        if scope == INGRESS:
            return shared
        if proxy_id not in self._own:
            inbound = dict([envoy.listener_resource(Inbound(self._known[proxy_id].address))])
            listeners = ChainMap(inbound, shared[LISTENERS])
            self._own[proxy_id] = {**shared, LISTENERS: listeners}
        return self._own[proxy_id]

    def scope_of(self, proxy_id: str) -> str | None:
        """The scope that a proxy belongs to."""
        if proxy_id.startswith("router~"):
            return INGRESS
        sidecar = self._known.get(proxy_id)
        return sidecar.app_guid if sidecar else None

    def _add_scope(self, app: str) -> None:
        scope = self._scopes[app] = Scope(self._mesh.services, _is_external)
        base = envoy.resources(ProxyConfig(listeners=(Outbound(),)))
        name, cluster = envoy.inbound_cluster()
        base[CLUSTERS][name] = cluster
        scope.set_base(base)
        self._egress[app] = Egress()
        self._see(app)

    def _see(self, app: str) -> Changed:
        before, after = self._egress[app], egress.of_app(app, self._mesh.sidecars)
        self._egress[app] = after
        hosts = before.hosts ^ after.hosts
        names: Iterable[str] = {n for host in hosts for n in self._mesh.dependants(host)}
        if before.suffixes != after.suffixes:
            names = self._mesh.services
        return self._scopes[app].see(
            lambda service: service.internal and after.sees_any(service.hosts[:1]), list(names)
        )

    def take_slots(self) -> dict[kernel.Address, kernel.Slots | None]:
        """The services of `kernel` mode that differ since the last call; None: gone."""
        changed, self._slots_changed = self._slots_changed, set()
        return {address: self.slots.get(address) for address in changed}

    def hidden(self, proxy_id: str, address: kernel.Address) -> list[str]:
        """The apps behind a VIP and port that this proxy is shown no route to; none where it is
        shown one, or where nobody has one.
        """
        view = self.of(proxy_id)
        owner = self._slot_claims.owner(address) if self._slot_claims else None
        if view is None or owner is None or f"{address[0]}_{address[1]}" in view[LISTENERS]:
            return []
        routes = self._mesh.services[owner].message.http
        return sorted({target.destination.subset for route in routes for target in route.route})

    def _update_slots(self, touched: Iterable[str]) -> None:
        if self._slot_claims is None:
            return
        for name in touched:
            service = self._mesh.services.get(name)
            claimed = service.slots if service and service.internal else {}
            for address in self._slot_claims.set(name, claimed):
                self._slots_changed.add(address)
                slots = self._slot_claims.get(address)
                if slots is None:
                    self.slots.pop(address, None)
                else:
                    self.slots[address] = slots


def _is_external(service: Service) -> bool:
    return not service.internal


def _join(changed: Changed, more: Changed) -> None:
    for url, names in more.items():
        changed.setdefault(url, set()).update(names)
