"""A sidecar that has ended comes back beside its app, which runs on.

Diego's executor ends the whole container, as for any of its processes. But what an app has in
memory is gone with it, and a start takes as long as the app wants; a proxy is back in a moment.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from meshnet.cell import containers, network
from meshnet.cell.config import Config
from meshnet.cell.monitor import Crashed
from meshnet.cell.record import Names, Record
from meshnet.cell.threads import in_thread
from meshnet.kernel import cgroup, oci
from meshnet.kernel.bpf.datapath import CellDatapath
from meshnet.kernel.oci import Container
from meshnet.model.patience import patient

READY_SECONDS = 30.0
_POLL_SECONDS = 0.02
MOST, WITHIN_SECONDS = 3, 60.0


class Sidecar:
    """One instance's sidecar.

    Attributes:
        container: what runs, None between two.
    """

    def __init__(self, config: Config, rec: Record, datapath: CellDatapath) -> None:
        self.container: Container | None = None
        self._config, self._record, self._datapath = config, rec, datapath
        self._comebacks: list[float] = []

    def start(self) -> None:
        """Start it for the first time. Blocking. Raises KernelError: runc refused."""
        spec = containers.sidecar_spec(self._config, self._record)
        self.container = oci.start(spec, self._config.runc_root)

    async def ready(self, check_alive: Callable[[], Awaitable[None]]) -> None:
        """Until it serves, or has ended. Raises Crashed: not in time, or `check_alive` does."""
        seconds = patient(READY_SECONDS)
        deadline = time.monotonic() + seconds
        while not await in_thread(containers.sidecar_ready, self._config, self._record):
            await check_alive()
            if self.container is None or not self.container.running():
                return
            if time.monotonic() > deadline:
                raise Crashed("instance proxy failed to start")
            await asyncio.sleep(_POLL_SECONDS)

    def may_come_back(self) -> bool:
        """Whether it may now, having ended: MOST times in WITHIN_SECONDS. If so that counts."""
        now = time.monotonic()
        self._comebacks = [one for one in self._comebacks if now - one < WITHIN_SECONDS]
        if len(self._comebacks) >= MOST:
            return False
        self._comebacks.append(now)
        return True

    async def start_again(self, check_alive: Callable[[], Awaitable[None]]) -> None:
        """Start another in place of one that has ended; returns when it serves, or has ended too.

        Until then connections to it are refused: peers and ingress try another instance, and the
        app's own VIPs stay closed.

        Raises:
            KernelError: runc refused, or a hook is not attached.
            Crashed: see `ready`; `check_alive` is asked of the app alone.
        """
        if self.container is not None:
            self.container.close()
            self.container = None
        await in_thread(self._start_again)
        await self.ready(check_alive)

    def _start_again(self) -> None:
        names = Names(self._config, self._record)
        oci.remove(containers.sidecar_spec(self._config, self._record), self._config.runc_root)
        self._datapath.detach(names.sidecar_links)  # they went with the cgroup
        group = cgroup.create(names.sidecar_cgroup)
        self._datapath.attach_sidecar(group, names.sidecar_links)
        network.check_hooks(self._datapath, names)
        # Its predecessor's, which would be asked in its place.
        (names.envoy_dir / "admin.sock").unlink(missing_ok=True)
        self.start()
