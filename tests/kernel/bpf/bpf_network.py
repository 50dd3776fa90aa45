"""Two cells on an underlay, joined by VXLAN-GBP, with containers behind the tc programs."""

from __future__ import annotations

import socket
from dataclasses import dataclass, field
from pathlib import Path

from bpf_world import Child, World, run

from meshnet.kernel.bpf.datapath import CellDatapath, CellParams, PolicyRule, PolicyRules

ROUTER, STRANGER, LB = "10.0.16.11", "10.0.16.99", "10.0.16.10"
GATEWAY, DNS = "169.254.0.1", "169.254.0.2"
HOST_PORT = 61000


def mac(prefix: str, address: str) -> str:
    return prefix + ":" + ":".join(f"{int(part):02x}" for part in address.split("."))


def ip(netns: str, *words: str) -> str:
    return run("ip", "-n", netns, *words)


def sysctl(netns: str, *settings: str) -> None:
    run("ip", "netns", "exec", netns, "sysctl", "-qw", *settings)


@dataclass
class Box:
    """A container: where it is and what the cell calls its veth."""

    world: World
    netns: str
    address: str
    veth: str
    ifindex: int

    def do(self, fn, *args):
        return self.world.do(fn, *args, netns=self.netns)

    def start(self, fn, *args) -> Child:
        child = self.world.start(fn, *args, netns=self.netns)
        assert child.hear() == "ready"
        return child


@dataclass
class Cell:
    world: World
    netns: str
    number: int
    datapath: CellDatapath
    rules: PolicyRules
    links: Path
    boxes: list[Box] = field(default_factory=list)

    @property
    def underlay(self) -> str:
        return f"10.0.16.{20 + self.number}"

    @property
    def vtep(self) -> str:
        return f"10.255.{self.number}.0"

    def counted(self, name: str) -> int:
        return self.datapath.counters()[name]

    def allow(self, *rules: PolicyRule) -> None:
        self.rules.replace(rules)

    def box(self, host: int, tag: int) -> Box:
        address = f"10.255.{self.number}.{host}"
        netns = self.world.netns(f"c{self.number}b{host}")
        veth = f"s-{self.number}-{host}"
        here, there = mac("aa:aa", address), mac("ee:ee", address)
        ip(self.netns, "link", "add", veth, "address", here, "mtu", "1450", "type", "veth", "peer",
           "name", "eth0", "netns", netns, "address", there, "mtu", "1450")  # fmt: skip
        ip(self.netns, "addr", "add", GATEWAY, "peer", f"{address}/32", "dev", veth)
        ip(netns, "addr", "add", address, "peer", f"{GATEWAY}/32", "dev", "eth0")
        for name, device in ((self.netns, veth), (netns, "eth0")):
            ip(name, "link", "set", device, "arp", "off", "up")
        ip(self.netns, "neigh", "add", address, "lladdr", there, "dev", veth, "nud", "permanent")
        ip(netns, "neigh", "add", GATEWAY, "lladdr", here, "dev", "eth0", "nud", "permanent")
        ip(netns, "route", "add", "default", "via", GATEWAY, "src", address)
        box = Box(self.world, netns, address, veth, self.ifindex(veth))
        self.datapath.set_container(box.ifindex, address, there, tag)
        links = self.links / veth
        self.world.do(self.datapath.attach_veth, box.ifindex, links, netns=self.netns)
        hooks = self.world.do(self.datapath.attached, links, netns=self.netns)
        assert hooks == {"tc_from_container", "tc_to_container"}
        self.boxes.append(box)
        return box

    def ifindex(self, name: str) -> int:
        return int(ip(self.netns, "-o", "link", "show", name).split(":")[0])


class Network:
    """The underlay: a bridge with two cells, a router and a stranger."""

    def __init__(self, world: World, bpffs: Path, params: CellParams) -> None:
        self.world = world
        self.fabric = world.netns("fab")
        ip(self.fabric, "link", "add", "br0", "type", "bridge")
        ip(self.fabric, "link", "set", "br0", "up")
        self.router = self.node("rt", ROUTER)
        self.stranger = self.node("st", STRANGER)
        self.cells = [self._cell(n, bpffs, params) for n in (1, 2)]
        for cell, other in (self.cells, self.cells[::-1]):
            self._peer(cell, other)

    def node(self, role: str, address: str) -> str:
        netns = self.world.netns(role)
        ip(self.fabric, "link", "add", f"p-{role}", "type", "veth", "peer", "name", "eth0",
           "netns", netns)  # fmt: skip
        ip(self.fabric, "link", "set", f"p-{role}", "master", "br0", "up")
        ip(netns, "addr", "add", f"{address}/24", "dev", "eth0")
        ip(netns, "link", "set", "eth0", "up")
        return netns

    def _cell(self, number: int, bpffs: Path, params: CellParams) -> Cell:
        netns = self.node(f"c{number}", f"10.0.16.{20 + number}")
        pins = bpffs / f"cell-{number}"
        datapath = CellDatapath.open(pins, params)
        self.world.stack.callback(datapath.close)
        rules = PolicyRules.open(pins)
        self.world.stack.callback(rules.close)
        cell = Cell(self.world, netns, number, datapath, rules, bpffs / f"links-{number}")
        datapath.set_routers([ROUTER])
        sysctl(netns, "net.ipv4.ip_forward=1")
        ip(netns, "addr", "add", f"{DNS}/32", "dev", "lo")
        ip(netns, "link", "add", "silk-vtep", "address", mac("ee:ee", cell.vtep), "type", "vxlan",
           "id", "1", "dev", "eth0", "local", cell.underlay, "dstport", "4789", "nolearning",
           "gbp")  # fmt: skip
        ip(netns, "addr", "add", f"{cell.vtep}/16", "dev", "silk-vtep")
        ip(netns, "link", "set", "silk-vtep", "up")
        return cell

    def _peer(self, cell: Cell, other: Cell) -> None:
        there = mac("ee:ee", other.vtep)
        ip(cell.netns, "route", "add", f"10.255.{other.number}.0/24", "via", other.vtep,
           "dev", "silk-vtep", "src", cell.vtep, "onlink")  # fmt: skip
        ip(cell.netns, "neigh", "add", other.vtep, "lladdr", there, "dev", "silk-vtep", "nud",
           "permanent")  # fmt: skip
        run("ip", "netns", "exec", cell.netns, "bridge", "fdb", "add", there, "dev", "silk-vtep",
            "dst", other.underlay)  # fmt: skip

    def host_port(self, cell: Cell, box: Box) -> tuple[str, int]:
        run("ip", "netns", "exec", cell.netns, "iptables-legacy", "-t", "nat", "-A", "PREROUTING",
            "-d", cell.underlay, "-p", "tcp", "--dport", str(HOST_PORT), "-j", "DNAT", "--to",
            f"{box.address}:8080")  # fmt: skip
        return cell.underlay, HOST_PORT


def serve_echo(say, address: str, port: int):
    """Echo until told otherwise; says each connection's peer and how it ended."""
    with socket.create_server((address, port)) as listener:
        say("ready")
        while True:
            connection, peer = listener.accept()
            with connection:
                try:
                    while data := connection.recv(65536):
                        connection.sendall(data)
                    say((peer[0], "closed"))
                except OSError as exc:
                    say((peer[0], exc.errno))
