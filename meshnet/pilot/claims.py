"""Things by key that several services may claim; the first service by name has each."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Claims(Generic[K, V]):
    """Who claims what. Each call costs what its service claims."""

    def __init__(self) -> None:
        self._of_service: dict[str, Mapping[K, V]] = {}
        self._claimants: dict[K, set[str]] = {}

    def set(self, service: str, values: Mapping[K, V]) -> set[K]:
        """Say what a service claims from now on; the keys for which that may make a difference."""
        before = self._of_service.pop(service, {})
        for key in before:
            claimants = self._claimants[key]
            claimants.discard(service)
            if not claimants:
                del self._claimants[key]
        if values:
            self._of_service[service] = values
        for key in values:
            self._claimants.setdefault(key, set()).add(service)
        return {*before, *values}

    def get(self, key: K) -> V | None:
        """What there is of a key."""
        owner = self.owner(key)
        return self._of_service[owner][key] if owner is not None else None

    def owner(self, key: K) -> str | None:
        """The service that has a key."""
        return min(self._claimants.get(key, ()), default=None)
