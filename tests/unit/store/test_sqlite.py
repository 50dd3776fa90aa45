"""What was acknowledged is there after a kill; what failed half way is not."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from meshnet.model.errors import PlatformError
from meshnet.store import Change, Store

WRITER = """
import sys
from meshnet.store import Store
store = Store.open(sys.argv[1])
for n in range(10**6):
    store.put("n", str(n), {"n": n})
    print(n, flush=True)
"""


def test_records_are_listed_by_key_and_survive_reopening(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "s" / "x.db")
    store.put("app", "b", {"name": "two"})
    store.put("app", "a", [1])
    store.put("route", "a", "other kind")
    store.close()
    again = Store.open(tmp_path / "s" / "x.db")
    assert again.list("app") == {"a": [1], "b": {"name": "two"}}
    assert again.delete("app", "a") and not again.delete("app", "a")
    assert again.get("app", "a") is None
    again.close()


def test_a_failed_transaction_changes_nothing(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "x.db")
    store.put("app", "a", 1)
    with pytest.raises(ZeroDivisionError), store.transaction() as tx:
        tx.put("app", "a", 2)
        tx.put("app", "b", 2)
        _ = 1 // 0
    assert store.list("app") == {"a": 1}
    store.close()


def test_every_acknowledged_write_survives_kill(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True
    ) as writer:
        assert writer.stdout is not None
        for line in writer.stdout:
            if int(line) == 50:
                os.kill(writer.pid, signal.SIGKILL)
                break
        last = max([50, *(int(line) for line in writer.stdout if line.endswith("\n"))])
    store = Store.open(path)
    assert {str(n) for n in range(last + 1)} <= set(store.list("n"))
    store.close()


def test_watchers_hear_committed_changes_only(tmp_path: Path) -> None:
    async def scenario() -> list[Change]:
        store = Store.open(tmp_path / "x.db")
        heard: list[Change] = []

        async def listen() -> None:
            async for change in store.watch("app"):
                heard.append(change)

        task = asyncio.create_task(listen())
        await asyncio.sleep(0)
        store.put("app", "a", 1)
        with pytest.raises(RuntimeError), store.transaction() as tx:
            tx.put("app", "b", 2)
            raise RuntimeError
        store.put("route", "r", 1)
        store.delete("app", "a")
        while len(heard) < 2:
            await asyncio.sleep(0)
        task.cancel()
        store.close()
        return heard

    heard = asyncio.run(asyncio.wait_for(scenario(), 5))
    assert heard == [Change("app", "a", 1), Change("app", "a", None)]


def test_a_store_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    import sqlite3

    Store.open(tmp_path / "x.db").close()
    with sqlite3.connect(tmp_path / "x.db") as connection:
        connection.execute("UPDATE schema_version SET version = 99")
    connection.close()
    with pytest.raises(PlatformError, match="newer meshnet"):
        Store.open(tmp_path / "x.db")
