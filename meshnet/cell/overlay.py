"""The cell's place in the overlay: its lease, its VTEP, and the way to every other cell."""

from __future__ import annotations

import asyncio
import logging

from meshnet.cell.config import Config
from meshnet.kernel import links, netns, vxlan
from meshnet.kernel.links import Address, Sysctl
from meshnet.wire.lease_api import Lease
from meshnet.wire.lease_client import LeaseClient

log = logging.getLogger("meshnet")


class Overlay:
    """Acquires the lease, makes the VTEP, then follows the other cells' leases."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._client = LeaseClient(config.lease_url, config.tls)
        self.lease: Lease | None = None

    async def join(self) -> Lease:
        """Acquire the lease and make the VTEP and the cell's own settings. Raises PeerError."""
        lease = await self._client.acquire(self._config.underlay_ip)
        await asyncio.to_thread(self._make, lease)
        self.lease = lease
        log.info("lease %s", lease.overlay_subnet)
        return lease

    async def follow(self) -> None:
        """Keep routes, neighbours and forwarding entries equal to the leases; for ever."""
        version = 0
        while True:
            version, leases = await self._client.watch(version)
            assert self.lease is not None
            if self.lease not in leases:
                self.lease = await self._client.acquire(self._config.underlay_ip)
            others = [
                vxlan.RemoteLease(x.overlay_subnet, x.overlay_hardware_addr, x.underlay_ip)
                for x in leases
                if x.underlay_ip != self._config.underlay_ip
            ]
            await asyncio.to_thread(vxlan.sync_leases, self._vtep(self.lease), others)

    def _vtep(self, lease: Lease) -> vxlan.Vtep:
        c = self._config
        return vxlan.Vtep(
            address=lease.vtep_ip,
            overlay_network=c.overlay_network,
            local=c.underlay_ip,
            device=c.underlay_ifname,
            vni=c.vni,
            port=c.vxlan_port,
        )

    def _make(self, lease: Lease) -> None:
        netns.set_sysctl("net.ipv4.ip_forward", 1)
        vxlan.create(self._vtep(lease))
        links.apply(
            None,
            [
                Address("lo", f"{self._config.dns_address}/32"),
                Sysctl("net.ipv4.conf.all.rp_filter", 0),
            ],
        )
