"""Domains: those of the lab file, and those made by users."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from meshnet.capi.tables import Record, Table
from meshnet.store import Store


@dataclass(frozen=True)
class Domain(Record):
    """A domain.

    Attributes:
        istio: served by the mesh; the routes of others are kept and not served.
        organization: the guid of the organization whose private domain it is; "" = shared.
        shared: guids of organizations that may use a private domain too.
        of_lab: named in the lab file.
    """

    name: str = ""
    internal: bool = False
    istio: bool = False
    organization: str = ""
    shared: tuple[str, ...] = ()
    of_lab: bool = False


class Domains(Table[Domain]):
    """All domains; names are unique whatever their case.

    What the lab file says of a domain holds. Of one that it names no longer the record goes, and
    comes back with the same guid when it is named again: routes refer to it.
    """

    def __init__(self, store: Store) -> None:
        super().__init__(store, Domain, "Domain")

    def seed(self, of_lab: Iterable[Mapping[str, Any]]) -> None:
        """Bring the records in line with the lab file's domains, each {name, internal, istio}."""
        named = {str(value["name"]).lower(): value for value in of_lab}
        for record in self.all():
            if record.of_lab and record.name.lower() not in named:
                self.delete(record.guid)
        for key, value in named.items():
            guid = str(uuid.uuid5(uuid.NAMESPACE_DNS, str(value["name"])))
            known = self.named(key) or Domain(guid=guid)
            self._put_changed(replace(known, **value, of_lab=True))
        for record in self.all():
            if not record.of_lab:
                self._put_changed(replace(record, istio=self.served(record.name, record.internal)))

    def _put_changed(self, record: Domain) -> None:
        if self.find(record.guid) != record:
            self.put(record)

    def named(self, name: str) -> Domain | None:
        """The domain of a name, whatever its case."""
        return next((d for d in self if d.name.lower() == name.lower()), None)

    def served(self, name: str, internal: bool) -> bool:
        """Whether the mesh serves a domain of this name: it is below one of the lab file's."""
        above = set(parents(name))
        return any(
            d.of_lab and d.istio and d.internal == internal and d.name.lower() in above
            for d in self
        )

    def unserved(self, domain: Domain) -> str:
        """What a user is warned of who means to reach apps by a domain that nothing serves."""
        # An internal domain of the lab that is not the mesh's is answered by DNS all the same.
        kept = (d for d in self.all() if d.of_lab and d.internal == domain.internal)
        mine = [d for d in kept if d.istio or d.internal]
        above = {domain.name.lower(), *parents(domain.name)}
        if any(d.name.lower() in above for d in mine):
            return ""
        names = ", ".join(d.name for d in mine) or "none"
        where = "inside" if domain.internal else "at the ingress"
        return (
            f"Nothing {where} serves the domain '{domain.name}': its routes are kept, and lead"
            f" nowhere. Served: {names}, and domains below."
        )

    def _load(self, value: Mapping[str, Any]) -> Domain:
        return Domain(**{**value, "shared": tuple(value["shared"])})


def parents(name: str) -> Iterator[str]:
    """All domains that a name is below, the nearest first, in lower case."""
    labels = name.lower().split(".")
    return (".".join(labels[i:]) for i in range(1, len(labels)))
