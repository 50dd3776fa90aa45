"""The leases: durable, with a version that counts their changes."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from meshnet.lease.pool import allocate, check
from meshnet.model.errors import Conflict, InputError
from meshnet.store import Store
from meshnet.wire import lease_api as api
from meshnet.wire.lease_api import Lease
from meshnet.wire.tls import Tls

_LEASE, _META, _VERSION = "lease", "meta", "version"


@dataclass(frozen=True)
class Config:
    """Where leases are served and kept.

    Attributes:
        static: subnets fixed by underlay address.
        tls: mutual TLS; None = plain.
    """

    listen_host: str
    store: str
    overlay: str
    listen_port: int = 4103
    subnet_prefix: int = 24
    static: dict[str, str] = field(default_factory=dict)
    tls: Tls | None = None


class Leases:
    """Which cell has which subnet. Raises InputError where the settings allow no lease."""

    def __init__(self, config: Config, store: Store) -> None:
        check(config.overlay, config.subnet_prefix, config.static)
        self._config, self._store = config, store
        # Kept, for one that began anew could come to a number that a watcher knows already, and
        # the watcher would wait although it has not seen the change.
        self.version = int(store.get(_META, _VERSION) or 1)
        self._changed = asyncio.Event()

    def all(self) -> list[dict[str, str]]:
        """Every lease as JSON."""
        return list(self._store.list(_LEASE).values())

    def acquire(self, underlay_ip: str) -> dict[str, str]:
        """A cell's lease, the same at every call. Raises Conflict, InputError."""
        taken = {ip: v["overlay_subnet"] for ip, v in self._store.list(_LEASE).items()}
        config = self._config
        subnet = allocate(config.overlay, config.subnet_prefix, taken, config.static, underlay_ip)
        lease = Lease(underlay_ip, subnet, api.vtep_mac(subnet)).to_json()
        if underlay_ip not in taken:
            self._write(underlay_ip, lease)
        return lease

    def renew(self, lease: Mapping[str, Any]) -> None:
        """Check that a cell's lease is the one kept. Raises Conflict, InputError."""
        underlay_ip = lease.get("underlay_ip")
        if not isinstance(underlay_ip, str):
            raise InputError("a lease needs its underlay_ip")
        kept = self._store.get(_LEASE, underlay_ip)
        if kept is None or any(lease.get(name) != value for name, value in kept.items()):
            raise Conflict(f"{underlay_ip} has another lease or none: acquire it again")

    def release(self, underlay_ip: str) -> None:
        """Forget a cell's lease, if it has one."""
        if self._store.get(_LEASE, underlay_ip) is not None:
            self._write(underlay_ip, None)

    async def changed_since(self, version: int) -> None:
        """Return when the version differs or the long poll's time is over."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(api.WATCH_SECONDS):
                while self.version == version:
                    await self._changed.wait()

    def _write(self, underlay_ip: str, lease: dict[str, str] | None) -> None:
        version = self.version + 1
        with self._store.transaction() as tx:
            tx.put(_META, _VERSION, version)
            if lease is None:
                tx.delete(_LEASE, underlay_ip)
            else:
                tx.put(_LEASE, underlay_ip, lease)
        self.version = version
        self._changed.set()
        self._changed = asyncio.Event()
