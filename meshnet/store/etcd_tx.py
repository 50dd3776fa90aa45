"""A transaction in the making: what it has read, and what it will write."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from meshnet.store.base import Lease, Transaction
from meshnet.store.etcd_client import EtcdClient
from meshnet.store.etcd_words import Keys, compare, op_delete, op_put, range_request
from meshnet.store.gen import etcd_pb2 as pb


class EtcdTransaction(Transaction):
    """Reads are of one revision; writes are kept until the commit."""

    def __init__(self, client: EtcdClient, keys: Keys) -> None:
        self._client, self._keys = client, keys
        self._revision = 0
        self._read: dict[bytes, int] = {}  # key to its mod_revision, 0 where there was none
        self._listed: dict[str, dict[str, bytes]] = {}
        self.writes: dict[tuple[str, str], tuple[str | None, int]] = {}  # to (JSON, lease)

    def get(self, kind: str, key: str) -> Any | None:
        """See Transaction."""
        if (kind, key) in self.writes:
            text = self.writes[kind, key][0]
            return None if text is None else json.loads(text)
        if kind in self._listed:
            value = self._listed[kind].get(key)
            return None if value is None else json.loads(value)
        name = self._keys.record(kind, key)
        (kvs,) = self._ranges(range_request(name))
        self._read[name] = kvs[0].mod_revision if kvs else 0
        return json.loads(kvs[0].value) if kvs else None

    def list(self, kind: str) -> dict[str, Any]:
        """See Transaction."""
        if kind not in self._listed:
            self._listed[kind] = self._list(kind)
        found = dict(self._listed[kind])
        for (changed, key), (text, _) in self.writes.items():
            if changed == kind:
                found.pop(key, None)
                if text is not None:
                    found[key] = text.encode()
        return {key: json.loads(found[key]) for key in sorted(found)}

    def _list(self, kind: str) -> dict[str, bytes]:
        first, mark = self._keys.kind(kind), self._keys.own("kind", kind)
        marks, kvs = self._ranges(range_request(mark), range_request(first, prefix=True))
        self._read[mark] = marks[0].mod_revision if marks else 0
        # The end of a lease deletes records without their kind's mark.
        self._read.update({kv.key: kv.mod_revision for kv in kvs if kv.lease})
        return {kv.key[len(first) :].decode(): kv.value for kv in kvs}

    def everything(self) -> Sequence[tuple[str, str, Any]]:
        """See Transaction."""
        root = self._keys.root()
        (kvs,) = self._ranges(range_request(root, prefix=True))
        rows = []
        for kv in kvs:
            kind, _, key = kv.key[len(root) :].decode().partition("/")
            if kind == "!kind":
                self._read[kv.key] = kv.mod_revision
            elif not kind.startswith("!"):
                rows.append((kind, key, json.loads(kv.value)))
        return rows

    def put(self, kind: str, key: str, value: Any, lease: Lease | None = None) -> None:
        """See Transaction."""
        self._keys.record(kind, key)
        text = json.dumps(value, separators=(",", ":"))
        self.writes[kind, key] = (text, lease.id if lease else 0)

    def delete(self, kind: str, key: str) -> bool:
        """See Transaction."""
        there = self.get(kind, key) is not None
        if there:
            self.writes[kind, key] = (None, 0)
        return there

    def compares(self) -> Sequence[Any]:
        """The conditions under which what was read still holds."""
        return [compare(key, mod_revision=revision) for key, revision in self._read.items()]

    def operations(self) -> Sequence[Any]:
        """What to write."""
        operations = []
        for (kind, key), (text, lease) in self.writes.items():
            name = self._keys.record(kind, key)
            operations.append(
                op_delete(name) if text is None else op_put(name, text.encode(), lease)
            )
        marks = {self._keys.own("kind", kind) for kind, _ in self.writes}
        return [*operations, *(op_put(mark, b"") for mark in sorted(marks))]

    def _ranges(self, *requests: Any) -> Sequence[Any]:
        for request in requests:
            request.revision = self._revision
        operations = [pb.RequestOp(request_range=request) for request in requests]
        reply = self._client.call("Txn", pb.TxnRequest(success=operations))
        self._revision = self._revision or reply.header.revision
        return [response.response_range.kvs for response in reply.responses]
