"""`meshnet run ingress`: becomes the ingress Envoy of a router.

It drops its privileges and executes Envoy, so that the supervisor watches
Envoy itself. A small child waits until Envoy is live, says so to the supervisor and ends.
"""

from __future__ import annotations

import dataclasses
import http.client
import json
import os
import socket
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from meshnet.kernel import mounts
from meshnet.model.patience import patient
from meshnet.proxy.bootstrap import (
    SDS_FILE,
    envoy_argv,
    envoy_bootstrap,
    file_secrets,
    node_id,
    shown_secret,
)
from meshnet.wire import runtime
from meshnet.wire.tls import Tls

# Where Envoy sees its own directory, and nothing else of any lab.
_SHOWN = Path("/run/meshnet")
_CERTIFICATES = Path("istio")  # below /etc
_LIVE_WITHIN_SECONDS = 60.0
_POLL_SECONDS = 0.05


@dataclass(frozen=True)
class Config:
    """Which router this is, where Pilot is, and what to run as whom.

    Attributes:
        run_dir: Envoy's own directory; its `etc` is what Envoy has as /etc, with the certificates
            that the gateway names: `etc/istio/NAME/`, each with `tls.crt` and `tls.key`.
        tls: files below `run_dir`, to show to Pilot; None = plain.
    """

    node_name: str
    underlay_ip: str
    public_ip: str
    pilot_addr: str
    envoy: str
    run_dir: str
    uid: int
    tls: Tls | None = None


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=1.0)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def live(admin_socket: str) -> bool:
    """Whether the Envoy with this admin socket has had its first configuration (GET /ready)."""
    connection = _UnixConnection(admin_socket)
    try:
        connection.request("GET", "/ready")
        return connection.getresponse().status == http.client.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def run(config: dict[str, Any]) -> None:
    """Entry point of the daemon; does not return."""
    c = runtime.parse(Config, config)
    run_dir = Path(c.run_dir)
    run_dir.mkdir(parents=True, exist_ok=True)
    os.chown(run_dir, c.uid, c.uid)
    admin = run_dir / "admin.sock"
    admin.unlink(missing_ok=True)
    bootstrap = envoy_bootstrap(
        node_id=node_id("router", c.underlay_ip, c.node_name),
        cluster="istio-router",
        ads_target=c.pilot_addr,
        admin_socket="admin.sock",
        metrics_address=c.underlay_ip,
        pilot_secrets=_secrets(c, run_dir),
    )
    if os.fork() == 0:
        _announce(str(admin))
    # Envoy's user can enter none of the directories above its own. It sees that one in place of all
    # that is secret, and the bootstrap goes on the command line.
    etc = _certificates(run_dir)
    mounts.show_only_here({etc: Path("/etc"), run_dir: _SHOWN})
    os.chdir(_SHOWN)
    os.setgroups([])
    os.setresgid(c.uid, c.uid, c.uid)
    os.setresuid(c.uid, c.uid, c.uid)
    os.execv(c.envoy, envoy_argv(c.envoy, ("--config-yaml", json.dumps(bootstrap))))


def _secrets(config: Config, run_dir: Path) -> dict[str, str] | None:
    """Write what Envoy reads its certificate and its CAs by; their paths, as Envoy sees them."""
    if not config.tls:
        return None
    shown = {
        name: str(_SHOWN / Path(path).relative_to(run_dir))
        for name, path in dataclasses.asdict(config.tls).items()
    }
    paths = {}
    for name, secret in file_secrets(**shown).items():
        path = run_dir / f"{name}.json"
        path.write_text(json.dumps(secret), encoding="utf-8")
        paths[name] = str(_SHOWN / path.name)
    return paths


def _certificates(run_dir: Path) -> Path:
    """Write what Envoy reads clients' certificates by; the directory that is to be its /etc."""
    etc = run_dir / "etc"
    etc.mkdir(exist_ok=True)
    for directory in (etc / _CERTIFICATES).glob("*"):
        secret = shown_secret(str(Path("/etc") / directory.relative_to(etc)))
        (directory / SDS_FILE).write_text(json.dumps(secret), encoding="utf-8")
    return etc


def _announce(admin: str) -> None:
    deadline = time.monotonic() + patient(_LIVE_WITHIN_SECONDS)
    while time.monotonic() < deadline:
        if live(admin):
            runtime.notify_ready()
            break
        time.sleep(_POLL_SECONDS)
    os._exit(0)
