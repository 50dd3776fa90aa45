"""What every instance of a cell works with."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from meshnet.cell.config import Config
from meshnet.cell.droplets import Droplets
from meshnet.cell.forwarder import Forwarder
from meshnet.cell.modes import Modes
from meshnet.kernel.bpf.datapath import CellDatapath
from meshnet.kernel.iptables import Iptables
from meshnet.wire.bbs_client import BbsClient
from meshnet.wire.log_cache_client import LogCacheClient
from meshnet.wire.policy_client import PolicyClient


@dataclass
class Tools:
    """One of each, for all instances."""

    config: Config
    bbs: BbsClient
    policy: PolicyClient
    datapath: CellDatapath
    iptables: Iptables
    droplets: Droplets
    host_ports_written: Callable[[], Awaitable[None]]
    slots: asyncio.Semaphore
    seats: asyncio.Semaphore
    modes: Modes
    log_cache: LogCacheClient
    forwarder: Forwarder
    evacuating: Callable[[], bool]
