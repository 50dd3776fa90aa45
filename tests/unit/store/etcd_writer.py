"""A client that writes all the while, and says what was acknowledged."""

from __future__ import annotations

import threading
import time

from meshnet.model.errors import PlatformError
from meshnet.store import Store
from meshnet.store.etcd import EtcdStore

PATIENCE = 60.0
# An election and the attempts before it; a busy machine elects late.
MOST_SECONDS_WITHOUT_A_WRITE = 15.0


def opened(url: str) -> EtcdStore:
    store = Store.open(url)
    assert isinstance(store, EtcdStore)
    return store


class Writer(threading.Thread):
    """Writes n = 0, 1, ... until told to end; notes what was acknowledged, and the longest wait."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self._url, self._end = url, threading.Event()
        self.done: list[int] = []
        self.failed: list[str] = []
        self.longest = 0.0

    def run(self) -> None:
        store = opened(self._url)
        n, last = 0, time.monotonic()
        while not self._end.is_set():
            try:
                store.put("n", f"{n:06}", n)
                self.done.append(n)
                self.longest = max(self.longest, time.monotonic() - last)
                last = time.monotonic()
            except PlatformError as exc:
                self.failed.append(str(exc))
            n += 1
        store.close()

    def written(self, more: int) -> None:
        """Wait until so many more were acknowledged."""
        wanted, deadline = len(self.done) + more, time.monotonic() + PATIENCE
        while len(self.done) < wanted:
            assert time.monotonic() < deadline, "writes stopped"
            time.sleep(0.01)

    def stop(self) -> None:
        self._end.set()
        self.join()
