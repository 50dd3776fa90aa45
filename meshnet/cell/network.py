"""An instance's network: namespace, veth as silk makes it, hooks, redirect. All blocking."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

from meshnet.cell.config import GATEWAY, MTU, Config
from meshnet.cell.record import Names, Record
from meshnet.kernel import cgroup, links, netns, vxlan
from meshnet.kernel.bpf.datapath import CellDatapath
from meshnet.kernel.bpf.source import APP_HOOKS, SIDECAR_HOOKS, VETH_HOOKS
from meshnet.kernel.iptables import Iptables
from meshnet.kernel.ledger import Ledger
from meshnet.kernel.links import Address, Change, Neighbour, Route, Sysctl, Veth
from meshnet.model.errors import KernelError, NotFound
from meshnet.model.modes import IPTABLES, Redirection

INBOUND_PORT = 15006
# From «its name was resolved» or «connect saw the old mode» to «its SYN is out», at the very most.
CONNECTING_SECONDS = 0.2


def cell_side(record: Record, names: Names) -> list[links.Operation]:
    """What the cell has of the pair, but for the pair itself; may be applied again."""
    return [
        Change(names.veth, up=True, arp=False),
        Address(names.veth, f"{GATEWAY}/32", peer=record.address, scope="link"),
        Neighbour(names.veth, record.address, vxlan.hardware_address(record.address)),
        Sysctl(f"net.ipv4.conf.{names.veth}.rp_filter", 1),
    ]


def _instance_side(record: Record) -> list[links.Operation]:
    return [
        Change("eth0", up=True, arp=False),
        Address("eth0", f"{record.address}/32", peer=GATEWAY, scope="link"),
        Neighbour("eth0", GATEWAY, vxlan.host_hardware_address(record.address)),
        Route("default", name="eth0", via=GATEWAY, src=record.address),
    ]


def make(
    config: Config,
    record: Record,
    tag: int,
    redirection: Redirection,
    datapath: CellDatapath,
    iptables: Iptables,
) -> None:
    """Make the namespace and connect it; the programs are on before any packet can pass.

    Raises:
        KernelError: a step was refused, or a hook is not attached. `remove` takes the rest away.
    """
    names = Names(config, record)
    ledger = Ledger(Path(config.ledger))
    ledger.record("netns", name=names.netns)
    netns.create(names.netns)
    quiet = {f"net.ipv6.conf.{name}.disable_ipv6": 1 for name in ("all", "default")}
    netns.sysctl(names.netns, quiet)
    mac, cell_mac = (
        vxlan.hardware_address(record.address),
        vxlan.host_hardware_address(record.address),
    )
    pair = Veth(names.veth, "eth0", peer_netns=names.netns, mac=cell_mac, peer_mac=mac, mtu=MTU)
    links.apply(None, [pair])
    ifindex = links.ifindex(names.veth)
    datapath.purge_flows(record.address)
    datapath.set_container(ifindex, record.address, mac, tag)
    datapath.attach_veth(ifindex, names.veth_links)
    links.apply(None, cell_side(record, names))
    links.apply(names.netns, _instance_side(record))
    redirect(config, record, redirection, datapath, iptables)
    ledger.record("cgroup", path=names.cgroup)
    datapath.attach_app(cgroup.create(names.app_cgroup), names.app_links)
    datapath.attach_sidecar(cgroup.create(names.sidecar_cgroup), names.sidecar_links)
    check_hooks(datapath, names)


def redirect(
    config: Config,
    record: Record,
    redirection: Redirection,
    datapath: CellDatapath,
    iptables: Iptables,
    *,
    before: Redirection | None = None,
) -> None:
    """Carry the app's connections in this mode from now on; those that are there live on.

    Netfilter's rule is there before the hook leaves a VIP to it, and goes after it has stopped to:
    without the rule a VIP would be an address of the app's own loopback.

    Args:
        before: the mode the instance is in, None for one that never connected.

    Raises:
        KernelError: a step was refused; the mode may be half changed, `redirect` again.
    """
    names = Names(config, record)
    if redirection.mode == IPTABLES:
        iptables.redirect_outbound(names.netns, config.vip_range)
    datapath.set_redirect(netns.cookie(names.netns), record.address, redirection)
    iptables.redirect_inbound(
        names.netns, record.address, proxy_port=INBOUND_PORT if redirection.proxied else 0
    )
    if before is not None and before.mode == IPTABLES != redirection.mode:
        time.sleep(CONNECTING_SECONDS)
        iptables.redirect_outbound(names.netns, config.vip_range, proxy_port=0)


def adopt(config: Config, record: Record, datapath: CellDatapath) -> None:
    """Bring what an earlier agent made up to date: its hooks run the present programs.

    Raises:
        NotFound: its veth or a cgroup of its is gone.
        KernelError: a hook cannot be attached.
    """
    names = Names(config, record)
    datapath.attach_veth(links.ifindex(names.veth), names.veth_links)
    for group in (names.app_cgroup, names.sidecar_cgroup):
        if not cgroup.exists(group):
            raise NotFound(f"no cgroup {group}")
    datapath.attach_app(cgroup.directory(names.app_cgroup), names.app_links)
    datapath.attach_sidecar(cgroup.directory(names.sidecar_cgroup), names.sidecar_links)
    check_hooks(datapath, names)
    links.apply(None, cell_side(record, names))


def check_hooks(datapath: CellDatapath, names: Names) -> None:
    """Raise KernelError where a hook of the instance is not attached: then it must not start."""
    for hooks, directory in (
        (APP_HOOKS, names.app_links),
        (SIDECAR_HOOKS, names.sidecar_links),
        (VETH_HOOKS, names.veth_links),
    ):
        missing = {hook.name for hook in hooks} - datapath.attached(directory)
        if missing:
            raise KernelError(f"hooks not attached: {', '.join(sorted(missing))}")


def remove(config: Config, record: Record, datapath: CellDatapath) -> None:
    """Take an instance's network away, as far as it is there."""
    names = Names(config, record)
    ledger = Ledger(Path(config.ledger))
    try:
        datapath.delete_container(links.ifindex(names.veth))
        links.apply(None, [links.Delete(names.veth)])
    except NotFound:
        pass
    with contextlib.suppress(NotFound):
        datapath.delete_redirect(netns.cookie(names.netns))
    for directory in (names.veth_links, names.app_links, names.sidecar_links, names.links):
        datapath.detach(directory)
    with contextlib.suppress(NotFound):
        netns.delete(names.netns)  # a name without a namespace too: an agent was killed in between
    ledger.forget("netns", name=names.netns)
    if cgroup.exists(names.cgroup):
        cgroup.kill(names.cgroup)
        cgroup.remove(names.cgroup)
    ledger.forget("cgroup", path=names.cgroup)
    datapath.purge_flows(record.address)


def set_tag(config: Config, record: Record, tag: int, datapath: CellDatapath) -> None:
    """Tell the programs the app's tag, once it is known."""
    ifindex = links.ifindex(Names(config, record).veth)
    mac = vxlan.hardware_address(record.address)
    datapath.set_container(ifindex, record.address, mac, tag)
