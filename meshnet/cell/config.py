"""What a cell agent is told, and every path and name that follows from it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from meshnet.wire.tls import Tls

GATEWAY = "169.254.0.1"
APP_PORT = 8080
SIDECAR_UID = 50001
FIRST_APP_UID = 60001
MTU = 1450  # the underlay's 1500 less VXLAN's 50


@dataclass(frozen=True)
class Config:
    """Configuration of one cell's agent.

    Attributes:
        cgroup: the cell's group below the v2 mount.
        netns_prefix: how the names of its instances' network namespaces begin.
        pin_dir: the cell's directory in the lab's bpffs.
        mode: the redirection of apps that have none of their own (meshnet.model.modes).
        max_instances: as many it takes at most; 250 is Diego's own default.
        identity_ca: PEM file of the CA (and its key) of instances' certificates; "": they get none.
        ledger: file where everything it makes is written down first.
        tls: who it is to all it talks to; None = plain.
    """

    lab: str
    cell_id: str
    underlay_ip: str
    underlay_network: str
    overlay_network: str
    vip_range: str
    routers: list[str]
    lease_url: str
    bbs_url: str
    log_cache_addr: str
    policy_internal_url: str
    run_dir: str
    pin_dir: str
    ledger: str
    log_dir: str
    cgroup: str
    netns_prefix: str
    envoy: str
    status_socket: str
    underlay_ifname: str = "eth0"
    vni: int = 1
    vxlan_port: int = 4789
    dns_address: str = "169.254.0.2"
    mode: str = "ebpf"
    sockmap: bool = False
    host_port_first: int = 61000
    host_ports: int = 5000
    max_instances: int = 250
    identity_ca: str = ""
    tls: Tls | None = None

    @property
    def run(self) -> Path:
        """The cell's run directory."""
        return Path(self.run_dir)

    @property
    def proxies_dir(self) -> Path:
        """Where sidecars are announced to Pilot."""
        return self.run / "proxies"

    @property
    def launcher(self) -> Path:
        """The program that starts an app inside its container."""
        return self.run / "launcher"

    @property
    def runc_root(self) -> Path:
        """runc's state."""
        return self.run / "runc"
