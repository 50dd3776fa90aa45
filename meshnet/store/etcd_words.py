"""etcd's keys and requests as the store uses them. Pure."""

from __future__ import annotations

from typing import Any

from meshnet.model.errors import InputError
from meshnet.store.gen import etcd_pb2 as pb

# etcd takes 128 operations a level unless told otherwise; levels within levels count apart.
_MOST_OPERATIONS = 64


class Keys:
    """Where things are below a prefix."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix + "/"

    def record(self, kind: str, key: str) -> bytes:
        """A record's key."""
        return self.kind(kind) + key.encode()

    def kind(self, kind: str) -> bytes:
        """What the keys of a kind's records begin with."""
        if "/" in kind or not kind:
            raise InputError(f"{kind!r} is no kind of records: it must not hold a slash")
        return f"{self._prefix}{kind}/".encode()

    def own(self, what: str, name: str) -> bytes:
        """A key of the store's own."""
        return f"{self._prefix}!{what}/{name}".encode()

    def root(self) -> bytes:
        """What every key begins with."""
        return self._prefix.encode()

    def forget_writers(self) -> Any:
        """The operation that deletes every writer's count."""
        key = self.own("writer", "")
        return pb.RequestOp(
            request_delete_range=pb.DeleteRangeRequest(key=key, range_end=after(key))
        )


def after(prefix: bytes) -> bytes:
    """The first key behind all that begin with `prefix`."""
    return prefix[:-1] + bytes([prefix[-1] + 1])


def range_request(key: bytes, *, prefix: bool = False, revision: int = 0) -> Any:
    """One key, or all that begin with it; as of a revision, 0 = the newest (linearizable)."""
    return pb.RangeRequest(key=key, range_end=after(key) if prefix else b"", revision=revision)


def op_range(key: bytes) -> Any:
    """The operation that reads a key."""
    return pb.RequestOp(request_range=range_request(key))


def op_put(key: bytes, value: bytes, lease: int = 0) -> Any:
    """The operation that writes a key."""
    return pb.RequestOp(request_put=pb.PutRequest(key=key, value=value, lease=lease))


def op_delete(key: bytes) -> Any:
    """The operation that deletes a key."""
    return pb.RequestOp(request_delete_range=pb.DeleteRangeRequest(key=key))


def compare(key: bytes, **target: Any) -> Any:
    """The condition that a key has this value, mod_revision or create_revision (0 = no key)."""
    kinds = {
        "value": pb.Compare.VALUE,
        "mod_revision": pb.Compare.MOD,
        "create_revision": pb.Compare.CREATE,
    }
    (name,) = target
    return pb.Compare(result=pb.Compare.EQUAL, target=kinds[name], key=key, **target)


def nested(operations: list[Any]) -> list[Any]:
    """The same operations in as many levels as etcd's limit asks for."""
    while len(operations) > _MOST_OPERATIONS:
        starts = range(0, len(operations), _MOST_OPERATIONS)
        operations = [
            pb.RequestOp(
                request_txn=pb.TxnRequest(success=operations[start : start + _MOST_OPERATIONS])
            )
            for start in starts
        ]
    return operations
