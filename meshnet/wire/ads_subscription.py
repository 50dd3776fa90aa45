"""One resource type of one proxy's stream: what it wants, what it has, what it refused."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from meshnet.proxy.xds import Resource

Changed = list[tuple[str, Resource]]


@dataclass
class Subscription:
    """Costs what differs, not what there is: only names in `dirty` are compared.

    Attributes:
        names: subscribed to by name.
        known: name to version, as last sent.
        missing: subscribed to, and told that there is none.
        pending: nonce of the unanswered response; what it holds is in `pending_names`.
        rejected: name to the proxy's words, of what it refused alone: not sent again before it
            differs.
        dirty: names that may differ from what is known; None: any.
        suspects: names of a refused response, in batches to be sent apart: one bad resource keeps
            nothing from the proxy but itself.
    """

    wildcard: bool = False
    answered: bool = False
    names: set[str] = field(default_factory=set)
    known: dict[str, str] = field(default_factory=dict)
    missing: set[str] = field(default_factory=set)
    pending: str = ""
    pending_names: tuple[str, ...] = ()
    rejected: dict[str, str] = field(default_factory=dict)
    dirty: set[str] | None = None
    suspects: list[list[str]] = field(default_factory=list)

    def look_at(self, names: Iterable[str] | None) -> None:
        """Compare these names again; None: all."""
        if names is None:
            self.dirty = None
        elif self.dirty is not None:
            self.dirty.update(names)

    def forget(self, name: str) -> None:
        """Take the proxy for one that has not been told of this name."""
        self.known.pop(name, None)
        self.look_at([name])

    def difference(self, resources: Mapping[str, Resource]) -> tuple[Changed, list[str]]:
        """(resources to send, names to remove), in order of names."""
        if self.dirty is None:
            self.dirty = {*self.known, *self.names, *(resources if self.wildcard else ())}
        changed: Changed = []
        removed: list[str] = []
        for name in sorted(self.dirty):
            wanted = resources.get(name) if self.wildcard or name in self.names else None
            if wanted is not None and self.known.get(name) != wanted.version:
                changed.append((name, wanted))
            elif wanted is None and (
                name in self.known
                or (name in self.names and name not in resources and name not in self.missing)
            ):
                removed.append(name)
            else:
                self.dirty.discard(name)
        return changed, removed

    def batch(self, changed: Changed, removed: list[str]) -> tuple[Changed, list[str]]:
        """What of it to send now: everything, or the next suspects alone."""
        while self.suspects:
            suspects = set(self.suspects.pop(0))
            if some := [(name, one) for name, one in changed if name in suspects]:
                return some, []
        return changed, removed

    def sent(self, changed: Changed, removed: Iterable[str]) -> None:
        """Note that this was sent."""
        self.answered = True
        for name, resource in changed:
            self.known[name] = resource.version
        for name in removed:
            self.known.pop(name, None)
            self.rejected.pop(name, None)
            if name in self.names:
                self.missing.add(name)

    def answered_by(self, error: str | None) -> set[str]:
        """Take an ACK, or a NACK with what the proxy said; the names to be sent once more.

        Those that it names are tried one by one, the others together; where it names none, halves.
        """
        names, self.pending = list(self.pending_names), ""
        if error is None:
            for name in names:
                self.rejected.pop(name, None)
            return set()
        if len(names) <= 1:
            self.rejected.update(dict.fromkeys(names, error))
            return set()
        named = [name for name in names if name in error]
        others = [name for name in names if name not in named]
        if named and others:
            parts = [others, *([name] for name in named)]
        else:
            parts = [names[: len(names) // 2], names[len(names) // 2 :]]
        self.suspects[:0] = parts
        for name in names:
            self.forget(name)
        return set(names)

    def in_step(self, resources: Mapping[str, Resource]) -> bool:
        """Whether the proxy has acknowledged all of them that it wants."""
        return not self.pending and not self.rejected and not any(self.difference(resources))
