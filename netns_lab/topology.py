"""A lab file as a value: checked, with every address derived. Pure but for reading the file."""

from __future__ import annotations

import ipaddress
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from meshnet.model.errors import Conflict, InputError
from meshnet.model.modes import EBPF, Redirection

FABRIC = "fabric"  # the node that holds the bridge; in every lab, never in a file
AUTO = "auto"
SQLITE, ETCD = "sqlite", "etcd"
AUTO_BASE = ipaddress.IPv4Network("10.0.16.0/20")
HOST_OFFSET = 1
LB_CHECK_OFFSET = 9  # the lb's own address: a router would drop packets from its shared one
# Role to (first offset into the underlay, how many fit).
_OFFSETS = {
    "control": (2, 1),
    "lb": (10, 1),
    "router": (11, 9),
    "cell": (21, 75),
    "client": (100, 50),
}
_NEEDED = ("control", "lb", "router", "cell")
_DEFAULTS: dict[str, Any] = {
    "underlay": AUTO,
    "overlay": "10.255.0.0/16",
    "vips": "127.128.0.0/9",
    "vxlan": {},
    "system_domain": "sys.mesh.lab",
    "domains": [
        {"name": "istio.mesh.lab", "istio": True},
        {"name": "istio.apps.internal", "internal": True, "istio": True},
        {"name": "apps.internal", "internal": True},
    ],
    "users": {"admin": "admin"},
    "mode": EBPF,
    "sockmap": False,
    "store": SQLITE,
}


@dataclass(frozen=True)
class Node:
    """A node: its name, its role, its position among those of its role (from 0).

    Attributes:
        mode, sockmap: a cell's own redirection; empty and None = the lab's.
        room: how many instances a cell takes; None = as many as fit into the memory.
    """

    name: str
    role: str
    position: int
    mode: str = ""
    sockmap: bool | None = None
    room: int | None = None


@dataclass(frozen=True)
class Domain:
    """A shared domain."""

    name: str
    internal: bool = False
    istio: bool = False


@dataclass(frozen=True)
class Topology:
    """A lab. `underlay` is "auto" until a network was leased for it."""

    name: str
    underlay: str
    overlay: str
    vips: str
    vni: int
    vxlan_port: int
    system_domain: str
    domains: tuple[Domain, ...]
    users: Mapping[str, str]
    nodes: tuple[Node, ...]
    mode: str = EBPF
    sockmap: bool = False
    store: str = SQLITE

    def redirection(self, cell: Node) -> Redirection:
        """How a cell's apps' connections are carried, but for apps with a mode of their own.

        Raises:
            InputError: sockmap in a mode that has no use for it.
        """
        mode = cell.mode or self.mode
        inherited = self.sockmap and mode == EBPF
        return Redirection(mode, inherited if cell.sockmap is None else cell.sockmap)

    def netns(self, node: str) -> str:
        """The name of a node's network namespace."""
        return f"{self.name}-{node}"

    @property
    def host_link(self) -> str:
        """The lab's link in the root namespace."""
        return f"mn-{self.name}"

    def at(self, offset: int) -> str:
        """An underlay address."""
        return str(ipaddress.IPv4Network(self.underlay)[offset])

    def address(self, node: Node) -> str:
        """A node's underlay address."""
        return self.at(_OFFSETS[node.role][0] + node.position)

    @property
    def prefix(self) -> int:
        """Length of the underlay's prefix."""
        return ipaddress.IPv4Network(self.underlay).prefixlen

    def of(self, role: str) -> list[Node]:
        """The nodes of a role."""
        return [node for node in self.nodes if node.role == role]

    @property
    def control_ip(self) -> str:
        """The control node's address."""
        return self.address(self.of("control")[0])

    @property
    def public_ip(self) -> str:
        """The address that the load balancer shares with the routers."""
        return self.address(self.of("lb")[0])

    def lease(self, cell: Node) -> str:
        """The overlay subnet kept for a cell: 10.255.N.0/24 for cell-N."""
        subnets = ipaddress.IPv4Network(self.overlay)
        size = 1 << (32 - 24)
        base = int(subnets.network_address) + (cell.position + 1) * size
        return f"{ipaddress.IPv4Address(base)}/24"

    def with_underlay(self, network: str) -> Topology:
        """The same lab on a leased network."""
        return replace(self, underlay=network)


def load(path: Path, name: str | None = None) -> Topology:
    """Read and check a lab file.

    Args:
        name: the lab's name in place of the file's.

    Raises:
        InputError: the file is missing, is no YAML, or describes no lab.
    """
    import yaml

    from netns_lab.schema import SCHEMA

    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as exc:
        reason = getattr(exc, "strerror", None) or "not UTF-8"
        raise InputError(f"cannot read the lab file {path}: {reason}") from exc
    except yaml.YAMLError as exc:
        where = getattr(exc, "problem_mark", None)
        line = f" at line {where.line + 1}" if where else ""
        raise InputError(f"{path} is not YAML{line}") from exc
    if isinstance(document, dict) and name is not None:
        pattern = SCHEMA["properties"]["name"]["pattern"]
        if not re.search(pattern, name):
            raise InputError(f"{name!r} is no name for a lab: it must match {pattern}")
        document = {**document, "name": name}
    try:
        return parse(document)
    except InputError as exc:
        raise type(exc)(f"{path}: {exc}") from exc


def parse(document: Any) -> Topology:
    """Check a lab file's content and make its value. Raises InputError, Conflict."""
    import jsonschema

    from netns_lab.schema import SCHEMA

    checker = jsonschema.Draft202012Validator(SCHEMA)
    if error := jsonschema.exceptions.best_match(checker.iter_errors(document)):
        where = ".".join(str(part) for part in error.absolute_path) or "the file"
        raise InputError(f"{where}: {error.message}")
    values = {**_DEFAULTS, **document}
    topology = Topology(
        name=values["name"],
        underlay=values["underlay"],
        overlay=values["overlay"],
        vips=values["vips"],
        vni=values["vxlan"].get("vni", 1),
        vxlan_port=values["vxlan"].get("port", 4789),
        system_domain=values["system_domain"],
        domains=tuple(Domain(**d) for d in values["domains"]),
        users=values["users"],
        nodes=_nodes(values["nodes"]),
        mode=values["mode"],
        sockmap=values["sockmap"],
        store=values["store"],
    )
    _check(topology)
    return topology


def _nodes(rows: Iterable[Mapping[str, Any]]) -> tuple[Node, ...]:
    seen: Counter[str] = Counter()
    nodes = []
    for row in rows:
        own = row.get("mode", ""), row.get("sockmap"), row.get("room")
        nodes.append(Node(row["name"], row["role"], seen[row["role"]], *own))
        seen[row["role"]] += 1
    return tuple(nodes)


def _check(topology: Topology) -> None:
    names = Counter(node.name for node in topology.nodes)
    if twice := next((name for name, count in names.items() if count > 1), None):
        raise Conflict(f"two nodes are named {twice!r}")
    if FABRIC in names:
        raise Conflict(f"{FABRIC!r} is the name of the node every lab has; take another")
    domains = Counter(d.name for d in topology.domains)
    if twice := next((name for name, count in domains.items() if count > 1), None):
        raise Conflict(f"two domains are named {twice!r}")
    for role, (_, count) in _OFFSETS.items():
        if len(topology.of(role)) > count:
            raise InputError(
                f"{len(topology.of(role))} nodes of role {role!r}: at most {count} fit"
            )
    if missing := next((role for role in _NEEDED if not topology.of(role)), None):
        raise InputError(f"no node has the role {missing!r}: a lab needs at least one")
    if not any(d.istio for d in topology.domains):
        raise InputError("no domain is `istio: true`: the mesh would serve nothing")
    Redirection(topology.mode, topology.sockmap)
    for node in topology.nodes:
        if node.role != "cell" and (node.mode or node.sockmap is not None):
            raise InputError(f"{node.name} is no cell: only cells have a mode")
        if node.role != "cell" and node.room is not None:
            raise InputError(f"{node.name} is no cell: only cells have room for instances")
        topology.redirection(node)
    check_networks(topology, ())


def check_networks(topology: Topology, taken: Iterable[tuple[str, str]]) -> None:
    """Refuse networks that make no sense or overlap.

    Args:
        taken: (network, who has it) outside the lab; only the underlay can clash with those.

    Raises:
        InputError: a network is malformed or too small.
        Conflict: two networks overlap.
    """
    own = [("overlay", network(topology.overlay)), ("vips", network(topology.vips))]
    if topology.underlay != AUTO:
        underlay = network(topology.underlay)
        if underlay.prefixlen > 24:
            raise InputError(f"underlay: {underlay} is too small, a lab wants a /24")
        for other, who in taken:
            if underlay.overlaps(network(other)):
                raise Conflict(f"underlay: {underlay} overlaps {other}, which {who} has")
        own.append(("underlay", underlay))
    if own[0][1].prefixlen > 23:
        raise InputError(f"overlay: {own[0][1]} is too small for /24 leases")
    if not own[1][1].subnet_of(ipaddress.IPv4Network("127.0.0.0/8")):
        raise InputError(f"vips: {own[1][1]} must lie in 127.0.0.0/8, which no packet leaves")
    if ipaddress.IPv4Address("127.0.0.1") in own[1][1]:
        raise InputError(f"vips: {own[1][1]} holds 127.0.0.1")
    for index, (name, one) in enumerate(own):
        for other_name, other_network in own[index + 1 :]:
            if one.overlaps(other_network):
                raise Conflict(f"{name} {one} overlaps {other_name} {other_network}")


def network(text: str) -> ipaddress.IPv4Network:
    """Parse a network. Raises InputError."""
    try:
        return ipaddress.IPv4Network(text)
    except ValueError as exc:
        raise InputError(f"{text!r} is no IPv4 network: {exc}") from exc


def free_network(taken: Iterable[tuple[str, str]]) -> str:
    """The first /24 for a lab that overlaps nothing taken. Raises Conflict."""
    used = [network(text) for text, _ in taken]
    # The first one is the default lab's own, and the last to be given to another.
    first, *others = AUTO_BASE.subnets(new_prefix=24)
    for candidate in (*others, first):
        if not any(candidate.overlaps(one) for one in used):
            return str(candidate)
    raise Conflict(f"no free /24 in {AUTO_BASE}: take a lab down, or name an underlay in the file")
