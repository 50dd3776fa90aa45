"""What a Sidecar resource lets its app see of the mesh: a convenience that keeps proxies small.

Who may call whom is the kernel's to decide, and it decides alone.
Source: istio.io, «Sidecar», egress hosts: namespace/dnsName.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

NAMESPACE = "internal"  # where Copilot puts what is inside the mesh
LABEL = "cfapp"


@dataclass(frozen=True)
class Egress:
    """Which hosts are seen: those named, those below a suffix (".example.com"), or all."""

    hosts: frozenset[str] = frozenset()
    suffixes: tuple[str, ...] = ()

    def sees(self, host: str) -> bool:
        """Whether a lower-case host is seen."""
        return host in self.hosts or any(host.endswith(suffix) for suffix in self.suffixes)

    def sees_any(self, hosts: Iterable[str]) -> bool:
        """Whether one of them is."""
        return any(self.sees(host) for host in hosts)


EVERYTHING = Egress(suffixes=("",))


def of_app(app_guid: str, sidecars: Mapping[str, Any]) -> Egress:
    """What an app sees: by its own Sidecar, else the one for all; without either, everything.

    Args:
        sidecars: by name.
    """
    own = sidecars.get(app_guid)  # Copilot names them so
    if own is not None and _selects(own, app_guid):
        return _egress(own)
    ordered = [one for _, one in sorted(sidecars.items())]
    for one in ordered:
        if _selects(one, app_guid):
            return _egress(one)
    for one in ordered:
        if not one.workload_selector.labels:
            return _egress(one)
    return EVERYTHING


def _selects(sidecar: Any, app_guid: str) -> bool:
    return dict(sidecar.workload_selector.labels) == {LABEL: app_guid}


def _egress(sidecar: Any) -> Egress:
    hosts, suffixes = set(), set()
    for listener in sidecar.egress:
        for text in listener.hosts:
            namespace, _, name = text.lower().rpartition("/")
            if namespace not in (NAMESPACE, "*"):
                continue
            if name == "*":
                suffixes.add("")
            elif name.startswith("*."):
                suffixes.add(name[1:])
            else:
                hosts.add(name)
    return Egress(frozenset(hosts), tuple(sorted(suffixes)))
