"""The two containers of an instance: the app's and its sidecar's. All blocking."""

from __future__ import annotations

import dataclasses
import http.client
import json
import os
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from meshnet.cell import identity
from meshnet.cell.config import SIDECAR_UID, Config
from meshnet.cell.environment import HOME, LAUNCHER
from meshnet.cell.process import Process
from meshnet.cell.record import Names, Record
from meshnet.kernel import netns, oci
from meshnet.kernel.oci import BindMount, Container, ContainerSpec
from meshnet.proxy.bootstrap import (
    SIDECAR_DRAIN_SECONDS,
    envoy_argv,
    envoy_bootstrap,
    node_id,
)
from meshnet.wire import proxies

_ENVOY = "/envoy"
_ENVOY_DIR, _ADS_DIR = "/run/envoy", "/run/ads"
_INBOUND = "cluster.inbound.upstream_cx_active"


@dataclass(frozen=True)
class Run:
    """What the app's container runs: the process, with its last arguments and environment."""

    process: Process
    argv: Sequence[str]
    env: Mapping[str, str]


def prepare(config: Config, record: Record, mode: str) -> None:
    """Make the instance's directories and the sidecar's bootstrap, and announce it to Pilot."""
    names = Names(config, record)
    for directory, uid in (
        (names.home, record.uid),
        (names.ads_dir, SIDECAR_UID),
        (names.envoy_dir, SIDECAR_UID),
    ):
        directory.mkdir(parents=True, exist_ok=True)
        directory.chmod(0o700)
        os.chown(directory, uid, uid)
    bootstrap = envoy_bootstrap(
        node_id=node_id("sidecar", record.address, record.guid),
        cluster=record.app_guid,
        ads_target=f"unix:{_ADS_DIR}/ads.sock",
        admin_socket=f"{_ENVOY_DIR}/admin.sock",
        metrics_address=record.address,
    )
    path = names.envoy_dir / "bootstrap.json"
    path.write_text(json.dumps(bootstrap), encoding="utf-8")
    path.chmod(0o644)
    announce(config, record, mode)


def announce(config: Config, record: Record, mode: str) -> None:
    """Tell Pilot and the cell's DNS of the instance's sidecar."""
    proxies.write(
        config.proxies_dir,
        proxies.Sidecar(
            instance_guid=record.guid,
            app_guid=record.app_guid,
            address=record.address,
            socket=str(Names(config, record).ads_dir / "ads.sock"),
            uid=SIDECAR_UID,
            mode=mode,
        ),
    )


def sidecar_spec(config: Config, record: Record) -> ContainerSpec:
    """The sidecar: Envoy, with its own directory and its ADS socket, and nothing of the app's."""
    names = Names(config, record)
    return ContainerSpec(
        id=names.sidecar_id,
        bundle_dir=names.bundle(config, names.sidecar_id),
        argv=envoy_argv(
            _ENVOY,
            ("-c", f"{_ENVOY_DIR}/bootstrap.json"),
            drain_seconds=SIDECAR_DRAIN_SECONDS,
        ),
        env={"PATH": "/usr/bin:/bin"},
        uid=SIDECAR_UID,
        gid=SIDECAR_UID,
        netns_path=netns.path(names.netns),
        cgroup_path=names.sidecar_cgroup,
        shim_cgroup_path=names.shim_cgroup,
        log_path=names.sidecar_log,
        mounts=[
            BindMount(Path(config.envoy), _ENVOY, read_only=True),
            BindMount(names.envoy_dir, _ENVOY_DIR, read_only=False),
            BindMount(names.ads_dir, _ADS_DIR, read_only=True),
        ],
        hostname=f"sidecar-{record.index}",
        init=False,
    )


def app_spec(config: Config, record: Record, run: Run | None = None) -> ContainerSpec:
    """The app: its droplet at /home/vcap, the cell's DNS, its limits.

    Args:
        run: None for a spec that only tells where things are, of a container that was started.
    """
    names = Names(config, record)
    spec = ContainerSpec(
        id=names.app_id,
        bundle_dir=names.bundle(config, names.app_id),
        argv=(),
        env={},
        uid=record.uid,
        gid=record.uid,
        netns_path=netns.path(names.netns),
        cgroup_path=names.app_cgroup,
        shim_cgroup_path=names.shim_cgroup,
        log_path=names.app_log,
        mounts=[
            BindMount(names.home, HOME, read_only=False),
            BindMount(config.launcher, LAUNCHER),
            *([BindMount(names.identity_dir, identity.SHOWN)] if config.identity_ca else []),
        ],
        hostname=record.guid[:13],
        nameserver=config.dns_address,
    )
    if run is None:
        return spec
    limits = run.process
    return dataclasses.replace(
        spec,
        argv=run.argv,
        env=run.env,
        cwd=limits.cwd or f"{HOME}/app",
        memory_bytes=limits.memory_bytes,
        file_bytes=limits.disk_bytes or None,
        pids_limit=limits.pids,
        files_limit=limits.files,
    )


def identity_of(config: Config, record: Record, process: Process) -> identity.Identity | None:
    """The instance's identity; None where this cell gives none."""
    if not config.identity_ca:
        return None
    authority = identity.Authority(Path(config.identity_ca))
    directory = Names(config, record).identity_dir
    return identity.Identity(directory, record, process.units, authority)


def adopt(config: Config, record: Record) -> tuple[Container, Container]:
    """(app, sidecar) of an instance that runs already. Raises NotFound where one has ended."""
    return (
        oci.adopt(app_spec(config, record), config.runc_root),
        oci.adopt(sidecar_spec(config, record), config.runc_root),
    )


def remove(config: Config, record: Record) -> None:
    """Remove both containers, whatever state they are in, and what is known of the instance."""
    proxies.remove(config.proxies_dir, record.guid)
    oci.remove(app_spec(config, record), config.runc_root)
    oci.remove(sidecar_spec(config, record), config.runc_root)


class _Admin(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=1.0)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


def _ask_sidecar(config: Config, record: Record, path: str) -> str | None:
    """GET at Envoy's admin socket; None where it does not answer with 200."""
    admin = _Admin(Names(config, record).envoy_dir / "admin.sock")
    try:
        admin.request("GET", path)
        reply = admin.getresponse()
        return reply.read().decode() if reply.status == http.client.OK else None
    except (OSError, http.client.HTTPException):
        return None
    finally:
        admin.close()


def sidecar_ready(config: Config, record: Record) -> bool:
    """Whether Envoy has its first complete configuration and serves (GET /ready)."""
    return _ask_sidecar(config, record, "/ready") is not None


def inbound_connections(config: Config, record: Record) -> int:
    """How many connections Envoy passes to the app; 0 where it does not answer."""
    text = _ask_sidecar(config, record, f"/stats?filter=^{_INBOUND.replace('.', '%5C.')}$")
    value = (text or "").partition(": ")[2].strip()
    return int(value) if value.isdigit() else 0
