"""Which daemon runs in which node, with which configuration. Pure."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from meshnet.capi.uaa.keys import PUBLIC
from meshnet.wire.tls import Tls
from netns_lab import etcd
from netns_lab.paths import Paths
from netns_lab.topology import ETCD, LB_CHECK_OFFSET, Node, Topology

ENVOY_UID = 50001
_DNS = "169.254.0.2"
# What a lab's own daemons take, and an instance: its sidecar (22 MiB), a small app, shims, kernel.
_LAB_MIB, _INSTANCE_MIB = 2048, 48
_LEAST_ROOM, _MOST_ROOM = 16, 250
_WITHOUT_TLS = ("observe", "lb")  # neither a peer nor a port: unix sockets, the kernel
_SERVICES = {
    "bbs": ("bbs",),
    "copilot": ("copilot",),
    "lease": ("silk-controller",),
    "policy": ("policy-server",),
    "capi": ("cloud-controller-ng", "uaa"),
    "pilot": ("pilot",),
    "logcache": ("log-cache", "doppler"),
}


@dataclass(frozen=True)
class Secrets:
    """What only the lab's own components know."""

    internal_password: str


@dataclass(frozen=True)
class Daemon:
    """One process: `meshnet run <room>` in a node."""

    node: str
    room: str
    config: dict[str, Any]
    number: int = 0  # where a node runs several of a room

    @property
    def name(self) -> str:
        """As in logs and status: node.room, or node.room-number."""
        return f"{self.node}.{self.room}" + (f"-{self.number}" if self.number else "")


def daemons(
    topology: Topology, paths: Paths, secrets: Secrets, envoy: str, *, memory_mib: int = 8192
) -> list[Daemon]:
    """Every daemon of a lab, in the order in which they are started.

    Args:
        memory_mib: what this machine has in all; how many instances a cell takes follows from it.
    """
    found = _control(topology, paths, secrets)
    most = room(memory_mib, len(topology.of("cell")))
    for cell in topology.of("cell"):
        found += _cell(topology, paths, cell, envoy, cell.room or most)
    for number, router in enumerate(topology.of("router")):
        found += _router(topology, paths, router, number, envoy)
    return [_with_tls(paths, daemon) for daemon in (*found, _lb(topology, paths))]


def _with_tls(paths: Paths, daemon: Daemon) -> Daemon:
    if daemon.room in _WITHOUT_TLS:
        return daemon
    directory = paths.tls(daemon.name)
    if daemon.room == "ingress":  # where its Envoy can get at it
        directory = Path(daemon.config["run_dir"]) / "tls"
    files = dataclasses.asdict(_files(directory))
    return dataclasses.replace(daemon, config={**daemon.config, "tls": files})


def _files(directory: Path) -> Tls:
    # Certificate and key in one file, so that they are renewed at one stroke.
    both = str(directory / "identity.pem")
    return Tls(both, both, str(directory / "ca.pem"))


def frontends(topology: Topology) -> tuple[str, ...]:
    """The names that ingress has a certificate for: all that the mesh serves outside."""
    return tuple(f"*.{d.name}" for d in topology.domains if d.istio and not d.internal)


def shown(run_dir: Path, name: str) -> Path:
    """The directory of an ingress Envoy's certificate for clients, as its gateway names it."""
    return run_dir / "etc" / "istio" / name


def service_names(room: str) -> tuple[str, ...]:
    """Under which names CF's components call a room of the control node."""
    return tuple(f"{name}.service.cf.internal" for name in _SERVICES.get(room, ()))


def room(memory_mib: int, cells: int) -> int:
    """How many instances a cell takes, so that those of all cells fit into the memory."""
    fits = (memory_mib - _LAB_MIB) // _INSTANCE_MIB // cells
    return max(_LEAST_ROOM, min(_MOST_ROOM, fits))


def _control(topology: Topology, paths: Paths, secrets: Secrets) -> list[Daemon]:
    ip, node = topology.control_ip, topology.of("control")[0].name
    store = {room: _store(topology, paths, Daemon(node, room, {})) for room in _STORES}
    static = {topology.address(cell): topology.lease(cell) for cell in topology.of("cell")}
    rooms: dict[str, dict[str, Any]] = {
        "bbs": {"store": store["bbs"]},
        "lease": {"store": store["lease"], "overlay": topology.overlay, "static": static},
        "copilot": {
            "store": store["copilot"],
            "bbs_url": f"https://{ip}:8889",
            "policy_url": f"https://{ip}:4003",
            "vip_range": topology.vips,
            "status_socket": str(paths.socket(node, "copilot")),
            "certificates": _certificates(topology, paths),
        },
        "policy": {
            "store": store["policy"],
            "capi_url": f"https://{ip}:9023",
            "token_keys": str(paths.token_keys / PUBLIC),
            "uaa_secret": secrets.internal_password,
        },
        "logcache": {
            "capi_url": f"https://{ip}:9023",
            "token_keys": str(paths.token_keys / PUBLIC),
        },
        "capi": _capi(topology, paths, secrets, store["capi"]),
    }
    found = [Daemon(node, room, {"listen_host": ip, **c}) for room, c in rooms.items()]
    pilot = {**_pilot(topology, paths, node), "ads_listen": f"{ip}:15010"}
    found += [Daemon(node, "pilot", pilot), Daemon(node, "dns", _dns(topology, ip))]
    return [*_etcd(topology, paths, node), *found]


def _certificates(topology: Topology, paths: Paths) -> list[str]:
    """Every router's certificate for clients says the same, so that one tells the names."""
    run_dir = _router_dir(paths, topology.of("router")[0])
    return [str(shown(run_dir, name) / "tls.crt") for name in frontends(topology)[:1]]


def _router_dir(paths: Paths, router: Node) -> Path:
    return paths.run / "routers" / router.name


def _store(topology: Topology, paths: Paths, daemon: Daemon) -> str:
    if topology.store == ETCD:
        return etcd.url(topology.name, daemon.room, _files(paths.tls(daemon.name)))
    return str(paths.state / f"{daemon.room}.db")


def _etcd(topology: Topology, paths: Paths, node: str) -> list[Daemon]:
    """First of all daemons, for the others wait for them."""
    if topology.store != ETCD:
        return []
    configs = (
        (n, {"member": n, "data_dir": str(paths.state / etcd.name(n))}) for n in etcd.MEMBERS
    )
    return [Daemon(node, etcd.ROOM, config, n) for n, config in configs]


_STORES = ("lease", "bbs", "policy", "copilot", "capi")


def _capi(topology: Topology, paths: Paths, secrets: Secrets, store: str) -> dict[str, Any]:
    ip = topology.control_ip
    return {
        "store": store,
        "droplet_dir": str(paths.state / "droplets"),
        "copilot_addr": f"{ip}:9001",
        "bbs_url": f"https://{ip}:8889",
        "policy_url": f"https://{ip}:4002",
        "policy_internal_url": f"https://{ip}:4003",
        "log_cache_url": f"https://{ip}:8083",
        "log_cache_addr": f"{ip}:8080",
        "token_key_dir": str(paths.token_keys),
        "users": dict(topology.users),
        "internal_user": "internal_user",
        "internal_password": secrets.internal_password,
        "domains": [
            {"name": d.name, "internal": d.internal, "istio": d.istio} for d in topology.domains
        ],
    }


def _pilot(topology: Topology, paths: Paths, node: str) -> dict[str, Any]:
    own = next(topology.address(one) for one in topology.nodes if one.name == node)
    return {
        "node_name": node,
        "mcp_addr": f"{topology.control_ip}:9009",
        "status_socket": str(paths.socket(node, "pilot")),
        "metrics_listen": f"{own}:15014",
    }


def zone(topology: Topology) -> dict[str, list[str]]:
    """The lab's own names."""
    names = {f"{n.name}.{topology.name}.lab": [topology.address(n)] for n in topology.nodes}
    for service in ("api", "uaa", "log-cache"):
        names[f"{service}.{topology.system_domain}"] = [topology.control_ip]
    for room in _SERVICES:
        names |= {name: [topology.control_ip] for name in service_names(room)}
    for domain in topology.domains:
        if not domain.internal:
            names[f"*.{domain.name}"] = [topology.public_ip]
    return names


def _dns(topology: Topology, host: str, proxies_dir: str = "") -> dict[str, Any]:
    ip = topology.control_ip
    return {
        "listen_host": host,
        "bbs_url": f"https://{ip}:8889",
        "vip_resolver_addr": f"{ip}:9002",
        "zone": zone(topology),
        "vip_domains": [d.name for d in topology.domains if d.internal and d.istio],
        "internal_domains": [d.name for d in topology.domains if d.internal and not d.istio],
        "proxies_dir": proxies_dir,
    }


def _cell(topology: Topology, paths: Paths, cell: Node, envoy: str, most: int) -> list[Daemon]:
    ip, name = topology.control_ip, cell.name
    run_dir, pin_dir = paths.run / "cells" / name, paths.bpf / name
    agent = {
        "lab": topology.name,
        "cell_id": name,
        "underlay_ip": topology.address(cell),
        "underlay_network": topology.underlay,
        "overlay_network": topology.overlay,
        "vni": topology.vni,
        "vxlan_port": topology.vxlan_port,
        "vip_range": topology.vips,
        "routers": [topology.address(r) for r in topology.of("router")],
        "lease_url": f"https://{ip}:4103",
        "bbs_url": f"https://{ip}:8889",
        "policy_internal_url": f"https://{ip}:4003",
        "log_cache_addr": f"{ip}:8080",
        "run_dir": str(run_dir),
        "pin_dir": str(pin_dir),
        "ledger": str(paths.cell_ledger(name)),
        "log_dir": str(paths.log),
        "cgroup": f"{paths.cgroup}/{name}",
        "netns_prefix": f"{topology.netns(name)}-",
        "envoy": envoy,
        "status_socket": str(paths.socket(name, "cell")),
        "max_instances": most,
        "identity_ca": str(paths.identity_ca),
        **dataclasses.asdict(topology.redirection(cell)),
    }
    observe = {"pin_dir": str(pin_dir), "socket": str(paths.socket(name, "observe"))}
    announced = str(run_dir / "proxies")
    pilot = {**_pilot(topology, paths, name), "proxies_dir": announced, "pin_dir": str(pin_dir)}
    policy = {"policy_url": f"https://{ip}:4003", "pin_dir": str(pin_dir)}
    return [
        Daemon(name, "cell", agent),
        Daemon(name, "pilot", pilot),
        Daemon(name, "policy-agent", policy),
        Daemon(name, "dns", _dns(topology, _DNS, announced)),
        Daemon(name, "observe", observe),
    ]


def _router(
    topology: Topology, paths: Paths, router: Node, number: int, envoy: str
) -> list[Daemon]:
    ip = topology.control_ip
    ingress = {
        "node_name": router.name,
        "underlay_ip": topology.address(router),
        "public_ip": topology.public_ip,
        "pilot_addr": f"{ip}:15010",
        "envoy": envoy,
        "run_dir": str(_router_dir(paths, router)),
        "uid": ENVOY_UID,
    }
    logs = {
        "number": number,
        "log": str(paths.log / f"{router.name}.ingress.log"),
        "bbs_url": f"https://{ip}:8889",
        "log_cache_addr": f"{ip}:8080",
    }
    return [Daemon(router.name, "ingress", ingress), Daemon(router.name, "router-logs", logs)]


def _lb(topology: Topology, paths: Paths) -> Daemon:
    node = topology.of("lb")[0].name
    return Daemon(
        node,
        "lb",
        {
            "public_ip": topology.public_ip,
            "own_ip": topology.at(LB_CHECK_OFFSET),
            "ifname": "eth0",
            "routers": [topology.address(r) for r in topology.of("router")],
            "pin_dir": str(paths.bpf / node),
            "status_socket": str(paths.socket(node, "lb")),
        },
    )
