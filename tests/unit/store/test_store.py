"""What every store does, held against both."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from meshnet.model.errors import InputError, NotFound, PlatformError
from meshnet.store import Change, Store, Watch, hold

PATIENCE = 30.0
WRITER = """
import sys
from meshnet.store import Store
store = Store.open(sys.argv[1])
for n in range(10**6):
    with store.transaction() as tx:
        tx.put("n", str(n), {"n": n})
        tx.put("twin", str(n), n)
    print(n, flush=True)
"""
HOLDER = """
import asyncio, sys
from meshnet.store import hold
async def main():
    async with hold(sys.argv[1]) as store:
        store.put("app", "holder", sys.argv[2])
        print("held", flush=True)
        await asyncio.Event().wait()
asyncio.run(main())
"""


def run(scenario: Awaitable[Any]) -> Any:
    async def bounded() -> Any:
        return await asyncio.wait_for(scenario, PATIENCE)

    return asyncio.run(bounded())


async def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true"
        await asyncio.sleep(0.02)


async def heard(watch: Watch, count: int) -> list[Change]:
    return [await anext(watch) for _ in range(count)]


def test_records_are_listed_by_key_and_survive_reopening(url: str) -> None:
    store = Store.open(url)
    store.put("app", "b/with/slashes", {"name": "two"})
    store.put("app", "a", [1])
    store.put("apple", "a", "a kind that begins like another")
    store.put("app", "ä", 0)
    store.close()
    again = Store.open(url)
    assert list(again.list("app").items()) == [
        ("a", [1]), ("b/with/slashes", {"name": "two"}), ("ä", 0)
    ]  # fmt: skip
    assert again.delete("app", "a") and not again.delete("app", "a")
    assert again.get("app", "a") is None and again.get("app", "ä") == 0
    again.close()


def test_a_failed_transaction_changes_nothing(url: str) -> None:
    store = Store.open(url)
    store.put("app", "a", 1)
    with pytest.raises(ZeroDivisionError), store.transaction() as tx:
        tx.put("app", "a", 2)
        tx.put("app", "b", 2)
        tx.delete("app", "a")
        _ = 1 // 0
    assert store.list("app") == {"a": 1}
    store.close()


def test_a_transaction_reads_what_it_writes(url: str) -> None:
    store = Store.open(url)
    store.put("app", "a", 1)
    store.put("app", "c", 3)
    with store.transaction() as tx:
        tx.put("app", "b", {"x": [2]})
        assert tx.delete("app", "a") and not tx.delete("app", "a")
        assert tx.get("app", "a") is None and tx.get("app", "b") == {"x": [2]}
        tx.put("app", "a", 9)
        tx.delete("app", "c")
        assert tx.list("app") == {"a": 9, "b": {"x": [2]}}
    assert store.list("app") == {"a": 9, "b": {"x": [2]}}
    with store.transaction() as tx, pytest.raises(TypeError):
        tx.put("app", "z", object())
    store.close()


def test_a_transaction_may_be_large(url: str) -> None:
    store = Store.open(url)
    with store.transaction() as tx:
        for n in range(2000):
            tx.put("route", f"{n:05}", {"host": f"h{n}.istio.mesh.lab", "path": "", "n": n})
    assert len(store.list("route")) == 2000
    with store.transaction() as tx:
        for key in tx.list("route"):
            tx.delete("route", key)
        tx.put("route", "last", 1)
    assert store.list("route") == {"last": 1}
    store.close()


def test_a_transaction_within_another_is_refused_and_spoils_nothing(url: str) -> None:
    store = Store.open(url)
    with store.transaction() as tx:
        tx.put("app", "a", 1)
        with pytest.raises(PlatformError):
            store.put("app", "b", 2)
        tx.put("app", "c", 3)
    assert store.list("app") == {"a": 1, "c": 3}
    store.close()


@pytest.mark.parametrize("many", [1, 3])
def test_counting_together_loses_no_count(url: str, many: int) -> None:
    """Read, add one, write: transactions of several clients never overwrite one another."""
    Store.open(url).close()
    script = (
        "import sys\nfrom meshnet.store import Store\ns = Store.open(sys.argv[1])\n"
        "def one(tx): tx.put('n', 'n', (tx.get('n', 'n') or 0) + 1)\n"
        "def two(tx): tx.put('list', sys.argv[2] + str(len(tx.list('list'))), 1)\n"
        "for _ in range(15):\n"
        "    for work in (one, two):\n"
        "        s.transact(work)\n"
    )
    clients = [
        subprocess.Popen([sys.executable, "-c", script, url, f"client-{n}-"]) for n in range(many)
    ]
    assert [c.wait(PATIENCE * 2) for c in clients] == [0] * many
    store = Store.open(url)
    assert store.get("n", "n") == 15 * many
    numbers = sorted(int(key.rpartition("-")[2]) for key in store.list("list"))
    assert numbers == list(range(15 * many)), "two clients saw the same list"
    store.close()


def test_every_acknowledged_write_survives_kill(url: str) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, url], stdout=subprocess.PIPE, text=True
    ) as writer:
        assert writer.stdout is not None
        for line in writer.stdout:
            if int(line) == 50:
                os.kill(writer.pid, signal.SIGKILL)
                break
        last = max([50, *(int(line) for line in writer.stdout if line.endswith("\n"))])
    store = Store.open(url)
    found = set(store.list("n"))
    assert {str(n) for n in range(last + 1)} <= found
    assert found == set(store.list("twin")), "half a transaction"
    store.close()


def test_watchers_hear_committed_changes_only(url: str) -> None:
    async def scenario() -> None:
        store = Store.open(url)
        watch = store.watch("app")
        store.put("app", "a", 1)  # before anybody awaits
        with pytest.raises(RuntimeError), store.transaction() as tx:
            tx.put("app", "b", 2)
            raise RuntimeError
        store.put("route", "r", 1)
        store.delete("app", "a")
        assert await heard(watch, 2) == [Change("app", "a", 1), Change("app", "a", None)]
        store.close()

    run(scenario())


def test_a_watch_goes_on_from_a_revision_without_a_gap(url: str) -> None:
    async def scenario() -> None:
        store = Store.open(url)
        for n in range(5):
            store.put("app", str(n), n)
        revision, records = store.snapshot("app")
        assert list(records.values()) == [0, 1, 2, 3, 4]
        store.put("app", "5", 5)
        store.put("other", "5", 5)
        watch = store.watch("app", revision)
        store.delete("app", "0")
        first, second = await heard(watch, 2)
        assert (first, second) == (Change("app", "5", 5), Change("app", "0", None))
        assert revision < first.revision < second.revision
        again = store.watch("app", first.revision)
        assert await anext(again) == second
        store.close()

    run(scenario())


def test_records_of_a_lease_vanish_when_it_ends(url: str) -> None:
    async def scenario() -> None:
        store = Store.open(url)
        lease, other = store.lease(2), store.lease(60)
        watch = store.watch("cell")
        with store.transaction() as tx:
            tx.put("cell", "a", 1, lease)
            tx.put("cell", "b", 2, other)
            tx.put("cell", "c", 3)
        began = time.monotonic()
        while time.monotonic() - began < 3.0:  # longer than it lives unless kept alive
            lease.keep_alive()
            await asyncio.sleep(0.2)
        assert store.get("cell", "a") == 1
        changes = await heard(watch, 4)
        assert changes[3] == Change("cell", "a", None)
        assert store.list("cell") == {"b": 2, "c": 3} and store.get("cell", "a") is None
        with pytest.raises(NotFound):
            lease.keep_alive()
        with pytest.raises(NotFound):
            store.put("cell", "a", 1, lease)
        other.revoke()
        assert await anext(watch) == Change("cell", "b", None)
        assert store.list("cell") == {"c": 3}
        store.close()

    run(scenario())


def test_one_holds_the_store_and_the_next_waits(url: str) -> None:
    async def scenario() -> None:
        order: list[str] = []
        go_on = asyncio.Event()

        async def daemon(name: str) -> None:
            async with hold(url) as store:
                order.append(name)
                store.put("app", name, 1)
                await go_on.wait()
                order.append(f"{name} ends")

        first = asyncio.create_task(daemon("one"))
        await until(lambda: order == ["one"])
        second = asyncio.create_task(daemon("two"))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.shield(second), 1)
        assert order == ["one"]
        go_on.set()
        await asyncio.gather(first, second)
        assert order == ["one", "one ends", "two", "two ends"]

    run(scenario())


def test_a_killed_holder_is_followed_at_once_and_what_it_wrote_is_there(url: str) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, url, "first"], stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None and holder.stdout.readline() == "held\n"
        os.kill(holder.pid, signal.SIGKILL)

    async def scenario() -> None:
        began = time.monotonic()
        async with hold(url) as store:
            assert store.get("app", "holder") == "first"
            assert time.monotonic() - began < 4.0, "it waited for the dead one's lease to end"
            store.put("app", "holder", "second")

    run(scenario())


def _rename(kind: str, key: str, value: Any) -> Any | None:
    return {"title": value["name"]} if kind == "app" else value


def _drop(kind: str, key: str, value: Any) -> Any | None:
    return None if kind == "tmp" else value


def test_records_are_migrated_in_order_and_once(url: str) -> None:
    store = Store.open(url)
    store.put("app", "a", {"name": "x"})
    store.put("tmp", "t", 1)
    store.close()
    Store.open(url, [_rename]).close()
    store = Store.open(url, [_rename, _drop])
    assert store.list("app") == {"a": {"title": "x"}} and store.list("tmp") == {}
    store.close()
    with pytest.raises(PlatformError, match="newer meshnet"):
        Store.open(url, [_rename])


def test_a_migration_that_fails_changes_nothing(url: str) -> None:
    store = Store.open(url)
    store.put("app", "a", {"name": "x"})
    store.put("app", "b", {})
    store.close()
    with pytest.raises(KeyError):
        Store.open(url, [_rename])
    store = Store.open(url)
    assert store.list("app") == {"a": {"name": "x"}, "b": {}}
    store.close()


def test_a_new_store_begins_at_the_newest_version(url: str) -> None:
    Store.open(url, [_rename, _drop]).close()
    with pytest.raises(PlatformError, match="newer meshnet"):
        Store.open(url)


@pytest.mark.parametrize(
    "bad", ["etcd://", "etcd://host:1", "etcd://host/prefix", "etcd://h:1/p?cert=x&ca=y",
            "etcd://h:1/p?what=x", "etcd://h:1/p?ca=/nowhere/ca.pem"],
)  # fmt: skip
def test_a_url_that_is_none_is_refused(bad: str) -> None:
    with pytest.raises(InputError):
        Store.open(bad)
