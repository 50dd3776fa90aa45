"""Links, addresses, routes and neighbours: values that say what, `apply` that does it.

A list of operations is applied in one network namespace through one netlink socket, in order. All
but the creation of a link are idempotent (netlink "replace"), so an agent can apply its list again.
"""

from __future__ import annotations

import ipaddress
import random
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from meshnet.kernel import netns as namespaces
from meshnet.model.errors import Conflict, InputError, KernelError, NotFound

if TYPE_CHECKING:
    from pyroute2 import IPRoute

T = TypeVar("T")

NUD_PERMANENT = 0x80
_IFF_NOARP = 0x80
RTNH_F_ONLINK = 4
_SCOPES = {"global": 0, "link": 253, "host": 254}
_EEXIST, _ENODEV, _ENOENT, _EINVAL = 17, 19, 2, 22


@dataclass(frozen=True)
class Bridge:
    """Make a bridge, up. `ifindex` 0: the kernel's choice (see `unused_ifindex`)."""

    name: str
    mac: str = ""
    mtu: int = 0
    ifindex: int = 0


@dataclass(frozen=True)
class Veth:
    """Make a veth pair: `name` here, `peer` in `peer_netns` (a name in /run/netns; "": here)."""

    name: str
    peer: str
    peer_netns: str = ""
    mac: str = ""
    peer_mac: str = ""
    mtu: int = 0
    ifindex: int = 0


@dataclass(frozen=True)
class Delete:
    """Delete a link; with `ifindex` only if the name still has it. NotFound if it is gone."""

    name: str
    ifindex: int = 0


@dataclass(frozen=True)
class Change:
    """Change what is given of a link: state, ARP, MTU, MAC, the bridge it is a port of."""

    name: str
    up: bool | None = None
    arp: bool | None = None
    mtu: int = 0
    mac: str = ""
    master: str = ""


@dataclass(frozen=True)
class Address:
    """Give a link an address with its prefix ("10.0.16.2/24"), or a /32 with a `peer` address."""

    name: str
    address: str
    peer: str = ""
    scope: str = "global"


@dataclass(frozen=True)
class Route:
    """Route `to` ("default" or a network) over a link and/or a gateway.

    `onlink`: the gateway is reachable on the link although no route says so.
    """

    to: str
    name: str = ""
    via: str = ""
    src: str = ""
    onlink: bool = False
    scope: str = ""


@dataclass(frozen=True)
class Neighbour:
    """A permanent neighbour (ARP) entry: `address` has `mac`."""

    name: str
    address: str
    mac: str


@dataclass(frozen=True)
class Sysctl:
    """Set a kernel parameter of the namespace (keys as in netns.sysctl)."""

    key: str
    value: str | int


Operation = Bridge | Veth | Delete | Change | Address | Route | Neighbour | Sysctl


@dataclass(frozen=True)
class Link:
    """A link as the kernel describes it."""

    name: str
    ifindex: int
    kind: str
    mac: str
    mtu: int
    up: bool


def apply(netns: str | Path | None, operations: Sequence[Operation]) -> None:
    """Carry the operations out, in order, inside `netns` (None: the caller's own namespace).

    Raises:
        Conflict: a link or an address to make exists already.
        NotFound: the namespace or a link named does not exist.
        KernelError: the kernel refused; the text names the operation. What came before it stays.
    """

    def work() -> None:
        with _Session() as session:
            for operation in operations:
                session.carry_out(operation)

    namespaces.run(netns, work)


def show(netns: str | Path | None = None) -> list[Link]:
    """The links of a namespace."""

    def work() -> list[Link]:
        with _Session() as session:
            return [_link(message) for message in session.ip.get_links()]

    return namespaces.run(netns, work)


def ifindex(name: str, netns: str | Path | None = None) -> int:
    """The number of link `name` in a namespace.

    Raises:
        NotFound: there is no such link.
    """

    return index(name) if netns is None else namespaces.run(netns, lambda: index(name))


def index(name: str) -> int:
    """The number of link `name` in the calling thread's namespace (for work given to netns.run).

    Raises:
        NotFound: there is no such link.
    """
    try:
        return socket.if_nametoindex(name)
    except OSError as exc:
        raise NotFound(f"no link {name}") from exc


def with_socket(netns: str | Path | None, what: str, work: Callable[[IPRoute], T]) -> T:
    """Run `work` with a netlink socket in a namespace; `what` it does goes into error texts."""

    def inside() -> T:
        from pyroute2.netlink.exceptions import NetlinkError

        with _Session() as session:
            try:
                return work(session.ip)
            except NetlinkError as exc:
                raise KernelError(f"cannot {what}: {exc.args[-1]}", exc.code) from exc

    return namespaces.run(netns, inside)


def unused_ifindex() -> int:
    """A number to give a new link, so that a ledger can name the link before it exists.

    Random in a range the kernel, which counts up from 1, does not reach.
    """
    return random.randrange(1 << 24, 1 << 30)


class _Session:
    """One netlink socket of the calling thread's namespace. Owner: a `with` block."""

    def __init__(self) -> None:
        from pyroute2 import IPRoute  # 140 ms: only who touches links pays

        self.ip: IPRoute = IPRoute()

    def __enter__(self) -> _Session:
        return self

    def __exit__(self, *_: object) -> None:
        self.ip.close()

    def carry_out(self, operation: Operation) -> None:
        from pyroute2.netlink.exceptions import NetlinkError

        try:
            getattr(self, "_" + type(operation).__name__.lower())(operation)
        except NetlinkError as exc:
            raise _translated(exc.code, exc.args[-1], operation) from exc
        except OSError as exc:
            raise _translated(exc.errno or 0, str(exc.strerror), operation) from exc

    def _bridge(self, op: Bridge) -> None:
        self.ip.link("add", ifname=op.name, kind="bridge", state="up", **_given(op))

    def _veth(self, op: Veth) -> None:
        peer: dict[str, Any] = {"ifname": op.peer}
        if op.peer_mac:
            peer["address"] = op.peer_mac
        if op.mtu:
            peer["mtu"] = op.mtu
        if op.peer_netns:
            peer["net_ns_fd"] = str(namespaces.path(op.peer_netns))
        self.ip.link("add", ifname=op.name, kind="veth", peer=peer, **_given(op))

    def _delete(self, op: Delete) -> None:
        found = index(op.name)
        if op.ifindex and op.ifindex != found:
            raise NotFound(f"link {op.name} is another one now")
        self.ip.link("del", index=found)

    def _change(self, op: Change) -> None:
        values = _given(op)
        if op.up is not None:
            values["state"] = "up" if op.up else "down"
        if op.arp is not None:
            values["flags"] = 0 if op.arp else _IFF_NOARP
            values["change"] = _IFF_NOARP
            if op.up is not None:
                values["flags"] |= 1 if op.up else 0
                values["change"] |= 1
                del values["state"]
        if op.master:
            values["master"] = index(op.master)
        self.ip.link("set", index=index(op.name), **values)

    def _address(self, op: Address) -> None:
        where = ipaddress.ip_interface(op.address)
        values: dict[str, Any] = {"local": str(where.ip), "prefixlen": where.network.prefixlen}
        values["address"] = op.peer or str(where.ip)
        values["scope"] = _SCOPES[op.scope]
        self.ip.addr("replace", index=index(op.name), **values)

    def _route(self, op: Route) -> None:
        values: dict[str, Any] = {"dst": "0.0.0.0/0" if op.to == "default" else op.to}
        if op.name:
            values["oif"] = index(op.name)
        if op.via:
            values["gateway"] = op.via
        if op.src:
            values["prefsrc"] = op.src
        if op.onlink:
            values["flags"] = RTNH_F_ONLINK
        if op.scope:
            values["scope"] = _SCOPES[op.scope]
        self.ip.route("replace", **values)

    def _neighbour(self, op: Neighbour) -> None:
        self.ip.neigh(
            "replace",
            dst=op.address,
            lladdr=op.mac,
            ifindex=index(op.name),
            state=NUD_PERMANENT,
        )

    def _sysctl(self, op: Sysctl) -> None:
        namespaces.set_sysctl(op.key, op.value)


def _given(op: Bridge | Veth | Change) -> dict[str, Any]:
    values: dict[str, Any] = {}
    if op.mac:
        values["address"] = op.mac
    if op.mtu:
        values["mtu"] = op.mtu
    if not isinstance(op, Change) and op.ifindex:
        values["index"] = op.ifindex
    return values


def _translated(code: int, text: str, op: Operation) -> Exception:
    if code == _EEXIST:
        return Conflict(f"{op} exists already")
    if code == _ENODEV:
        return NotFound(f"no link for {op}")
    if code == _EINVAL and isinstance(op, Address):
        return InputError(f"the kernel takes {op.address} for no address of {op.name}")
    return KernelError(f"cannot apply {op}: {text}", code)


def _link(message: Any) -> Link:
    return Link(
        name=message.get_attr("IFLA_IFNAME"),
        ifindex=message["index"],
        kind=message.get_nested("IFLA_LINKINFO", "IFLA_INFO_KIND") or "",
        mac=message.get_attr("IFLA_ADDRESS") or "",
        mtu=message.get_attr("IFLA_MTU") or 0,
        up=bool(message["flags"] & 1),
    )
