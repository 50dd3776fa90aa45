"""What only etcd can show: members that die, locks that are lost, answers that never come."""

from __future__ import annotations

import asyncio
import json
import signal
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from etcd_members import Etcd, Member, etcd
from etcd_writer import MOST_SECONDS_WITHOUT_A_WRITE, PATIENCE, Writer, opened

from meshnet.model.errors import PlatformError
from meshnet.store import Change, Compacted, Store, TransactionConflict, etcd_client, hold
from meshnet.store.etcd import EtcdStore


def follower(three: Etcd) -> Member:
    leader = three.leader()
    return next(m for m in three.members if m is not leader)


@pytest.fixture
def healing(three: Etcd) -> Iterator[Etcd]:
    yield three
    three.healed()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP], ids=["killed", "hung"])
@pytest.mark.parametrize("which", [follower, Etcd.leader], ids=["follower", "leader"])
def test_a_member_lost_loses_nothing_and_stops_nothing(
    healing: Etcd, which: Callable[[Etcd], Member], number: int
) -> None:
    url = healing.url(f"lost/{which.__name__}-{int(number)}")

    async def scenario() -> None:
        store = opened(url)
        watch = store.watch("n", 1)
        writer = Writer(url)
        writer.start()
        try:
            await asyncio.to_thread(writer.written, 20)
            member = which(healing)
            member.kill() if number == signal.SIGKILL else member.signal(number)
            await asyncio.to_thread(writer.written, 100)
        finally:
            await asyncio.to_thread(writer.stop)
        assert writer.longest < MOST_SECONDS_WITHOUT_A_WRITE
        kept = store.list("n")
        assert {f"{n:06}" for n in writer.done} <= set(kept)
        seen = [await asyncio.wait_for(anext(watch), PATIENCE) for _ in kept]
        assert [change.value for change in seen] == sorted(kept.values()), "a gap, or twice"
        store.close()

    asyncio.run(scenario())


def test_a_transaction_sent_twice_is_done_once(three: Etcd) -> None:
    """The first answer is lost on its way; the client asks again."""
    store = opened(three.url("twice"))
    store.put("n", "n", 1)
    real = store._client.call

    def forgetful(method: str, request: Any, deadline: float = 0.0) -> Any:
        real(method, request, deadline)
        return real(method, request, deadline)

    store._client.call = forgetful  # type: ignore[method-assign]
    with store.transaction() as tx:
        tx.put("n", "n", tx.get("n", "n") + 1)
    store._client.call = real  # type: ignore[method-assign]
    assert store.get("n", "n") == 2
    store.put("n", "n", 3)
    assert store.get("n", "n") == 3
    store.close()


def test_a_transaction_that_comes_late_is_not_done(three: Etcd) -> None:
    """Given up as unknown, then overtaken: it must not overwrite what was written since."""
    store = opened(three.url("late"))
    store.put("n", "n", "old")
    real = store._client.call
    held_back: list[Any] = []

    def slow(method: str, request: Any, deadline: float = 0.0) -> Any:
        held_back.append(request)
        raise etcd_client.NoAnswer("etcd did not answer")

    store._client.call = slow  # type: ignore[method-assign]
    with pytest.raises(PlatformError):
        store.put("n", "n", "late")
    store._client.call = real  # type: ignore[method-assign]
    store.put("n", "n", "new")
    assert not real("Txn", held_back[0]).succeeded
    assert store.get("n", "n") == "new"
    store.close()


def test_one_of_unknown_outcome_that_was_done_hinders_no_later_one(three: Etcd) -> None:
    store = opened(three.url("unknown"))
    store.put("n", "n", 0)
    real = store._client.call

    def mute(method: str, request: Any, deadline: float = 0.0) -> Any:
        real(method, request, deadline)
        raise etcd_client.NoAnswer("etcd did not answer")

    store._client.call = mute  # type: ignore[method-assign]
    with pytest.raises(PlatformError):
        store.put("n", "n", 1)
    store._client.call = real  # type: ignore[method-assign]
    assert store.get("n", "n") == 1
    store.put("n", "m", 2)
    assert store.list("n") == {"n": 1, "m": 2}
    store.close()


def test_what_another_changed_meanwhile_is_a_conflict(three: Etcd) -> None:
    mine, other = opened(three.url("conflict")), opened(three.url("conflict"))
    mine.put("n", "n", 1)
    with pytest.raises(TransactionConflict), mine.transaction() as tx:
        tx.get("n", "n")
        other.put("n", "n", 2)
        tx.put("n", "m", 3)
    with pytest.raises(TransactionConflict), mine.transaction() as tx:
        tx.list("n")
        other.put("n", "new", 2)
        tx.put("n", "m", 3)
    assert mine.list("n") == {"n": 2, "new": 2}
    mine.close()
    other.close()


def test_a_holder_without_its_lock_writes_no_more(three: Etcd) -> None:
    url = three.url("deposed")

    async def scenario() -> None:
        async with hold(url) as store:
            assert isinstance(store, EtcdStore)
            store.put("n", "n", 1)
            thief = opened(url)  # as if the lease had ended while this process stood still
            lease = thief._keys.own("lock", "active")
            from meshnet.store.etcd_words import op_delete
            from meshnet.store.gen import etcd_pb2 as pb

            thief._client.call("Txn", pb.TxnRequest(success=[op_delete(lease)]))
            with pytest.raises(PlatformError, match="lock was lost"):
                store.put("n", "n", 2)
            assert thief.get("n", "n") == 1
            thief.close()

    asyncio.run(asyncio.wait_for(scenario(), PATIENCE))


def test_an_unknown_outcome_ends_the_holders_block(three: Etcd) -> None:
    async def scenario() -> None:
        async with hold(three.url("ends")) as store:
            assert isinstance(store, EtcdStore)
            real = store._client.call

            def mute(method: str, request: Any, deadline: float = 0.0) -> Any:
                raise etcd_client.NoAnswer("etcd did not answer")

            store._client.call = mute  # type: ignore[method-assign]
            with pytest.raises(PlatformError):
                store.put("n", "n", 1)
            store._client.call = real  # type: ignore[method-assign]
            await asyncio.Event().wait()

    with pytest.raises(PlatformError, match="lock was lost"):
        asyncio.run(asyncio.wait_for(scenario(), PATIENCE))


def test_a_refusal_is_no_unknown_outcome_and_the_holder_goes_on(three: Etcd) -> None:
    async def scenario() -> None:
        async with hold(three.url("refused")) as store:
            with pytest.raises(PlatformError, match="max-request-bytes"):
                store.put("n", "n", "x" * 2**21)
            store.put("n", "n", "small")
            await asyncio.sleep(0.1)  # a cancellation would have come
            assert store.get("n", "n") == "small"

    asyncio.run(asyncio.wait_for(scenario(), PATIENCE))


def test_without_any_member_calls_end_in_time_and_the_lock_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario(url: str, one: Etcd) -> None:
        async with hold(url) as store:
            store.put("n", "n", 1)
            one.stop()
            began = time.monotonic()
            with pytest.raises(PlatformError, match="did not answer"):
                store.put("n", "n", 2)
            assert time.monotonic() - began < etcd_client.DEADLINE_SECONDS + 3
            monkeypatch.setattr(etcd_client, "DEADLINE_SECONDS", 1.0)
            await asyncio.Event().wait()

    with etcd(tmp_path, 1) as one:
        one.leader()
        with pytest.raises(PlatformError, match="lock was lost"):
            asyncio.run(asyncio.wait_for(scenario(one.url("gone"), one), PATIENCE))
        began = time.monotonic()
        with pytest.raises(PlatformError, match="did not answer"):
            Store.open(one.url("gone"))
        assert time.monotonic() - began < etcd_client.DEADLINE_SECONDS + 3
        one.start()
        one.leader()
        monkeypatch.undo()
        store = opened(one.url("gone"))
        assert store.get("n", "n") == 1
        store.close()


def test_changes_that_etcd_has_compacted_are_missed_aloud(three: Etcd) -> None:
    async def scenario() -> None:
        store = opened(three.url("compacted"))
        old, _ = store.snapshot("n")
        store.put("n", "a", 1)
        newest, _ = store.snapshot("n")
        url = f"http://127.0.0.1:{three.leader().client_port}/v3/kv/compaction"
        body = json.dumps({"revision": str(newest), "physical": True}).encode()
        urllib.request.urlopen(urllib.request.Request(url, body), timeout=10).read()
        with pytest.raises(Compacted):
            await anext(store.watch("n", old - 1))
        watch = store.watch("n", newest)
        store.put("n", "b", 2)
        assert await anext(watch) == Change("n", "b", 2)
        store.close()

    asyncio.run(asyncio.wait_for(scenario(), PATIENCE))


def test_a_store_of_a_newer_layout_is_refused(three: Etcd) -> None:
    from meshnet.store.etcd_words import op_put
    from meshnet.store.gen import etcd_pb2 as pb

    store = opened(three.url("newer"))
    key = store._keys.own("layout", "")
    store._client.call("Txn", pb.TxnRequest(success=[op_put(key, b"99")]))
    store.close()
    with pytest.raises(PlatformError, match="newer meshnet"):
        Store.open(three.url("newer"))


def test_dead_writers_leave_nothing_behind_the_next_holder(three: Etcd) -> None:
    url = three.url("writers")
    for _ in range(3):
        store = opened(url)
        store.put("n", "n", 1)
        store._client.close()  # as a kill would leave it

    async def scenario() -> list[Any]:
        async with hold(url) as store:
            assert isinstance(store, EtcdStore)
            store.put("n", "n", 2)
            from meshnet.store.etcd_words import range_request

            prefix = store._keys.own("writer", "")
            return list(store._client.call("Range", range_request(prefix, prefix=True)).kvs)

    assert len(asyncio.run(asyncio.wait_for(scenario(), PATIENCE))) == 1
