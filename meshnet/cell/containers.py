"""The two containers of an instance: the app's and its sidecar's. All blocking."""

from __future__ import annotations

import http.client
import json
import os
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from meshnet.cell.config import APP_PORT, SIDECAR_UID, Config
from meshnet.cell.plan import listens
from meshnet.cell.record import Names, Record
from meshnet.kernel import netns, oci
from meshnet.kernel.oci import BindMount, Container, ContainerSpec
from meshnet.proxy.bootstrap import envoy_argv, envoy_bootstrap, node_id
from meshnet.wire import proxies

_ENVOY = "/envoy"
_ENVOY_DIR, _ADS_DIR = "/run/envoy", "/run/ads"
_MIB = 1024 * 1024


@dataclass(frozen=True)
class Command:
    """What the app runs."""

    argv: Sequence[str]
    env: Mapping[str, str]
    cwd: str


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
        argv=envoy_argv(_ENVOY, ("-c", f"{_ENVOY_DIR}/bootstrap.json")),
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


def app_spec(config: Config, record: Record, command: Command) -> ContainerSpec:
    """The app: its droplet at /home/vcap, the cell's DNS, its memory limit."""
    names = Names(config, record)
    return ContainerSpec(
        id=names.app_id,
        bundle_dir=names.bundle(config, names.app_id),
        argv=command.argv,
        env=command.env,
        cwd=command.cwd,
        uid=record.uid,
        gid=record.uid,
        netns_path=netns.path(names.netns),
        cgroup_path=names.app_cgroup,
        shim_cgroup_path=names.shim_cgroup,
        log_path=names.app_log,
        mounts=[BindMount(names.home, "/home/vcap", read_only=False)],
        memory_bytes=record.memory_mb * _MIB,
        hostname=record.guid[:13],
        nameserver=config.dns_address,
    )


def adopt(config: Config, record: Record) -> tuple[Container, Container]:
    """(app, sidecar) of an instance that runs already. Raises NotFound where one has ended."""
    nothing = Command((), {}, "/")
    return (
        oci.adopt(app_spec(config, record, nothing), config.runc_root),
        oci.adopt(sidecar_spec(config, record), config.runc_root),
    )


def remove(config: Config, record: Record) -> None:
    """Remove both containers, whatever state they are in, and what is known of the instance."""
    nothing = Command((), {}, "/")
    proxies.remove(config.proxies_dir, record.guid)
    oci.remove(app_spec(config, record, nothing), config.runc_root)
    oci.remove(sidecar_spec(config, record), config.runc_root)


class _Admin(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=1.0)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


def sidecar_ready(config: Config, record: Record) -> bool:
    """Whether Envoy has its first complete configuration and serves (GET /ready)."""
    admin = _Admin(Names(config, record).envoy_dir / "admin.sock")
    try:
        admin.request("GET", "/ready")
        return admin.getresponse().status == http.client.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        admin.close()


def app_listens(pid: int) -> bool:
    """Whether something in the process's network namespace listens on the app's port."""
    for name in ("tcp", "tcp6"):
        try:
            text = Path(f"/proc/{pid}/net/{name}").read_text(encoding="ascii")
        except OSError:
            continue
        if listens(text, APP_PORT):
            return True
    return False
