"""A sink's half of MCP, without I/O: what it holds, and what of it is news."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from google.protobuf.message import DecodeError

from meshnet.model.errors import PeerError
from meshnet.wire.gen import mcp_pb2
from meshnet.wire.mcp import MESSAGES

_INVALID_ARGUMENT, _UNIMPLEMENTED = 3, 12


@dataclass
class Delta:
    """What is new in one collection.

    Attributes:
        changed: name to message of what is new or differs.
        removed: names of what is gone.
    """

    changed: dict[str, Any] = field(default_factory=dict)
    removed: set[str] = field(default_factory=set)

    def add(self, name: str, message: Any | None) -> None:
        """One more thing that is new; a later one overrides an earlier one."""
        if message is None:
            self.changed.pop(name, None)
            self.removed.add(name)
        else:
            self.removed.discard(name)
            self.changed[name] = message


Deltas = Mapping[str, Delta]


class Sink:
    """Holds collections over any number of streams, each of which says only what differs.

    Attributes:
        held: collection to name to message, as the source has it now.
        received_bytes: of all responses.
    """

    def __init__(self, node_id: str, collections: tuple[str, ...] = tuple(MESSAGES)) -> None:
        self.held: dict[str, dict[str, Any]] = {name: {} for name in collections}
        self.received_bytes = 0
        self._node = mcp_pb2.SinkNode(id=node_id)
        self._versions: dict[str, dict[str, str]] = {name: {} for name in collections}
        self._awaited: set[str] = set()
        self._more = False
        self._news: dict[str, Delta] | None = None

    def open(self) -> list[Any]:
        """The requests that subscribe a new stream to every collection."""
        self._awaited, self._more = set(self.held), False
        return [
            self._request(name, initial_resource_versions=self._versions[name])
            for name in self.held
        ]

    def receive(self, response: Any) -> Any:
        """Take a response into `held`; the ACK or NACK to send."""
        self.received_bytes += response.ByteSize()
        name = response.collection
        answer = self._request(name, response_nonce=response.nonce)
        self._more = response.more_follow
        if name not in self.held:
            answer.error_detail.code = _UNIMPLEMENTED
            answer.error_detail.message = f"not subscribed to {name!r}"
            return answer
        try:
            messages = {one.metadata.name: _decoded(name, one) for one in response.resources}
        except PeerError as exc:
            answer.error_detail.code = _INVALID_ARGUMENT
            answer.error_detail.message = str(exc)
            return answer
        self._take(response, messages)
        return answer

    def news(self) -> Deltas | None:
        """What is new since the last call, once every collection has arrived; the first time
        everything. None where there is nothing, or where more is about to arrive.
        """
        if self._awaited or self._more:
            return None
        news, self._news = self._news, None
        return news

    def _take(self, response: Any, messages: Mapping[str, Any]) -> None:
        name = response.collection
        held, versions = self.held[name], self._versions[name]
        removed = set(response.removed_resources)
        if not response.incremental:
            removed = held.keys() - messages.keys()
        self._news = self._news or {}
        delta = self._news.setdefault(name, Delta())
        for key in removed & held.keys():
            del held[key], versions[key]
            delta.add(key, None)
        for one in response.resources:
            key, message = one.metadata.name, messages[one.metadata.name]
            versions[key] = one.metadata.version
            if held.get(key) != message:
                held[key] = message
                delta.add(key, message)
        self._awaited.discard(name)

    def _request(self, name: str, **fields: Any) -> Any:
        return mcp_pb2.RequestResources(
            sink_node=self._node, collection=name, incremental=True, **fields
        )


def _decoded(collection: str, resource: Any) -> Any:
    message = MESSAGES[collection]()
    name = resource.metadata.name
    try:
        if not resource.body.Unpack(message):
            raise PeerError(f"{name} is a {resource.body.type_url}")
    except DecodeError as exc:
        raise PeerError(f"{name} does not parse: {exc}") from exc
    return message
