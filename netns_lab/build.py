"""A lab's nodes: namespaces, the fabric, links, addresses. Everything is ledgered first."""

from __future__ import annotations

from meshnet.kernel import links, netns
from meshnet.kernel.ledger import Ledger
from meshnet.kernel.links import Address, Bridge, Change, Operation, Veth
from netns_lab.topology import FABRIC, HOST_OFFSET, LB_CHECK_OFFSET, Node, Topology

BRIDGE = "br0"
_ROUTER_SYSCTLS = {
    # The public address is the lb's to announce: routers hold it on lo and stay silent about it.
    "net.ipv4.conf.all.arp_ignore": 1,
    "net.ipv4.conf.all.arp_announce": 2,
    # Envoy serves port 80 without capabilities.
    "net.ipv4.ip_unprivileged_port_start": 0,
}


def build(topology: Topology, ledger: Ledger) -> None:
    """Make every node and connect it.

    Raises:
        KernelError, Conflict: a step was refused; `ledger.undo` takes away what was made.
    """
    for name in (FABRIC, *(node.name for node in topology.nodes)):
        ledger.record("netns", name=topology.netns(name))
        netns.create(topology.netns(name))
        netns.sysctl(topology.netns(name), {"net.ipv6.conf.all.disable_ipv6": 1})
    links.apply(topology.netns(FABRIC), _fabric(topology))
    for node in topology.nodes:
        links.apply(topology.netns(node.name), _node(topology, node))
        if node.role == "router":
            netns.sysctl(topology.netns(node.name), _ROUTER_SYSCTLS)
    _host_link(topology, ledger)


def _fabric(topology: Topology) -> list[Operation]:
    operations: list[Operation] = [Bridge(BRIDGE)]
    for node in topology.nodes:
        operations += [
            Veth(node.name, "eth0", peer_netns=topology.netns(node.name)),
            Change(node.name, up=True, master=BRIDGE),
        ]
    return operations


def _node(topology: Topology, node: Node) -> list[Operation]:
    address = f"{topology.address(node)}/{topology.prefix}"
    operations: list[Operation] = [Address("eth0", address), Change("eth0", up=True)]
    if node.role == "lb":
        own = f"{topology.at(LB_CHECK_OFFSET)}/{topology.prefix}"
        operations.append(Address("eth0", own))
    if node.role == "router":
        operations.append(Address("lo", f"{topology.public_ip}/32"))
    return operations


def _host_link(topology: Topology, ledger: Ledger) -> None:
    """One veth into the root namespace, so that a browser or the cf CLI reaches the lab."""
    name, index = topology.host_link, links.unused_ifindex()
    ledger.record("link", name=name, ifindex=index)
    fabric = topology.netns(FABRIC)
    address = f"{topology.at(HOST_OFFSET)}/{topology.prefix}"
    links.apply(None, [Veth(name, "host", peer_netns=fabric, ifindex=index)])
    links.apply(fabric, [Change("host", up=True, master=BRIDGE)])
    links.apply(None, [Address(name, address), Change(name, up=True)])
