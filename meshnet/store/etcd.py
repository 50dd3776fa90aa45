"""The store in etcd: one key a record, below a prefix.

`PREFIX/KIND/KEY` holds a record's JSON. The store's own keys begin with `!`:
`!kind/KIND` is written with every change of a kind, so that whoever listed the kind notices;
`!writer/ID` names a client's last transaction, so that one sent twice is done once;
`!lock/NAME` belongs to a lock's holder. Every transaction compares them and what it has read.
"""

from __future__ import annotations

import contextlib
import json
import secrets
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from meshnet.model.errors import InputError, PlatformError
from meshnet.store import etcd_lock
from meshnet.store.base import Lease, Store, TransactionConflict
from meshnet.store.etcd_client import EtcdClient, NoAnswer
from meshnet.store.etcd_tx import EtcdTransaction
from meshnet.store.etcd_words import Keys, compare, nested, op_put, op_range, range_request
from meshnet.store.gen import etcd_pb2 as pb
from meshnet.store.member_client import Tls
from meshnet.store.watch import Change, Compacted, Watch

LAYOUT = 1


class _EtcdWatch(Watch):
    def __init__(self, kind: str, keys: Keys) -> None:
        super().__init__(kind)
        self._cut = len(keys.kind(kind))

    def respond(self, reply: Any) -> bool:
        """Take an answer of etcd's; whether the watch goes on."""
        if reply.compact_revision:
            text = f"changes up to revision {reply.compact_revision} are not kept any more"
            self.offer(Compacted(text))
            return False
        for event in reply.events:
            key = event.kv.key[self._cut :].decode()
            value = json.loads(event.kv.value) if event.type == pb.Event.PUT else None
            self.offer(Change(self.kind, key, value, event.kv.mod_revision))
        return True


class EtcdStore(Store):
    """A prefix in etcd. A transaction takes one round trip and a majority's disks."""

    def __init__(self, client: EtcdClient, prefix: str) -> None:
        self._client, self._keys = client, Keys(prefix)
        self._writer = self._keys.own("writer", secrets.token_hex(8))
        self._token = ""  # of this client's last transaction; empty: etcd does not know it
        self._unknown = ""  # of one whose outcome is not known
        self._hold: etcd_lock.Hold | None = None
        self._busy = False

    @classmethod
    def connect(cls, url: str) -> EtcdStore:
        """See Store.open."""
        addresses, prefix, tls = _parse(url)
        client = EtcdClient(addresses, tls)
        store = cls(client, prefix)
        try:
            store._check_layout()
        except BaseException:
            client.close()
            raise
        return store

    def close(self) -> None:
        """Forget this client in etcd, where that can be done, and close the connections."""
        if self._token:
            delete = pb.RequestOp(request_delete_range=pb.DeleteRangeRequest(key=self._writer))
            with contextlib.suppress(PlatformError):
                self._client.call("Txn", pb.TxnRequest(success=[delete]), deadline=1.0)
        self._client.close()

    @contextmanager
    def transaction(self) -> Iterator[EtcdTransaction]:
        """See Store."""
        if self._busy:
            raise PlatformError("the store cannot be used: a transaction is open already")
        self._busy = True
        try:
            tx = EtcdTransaction(self._client, self._keys)
            yield tx
            if tx.writes:
                self._commit(tx)
        finally:
            self._busy = False

    def _commit(self, tx: EtcdTransaction) -> None:
        if not self._token:
            self._introduce()
        token = secrets.token_hex(8)
        success = nested([*tx.operations(), op_put(self._writer, token.encode())])
        for _ in range(2):
            request = self._guarded(tx.compares(), success)
            try:
                reply = self._client.call("Txn", request)
            except NoAnswer:
                self._unknown = token
                if self._hold:
                    # What is in memory may differ from the store now: begin anew from there.
                    self._hold.lose()
                raise
            kvs = () if reply.succeeded else reply.responses[0].response_range.kvs
            last = self._token
            self._token = token if reply.succeeded else kvs[0].value.decode() if kvs else ""
            if self._token == token:  # now, or by an earlier attempt of the same call
                return
            if self._token == last or self._token != self._unknown:
                break
        if self._hold and not self._hold.fence.is_ours(reply.responses[1].response_range.kvs):
            raise PlatformError("the store's lock was lost; nothing was written")
        raise TransactionConflict("another changed the same records; nothing was written")

    def _guarded(self, compares: Sequence[Any], success: Sequence[Any]) -> Any:
        failure = [op_range(self._writer)]
        guards = [compare(self._writer, value=self._token.encode())]
        if self._hold:
            guards.append(self._hold.fence.compare())
            failure.append(op_range(self._hold.fence.key))
        return pb.TxnRequest(compare=[*compares, *guards], success=success, failure=failure)

    def _introduce(self) -> None:
        token = secrets.token_hex(8)
        self._client.call("Txn", pb.TxnRequest(success=[op_put(self._writer, token.encode())]))
        self._token = token

    def get(self, kind: str, key: str) -> Any | None:
        """See Store."""
        reply = self._client.call("Range", range_request(self._keys.record(kind, key)))
        return json.loads(reply.kvs[0].value) if reply.kvs else None

    def snapshot(self, kind: str) -> tuple[int, dict[str, Any]]:
        """See Store."""
        first = self._keys.kind(kind)
        reply = self._client.call("Range", range_request(first, prefix=True))
        records = {kv.key[len(first) :].decode(): json.loads(kv.value) for kv in reply.kvs}
        return reply.header.revision, records

    def watch(self, kind: str, since: int | None = None) -> Watch:
        """See Store."""
        first = self._keys.kind(kind)
        if since is None:
            since = self._client.call("Range", range_request(first)).header.revision
        watch = _EtcdWatch(kind, self._keys)
        request = range_request(first, prefix=True)
        self._client.watch(request.key, request.range_end, since, watch)
        return watch

    def lease(self, ttl: float) -> Lease:
        """See Store."""
        lease = Lease(self, secrets.randbits(62), max(2, round(ttl)))
        request = pb.LeaseGrantRequest(TTL=int(lease.ttl), ID=lease.id)
        try:
            self._client.call("LeaseGrant", request)
        except PlatformError as exc:
            if "already exists" not in str(exc):  # granted by an earlier attempt
                raise
        return lease

    def keep_alive(self, lease: Lease) -> None:
        """See Lease.keep_alive."""
        etcd_lock.keep_alive(self._client, lease.id)

    def revoke(self, lease: Lease) -> None:
        """See Lease.revoke."""
        etcd_lock.revoke(self._client, lease.id)

    @asynccontextmanager
    async def lock(self, name: str) -> AsyncIterator[None]:
        """See Store."""
        async with etcd_lock.held(self, self._client, self._keys, name) as hold:
            self._hold, self._token = hold, ""
            # Alone now: what dead writers before us left is nobody's.
            self._client.call("Txn", pb.TxnRequest(success=[self._keys.forget_writers()]))
            yield
            self._hold = None

    def _check_layout(self) -> None:
        key = self._keys.own("layout", "")
        reply = self._client.call(
            "Txn",
            pb.TxnRequest(
                compare=[compare(key, create_revision=0)],
                success=[op_put(key, str(LAYOUT).encode())],
                failure=[op_range(key)],
            ),
        )
        if not reply.succeeded:
            found = int(reply.responses[0].response_range.kvs[0].value)
            if found > LAYOUT:
                raise PlatformError("a newer meshnet wrote the store in etcd: upgrade this one")


def _parse(url: str) -> tuple[Sequence[str], str, Tls | None]:
    parts = urlsplit(url)
    options: Mapping[str, str] = dict(parse_qsl(parts.query))
    addresses = parts.netloc.split(",")
    prefix = parts.path.rstrip("/")
    if not prefix or not all(":" in address for address in addresses):
        raise InputError(f"{url} is not etcd://host:port,host:port/prefix")
    if unknown := sorted(set(options) - {"ca", "cert", "key"}):
        raise InputError(f"{url}: unknown option {unknown[0]!r}; known: ca, cert, key")
    if not options:
        return addresses, prefix, None
    if "ca" not in options or ("cert" in options) != ("key" in options):
        raise InputError(f"{url}: TLS takes ca, and cert and key together or neither")
    return addresses, prefix, Tls(**options)
