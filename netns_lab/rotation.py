"""New certificates, and a new CA, for a lab that goes on working."""

from __future__ import annotations

import json
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from meshnet.model.errors import PlatformError
from meshnet.model.patience import patient
from meshnet.wire.tls import Tls
from netns_lab import etcd, members, networks, pki, status
from netns_lab.certificates import serial
from netns_lab.listeners import LISTENERS
from netns_lab.paths import Paths

_SHOWN_SECONDS, _POLL_SECONDS, _TIMEOUT = 20.0, 0.05, 5.0


def rotate(paths: Paths, progress: Callable[[str], None], *, authority: bool = False) -> int:
    """Give every daemon a new certificate, with `authority` from a new CA; how many there are.

    Returns when everyone who listens shows the new one.

    Raises:
        PlatformError: somebody goes on with another one; with `authority` both CAs stay trusted.
    """
    with networks.locked():
        if authority:
            pki.renew_authority(
                paths, progress, lambda: _wait(paths), lambda: members.restart(paths, progress)
            )
        else:
            progress("new certificates")
            pki.renew(paths)
            _wait(paths)
    return len(pki.used(paths))


def _wait(paths: Paths) -> None:
    deadline = time.monotonic() + patient(_SHOWN_SECONDS)
    while behind := list(_behind(paths)):
        if time.monotonic() > deadline:
            raise PlatformError(f"still with another certificate: {', '.join(behind)}")
        time.sleep(_POLL_SECONDS)


def _behind(paths: Paths) -> Iterator[str]:
    """Whom a certificate was written for who does not show it yet."""
    control = next(n for n in status.lab(paths)["nodes"] if n["role"] == "control")
    files = pki.used(paths)
    for listener in LISTENERS:
        tls = files.get(f"{control['name']}.{listener.room}")
        if tls and _shown(control["address"], listener.port, tls) != _written(tls):
            yield f"{listener.room} at port {listener.port}"
    for number, tls in members.files(paths).items():
        look = partial(_shown, etcd.HOST, etcd.client_port(number), tls)
        if members.inside(paths, look) != _written(tls):
            yield etcd.name(number)
    for name, tls in files.items():
        router, ingress, _ = name.partition(".ingress")
        if ingress and _written(tls) not in _envoys(paths.run / "routers" / router):
            yield name


def _written(tls: Tls) -> int:
    return serial(Path(tls.certificate).read_bytes())


def _shown(address: str, port: int, tls: Tls) -> int:
    context = tls.client_context()
    try:
        with (
            socket.create_connection((address, port), timeout=_TIMEOUT) as plain,
            context.wrap_socket(plain, server_hostname=address) as connection,
        ):
            der = connection.getpeercert(binary_form=True) or b""
    except OSError:
        return 0
    return serial(ssl.DER_cert_to_PEM_cert(der).encode())


def _envoys(run_dir: Path) -> list[int]:
    """The certificates that an ingress Envoy has in use, by its admin socket."""
    text = status.text(run_dir / "admin.sock", "/certs")
    try:
        used = json.loads(text or "{}").get("certificates", [])
        return [int(one["serial_number"], 16) for c in used for one in c.get("cert_chain", ())]
    except (ValueError, KeyError):
        return []
