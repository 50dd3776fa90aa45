"""A source's half of MCP, without I/O: what it serves, and what each stream is due."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from meshnet.model.errors import InputError
from meshnet.wire.gen import mcp_pb2
from meshnet.wire.mcp import COLLECTIONS, Changes, resource

_HASH_SPACE = 1 << 256


class UnsupportedCollection(InputError):
    """The sink asked for a collection that nobody serves."""


class Collection:
    """Resources by name. Equal content gives an equal version, whatever led to it.

    The version is the sum of the resources' hashes, so that a change costs what it changes.
    """

    def __init__(self) -> None:
        self.resources: dict[str, Any] = {}
        self._sum = 0

    @property
    def version(self) -> str:
        """Sixteen hexadecimal digits."""
        return f"{self._sum:064x}"[-16:]

    def put(self, name: str, message: Any | None) -> bool:
        """Set a resource's message, or remove it (None); whether anything differs."""
        before = self.resources.get(name)
        after = None if message is None else resource(name, message)
        if before == after:
            return False
        self._sum = (self._sum - _hash(before) + _hash(after)) % _HASH_SPACE
        if after is None:
            del self.resources[name]
        else:
            self.resources[name] = after
        return True


def _hash(resource: Any | None) -> int:
    if resource is None:
        return 0
    name, body = resource.metadata.name.encode(), resource.body.value
    return int.from_bytes(hashlib.sha256(b"%d %b %b" % (len(name), name, body)).digest())


class Catalog:
    """All collections that are served; every one is there, if only empty."""

    def __init__(self) -> None:
        self.collections = {name: Collection() for name in COLLECTIONS}

    def update(self, changes: Changes) -> dict[str, set[str]]:
        """Take changed resources; the names of those that differ, by collection."""
        differ: dict[str, set[str]] = {}
        for name, messages in changes.items():
            collection = self.collections[name]
            if names := {key for key, value in messages.items() if collection.put(key, value)}:
                differ[name] = names
        return differ


@dataclass
class _Watch:
    """One collection on one stream.

    Attributes:
        versions: what the sink said it has, until its first response; None afterwards.
        stale: names of resources that the sink has not, or not as they are.
        carried: names that the response `pending` (a nonce; empty: none) carries.
        sent: the version sent last, acknowledged or refused.
    """

    incremental: bool
    versions: Mapping[str, str] | None
    stale: set[str] = field(default_factory=set)
    carried: set[str] = field(default_factory=set)
    pending: str = ""
    sent: str = ""


class SourceStream:
    """One stream: takes requests and changes, says which responses are due."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._watches: dict[str, _Watch] = {}
        self._nonce = 0

    def receive(self, request: Any) -> str | None:
        """Take a subscription, an ACK or a NACK; what a NACK says, or None. Stale nonces are
        ignored.

        Raises:
            UnsupportedCollection: nobody serves what it names.
        """
        name = request.collection
        if name not in self._catalog.collections:
            raise UnsupportedCollection(f'unsupported collection "{name}"')
        watch = self._watches.get(name)
        if watch is None or not (watch.pending or request.response_nonce):
            versions = dict(request.initial_resource_versions) if request.incremental else {}
            self._watches[name] = _Watch(request.incremental, versions)
            return None
        if request.response_nonce not in ("", watch.pending):
            return None
        watch.incremental, watch.pending = request.incremental, ""
        if not request.HasField("error_detail"):
            return None
        # Not sent again as it is, but with the next version: the sink has not got it.
        watch.stale |= watch.carried
        return str(request.error_detail.message)

    def changed(self, names: Mapping[str, set[str]]) -> None:
        """Hear which resources differ from now on, by collection."""
        for name, watch in self._watches.items():
            watch.stale |= names.get(name, set())

    def send(self) -> list[Any]:
        """The responses due now: of each watched collection whose version was not sent yet.

        Incremental ones are sent in rounds, the next after all of the last one is answered: each
        round is a state of the whole that a sink can act on.
        """
        due = [
            (name, watch)
            for name, watch in self._watches.items()
            if not watch.pending and watch.sent != self._catalog.collections[name].version
        ]
        busy = any(watch.incremental and watch.pending for watch in self._watches.values())
        whole = [self._response(*one) for one in due if not one[1].incremental]
        parts = [self._response(*one) for one in due if one[1].incremental and not busy]
        for response in parts[:-1]:
            response.more_follow = True
        return whole + parts

    def _response(self, name: str, watch: _Watch) -> Any:
        collection = self._catalog.collections[name]
        have = collection.resources
        if watch.versions is not None:
            watch.stale, watch.versions = _differing(have, watch.versions), None
        self._nonce += 1
        watch.sent, watch.pending = collection.version, str(self._nonce)
        watch.carried, watch.stale = watch.stale, set()
        names: Iterable[str] = sorted(watch.carried if watch.incremental else have)
        return mcp_pb2.Resources(
            system_version_info=watch.sent,
            collection=name,
            nonce=watch.pending,
            incremental=watch.incremental,
            resources=[have[key] for key in names if key in have],
            removed_resources=[key for key in names if key not in have],
        )


def _differing(have: Mapping[str, Any], versions: Mapping[str, str]) -> set[str]:
    changed = {key for key, one in have.items() if versions.get(key) != one.metadata.version}
    return changed | (versions.keys() - have.keys())
