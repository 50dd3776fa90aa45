"""Which apps may call which, from the policies that allow it. Pure memory; costs what changes."""

from __future__ import annotations

from collections.abc import Iterable

from meshnet.wire.policy_json import Delta, Tagged

_NOTHING: frozenset[str] = frozenset()


class Callees:
    """An app may call another while at least one policy is there for the two, at any port."""

    def __init__(self) -> None:
        self._policies: dict[str, dict[str, set[Tagged]]] = {}  # by source, by destination

    def replace(self, policies: Iterable[Tagged]) -> dict[str, frozenset[str]]:
        """Take all policies there are; app guid to the apps, at least one, that it may call."""
        self._policies = {}
        return self.change(Delta(list(policies), []))

    def change(self, delta: Delta) -> dict[str, frozenset[str]]:
        """Take what came and went; for each app of it, the apps that it may call now, if any."""
        for tagged in delta.removed:
            self._remove(tagged)
        for tagged in delta.added:
            self._add(tagged)
        apps = {tagged.policy.source for tagged in (*delta.removed, *delta.added)}
        return {app: frozenset(self._policies.get(app, _NOTHING)) for app in apps}

    def _add(self, tagged: Tagged) -> None:
        found = self._policies.setdefault(tagged.policy.source, {})
        found.setdefault(tagged.policy.destination, set()).add(tagged)

    def _remove(self, tagged: Tagged) -> None:
        source, destination = tagged.policy.source, tagged.policy.destination
        found = self._policies.get(source, {})
        left = found.get(destination, set())
        left.discard(tagged)
        if not left:
            found.pop(destination, None)
        if not found:
            self._policies.pop(source, None)
