"""A lock in etcd: a key on a lease that a thread keeps alive while the holder lives."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from meshnet.model.errors import NotFound, PlatformError
from meshnet.store import holder
from meshnet.store.base import WAITING, Lease, Store
from meshnet.store.etcd_client import EtcdClient
from meshnet.store.etcd_words import Keys, compare, op_delete, op_put, op_range
from meshnet.store.gen import etcd_pb2 as pb

log = logging.getLogger("meshnet")
TTL_SECONDS = 5


@dataclass(frozen=True)
class Fence:
    """The proof of a lock: every transaction of its holder compares it."""

    key: bytes
    revision: int

    def compare(self) -> Any:
        """The condition that the lock is still this one."""
        return compare(self.key, create_revision=self.revision)

    def is_ours(self, kvs: Any) -> bool:
        """Whether the key found is this lock."""
        return bool(kvs) and kvs[0].create_revision == self.revision


@dataclass(frozen=True)
class Hold:
    """A lock held: its proof, and how to give it up because etcd cannot be relied upon."""

    fence: Fence
    lose: Callable[[], None]


def keep_alive(client: EtcdClient, lease: int, deadline: float = 0.0) -> None:
    """Begin a lease's time anew. Raises NotFound where it is over, PlatformError."""
    reply = client.call("LeaseKeepAlive", pb.LeaseKeepAliveRequest(ID=lease), deadline)
    if reply.TTL <= 0:
        raise NotFound("the lease is over")


def revoke(client: EtcdClient, lease: int) -> None:
    """End a lease; one that is over is no error."""
    with contextlib.suppress(NotFound):
        client.call("LeaseRevoke", pb.LeaseRevokeRequest(ID=lease))


@asynccontextmanager
async def held(store: Store, client: EtcdClient, keys: Keys, name: str) -> AsyncIterator[Hold]:
    """Hold a lock for the block.

    Raises:
        PlatformError: it was lost; the task in the block was cancelled.
    """
    lease = store.lease(TTL_SECONDS)
    guard = _Guard(client, lease)
    task = asyncio.current_task()
    assert task is not None
    try:
        fence = await _take(store, client, keys, name, lease)
        guard.watch_over(task)
        yield Hold(fence, guard.lose)
    except asyncio.CancelledError:
        if guard.lost:
            task.uncancel()
            raise PlatformError("the store's lock was lost: etcd was out of reach") from None
        raise
    finally:
        guard.stop()
        with contextlib.suppress(PlatformError):
            revoke(client, lease.id)


async def _take(store: Store, client: EtcdClient, keys: Keys, name: str, lease: Lease) -> Fence:
    key = keys.own("lock", name)
    watch = None
    while not (revision := _try(client, key, lease)):
        if watch is None:
            log.warning(WAITING)
            watch = store.watch("!lock")
            continue  # it may have ended before the watch began
        # Not only at its end: a holder on this machine that died is seen by looking.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(TTL_SECONDS):
                await anext(watch)
    return Fence(key, revision)


def _try(client: EtcdClient, key: bytes, lease: Lease) -> int:
    """The revision at which the lock became ours, or 0."""
    reply = client.call(
        "Txn",
        pb.TxnRequest(
            compare=[compare(key, create_revision=0)],
            success=[op_put(key, holder.me().encode(), lease.id)],
            failure=[op_range(key)],
        ),
    )
    if reply.succeeded:
        return int(reply.header.revision)
    (found,) = reply.responses[0].response_range.kvs
    if found.lease == lease.id:  # an earlier attempt of the same call took it
        return int(found.create_revision)
    if holder.is_dead(found.value):
        same = compare(key, mod_revision=found.mod_revision)
        client.call("Txn", pb.TxnRequest(compare=[same], success=[op_delete(key)]))
        return _try(client, key, lease)
    return 0


class _Guard:
    """Keeps a lease alive from a thread, for the loop may be waiting for etcd itself."""

    def __init__(self, client: EtcdClient, lease: Lease) -> None:
        self._client, self._lease = client, lease
        self._end = threading.Event()
        self._holder: tuple[asyncio.AbstractEventLoop, asyncio.Task[Any]] | None = None
        self.lost = False
        threading.Thread(target=self._run, name="etcd-lease", daemon=True).start()

    def watch_over(self, task: asyncio.Task[Any]) -> None:
        """Cancel this task when the lease is lost."""
        self._holder = asyncio.get_running_loop(), task

    def stop(self) -> None:
        """Keep it alive no longer."""
        self._end.set()

    def _run(self) -> None:
        alive = time.monotonic()
        while not self._end.wait(self._lease.ttl / 5):
            asked = time.monotonic()
            left = alive + self._lease.ttl - asked
            try:
                keep_alive(self._client, self._lease.id, max(0.1, left))
                alive = asked
            except NotFound:
                return self.lose()
            except PlatformError:
                if time.monotonic() - alive >= self._lease.ttl:
                    return self.lose()
        return None

    def lose(self) -> None:
        """End the holder's block; from any thread."""
        self.lost = True
        if self._holder and not self._end.is_set():
            loop, task = self._holder
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(task.cancel)
