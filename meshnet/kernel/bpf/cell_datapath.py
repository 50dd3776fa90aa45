"""A cell's data path: its containers, routers, flows and counters, and what is attached where."""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from meshnet.kernel.bpf import abi, attach, syscall
from meshnet.kernel.bpf.addresses import (
    address_be,
    address_text,
    mac_bytes,
    mac_text,
    network_be,
    u16_be,
)
from meshnet.kernel.bpf.maps import Map, read_counters
from meshnet.kernel.bpf.objects import Objects
from meshnet.kernel.bpf.source import (
    APP_HOOKS,
    CELL_HOOKS,
    SIDECAR_HOOKS,
    SPLICE_HOOK,
    VETH_HOOKS,
)
from meshnet.model.errors import InputError
from meshnet.model.modes import MODES, Redirection

MAX_TAG = 0xFFFF
_ONE = 1
_ENDS = "<II8x"  # of an abi.FlowKey: both addresses


@dataclass(frozen=True)
class CellParams:
    """Constants of a cell's programs.

    Attributes:
        vip_network: addresses that belong to the sidecars (IPv4 CIDR).
        overlay_network: all containers of all cells (IPv4 CIDR).
        underlay_network: the cells' and routers' own network (IPv4 CIDR).
        gateway: the cell as its containers see it.
        dns_address: the resolver containers may always ask.
        proxy_port: the sidecar's outbound port on loopback.
        lease_prefix: length of a cell's lease; its first address is the cell's VTEP, which
            containers must not reach.
    """

    vip_network: str
    overlay_network: str
    underlay_network: str
    gateway: str
    dns_address: str
    proxy_port: int = 15001
    lease_prefix: int = 24

    def config(self) -> abi.Config:
        """The value of map `configs`.

        Raises:
            InputError: an address, network, port or prefix makes no sense.
        """
        vip_net, vip_mask = network_be(self.vip_network)
        overlay_net, overlay_mask = network_be(self.overlay_network)
        network_be(self.underlay_network)
        if not 1 <= self.lease_prefix <= 31:
            raise InputError(f"a lease prefix of {self.lease_prefix} leaves no room for containers")
        _, lease_mask = network_be(f"0.0.0.0/{self.lease_prefix}")
        return abi.Config(
            vip_net_be=vip_net,
            vip_mask_be=vip_mask,
            overlay_net_be=overlay_net,
            overlay_mask_be=overlay_mask,
            lease_host_mask_be=lease_mask ^ 0xFFFFFFFF,
            gateway_be=address_be(self.gateway),
            dns_be=address_be(self.dns_address),
            proxy_port_be=u16_be(self.proxy_port),
        )


@dataclass(frozen=True)
class Container:
    """What the programs know of a container: address, MAC address and policy tag (0: unknown)."""

    address: str
    mac: str
    tag: int


class CellDatapath:
    """The cell agent's handle. `close` closes descriptors only: packets keep flowing."""

    def __init__(self, objects: Objects) -> None:
        self._objects = objects
        maps = objects.maps
        index = ctypes.c_uint32
        self._containers = Map(maps["containers"], index, abi.Container)
        self._redirects = Map(maps["redirects"], ctypes.c_uint64, abi.Redirect)
        self._routers = Map(maps["routers"], index, ctypes.c_uint8)
        self._flows = [Map(maps[name], abi.FlowKey, abi.FlowVal) for name in ("ct_in", "ct_out")]

    @classmethod
    def open(cls, pin_dir: Path, params: CellParams) -> CellDatapath:
        """Load and pin everything below `pin_dir`, or adopt what is pinned there.

        Attached links stay on the programs they have: call the attach methods again to move them
        to the present ones.

        Raises:
            InputError: `params` makes no sense.
            KernelError: see `Objects.open`.
            PlatformError: the programs cannot be compiled on this machine.
        """
        config = params.config()
        objects = Objects.open(pin_dir, CELL_HOOKS)
        Map(objects.maps["configs"], ctypes.c_uint32, abi.Config).set(ctypes.c_uint32(0), config)
        splice = objects.programs[SPLICE_HOOK.name]
        syscall.prog_attach(splice, objects.maps["spliced"], SPLICE_HOOK.attach_type)
        return cls(objects)

    def close(self) -> None:
        """Close all descriptors; what is pinned and attached stays."""
        self._objects.close()

    # --- attaching ---

    def attach_app(self, cgroup_dir: Path, link_dir: Path) -> None:
        """Attach the socket hooks of an app to its (cgroup2) directory, before its first exec."""
        attach.attach_cgroup(APP_HOOKS, self._objects.programs, cgroup_dir, link_dir)

    def attach_sidecar(self, cgroup_dir: Path, link_dir: Path) -> None:
        """Attach the hook that answers SO_ORIGINAL_DST to a sidecar's (cgroup2) directory."""
        attach.attach_cgroup(SIDECAR_HOOKS, self._objects.programs, cgroup_dir, link_dir)

    def attach_veth(self, ifindex: int, link_dir: Path) -> None:
        """Attach both tc programs to a container's veth in the caller's network namespace."""
        attach.attach_interface(VETH_HOOKS, self._objects.programs, ifindex, link_dir)

    @staticmethod
    def attached(link_dir: Path) -> set[str]:
        """Names of the hooks pinned in `link_dir` and alive."""
        return attach.attached(link_dir)

    @staticmethod
    def detach(link_dir: Path) -> None:
        """Detach what is pinned in `link_dir` and remove the directory."""
        attach.detach(link_dir)

    # --- containers ---

    def set_container(self, ifindex: int, address: str, mac: str, tag: int) -> None:
        """Say whose veth this is. Until then everything on it is dropped.

        Raises:
            InputError: not an address, a MAC address, or a tag of 0 (unknown yet) to 65535.
        """
        if not 0 <= tag <= MAX_TAG:
            raise InputError(f"policy tag {tag} is not between 0 and {MAX_TAG}")
        value = abi.Container(addr_be=address_be(address), tag=tag)
        value.mac[:] = mac_bytes(mac)
        self._containers.set(ctypes.c_uint32(ifindex), value)

    def delete_container(self, ifindex: int) -> None:
        """Forget a veth; unknown ones are no error."""
        self._containers.delete(ctypes.c_uint32(ifindex))

    def containers(self) -> dict[int, Container]:
        """All known containers by the ifindex of their veth."""
        return {
            key.value: Container(address_text(v.addr_be), mac_text(bytes(v.mac)), v.tag)
            for key, v in self._containers.items()
        }

    def set_redirect(self, netns_cookie: int, address: str, redirection: Redirection) -> None:
        """Say how connections to VIPs out of a container's namespace are carried from now on."""
        value = abi.Redirect(
            addr_be=address_be(address),
            mode=MODES.index(redirection.mode),
            sockmap=redirection.sockmap,
        )
        self._redirects.set(ctypes.c_uint64(netns_cookie), value)

    def delete_redirect(self, netns_cookie: int) -> None:
        """Forget a namespace; unknown ones are no error."""
        self._redirects.delete(ctypes.c_uint64(netns_cookie))

    def redirects(self) -> dict[int, tuple[str, Redirection]]:
        """(address, redirection) of every namespace, by its cookie."""
        return {
            key.value: (address_text(v.addr_be), Redirection(MODES[v.mode], bool(v.sockmap)))
            for key, v in self._redirects.items()
        }

    def set_routers(self, addresses: Iterable[str]) -> None:
        """Exactly these underlay addresses may open connections to containers without a policy."""
        wanted = {address_be(address) for address in addresses}
        present = {key.value for key in self._routers.keys()}  # noqa: SIM118 - a walk, not a dict
        for address in wanted - present:
            self._routers.set(ctypes.c_uint32(address), ctypes.c_uint8(_ONE))
        for address in present - wanted:
            self._routers.delete(ctypes.c_uint32(address))

    # --- flows and counters ---

    def purge_flows(self, address: str) -> int:
        """Forget the tracked flows from and to an address that is to be used anew; how many."""
        value, gone = address_be(address), 0
        for flows in self._flows:
            for packed in flows.packed_keys():
                ends = struct.iter_unpack(_ENDS, packed)
                for number in [n for n, pair in enumerate(ends) if value in pair]:
                    key = abi.FlowKey.from_buffer_copy(packed, number * ctypes.sizeof(abi.FlowKey))
                    gone += flows.delete(key)
        return gone

    def counters(self) -> dict[str, int]:
        """How often each verdict was reached since the maps were made, by its name."""
        return read_counters(self._objects.maps["counters"])
