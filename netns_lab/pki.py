"""A lab's certificates as files: a directory a daemon, the CA beside the lab's stores, all 0600."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from meshnet.model.errors import PlatformError
from meshnet.wire.tls import Tls
from netns_lab import etcd
from netns_lab.certificates import Authority, Issued, Leaf, bundle, leaf_of
from netns_lab.daemons import Daemon, frontends, service_names, shown
from netns_lab.paths import Paths
from netns_lab.topology import Topology

_AUTHORITY, TRUSTED = "authority.pem", "ca.pem"
_PAIR = "identity.pem"


def leaf(topology: Topology, daemon: Daemon) -> Leaf:
    """What a daemon's certificate says: its node's address and name, and what CF calls it."""
    node = next(n for n in topology.nodes if n.name == daemon.node)
    names = service_names(daemon.room) if node.role == "control" else ()
    address = etcd.HOST if daemon.room == etcd.ROOM else topology.address(node)
    hosts = [address, f"{node.name}.{topology.name}.lab", *names]
    if daemon.room == "capi":
        public = ("*", "api", "uaa", "log-cache")
        hosts += [f"{name}.{topology.system_domain}" for name in public]
    return Leaf(daemon.room, daemon.node, tuple(hosts), serves=bool(names))


def prepare(topology: Topology, paths: Paths, daemons: Iterable[Daemon]) -> None:
    """Give every daemon that speaks TLS a certificate, from a new CA where the lab has none."""
    paths.ca.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not (paths.ca / _AUTHORITY).exists():
        _keep(paths, Authority.make(f"meshnet {paths.lab}"))
    if not paths.identity_ca.exists():
        # One of its own: what an app shows must open no component's door.
        instances = Authority.make(f"instances of meshnet {paths.lab}").issued
        _replace(paths.identity_ca, instances.certificate + instances.key)
    authority = _authority(paths)
    _replace(paths.ca / TRUSTED, authority.issued.certificate)
    for daemon in daemons:
        if "tls" in daemon.config:
            tls = Tls(**daemon.config["tls"])
            _directory(Path(tls.certificate).parent, daemon.config)
            _replace(Path(tls.ca), authority.issued.certificate)
            _put(tls, authority.issue(leaf(topology, daemon)))
        if daemon.room == "ingress" and (names := frontends(topology)):
            _frontend(daemon, names, authority)


def _frontend(daemon: Daemon, names: tuple[str, ...], authority: Authority) -> None:
    """What an ingress Envoy shows to clients: RSA, which all of them take."""
    directory = shown(Path(daemon.config["run_dir"]), names[0])
    _directory(directory, daemon.config)
    _put(_pair(directory, ""), authority.issue(Leaf("istio-router", daemon.node, names, True)))
    for name in ("tls.crt", "tls.key"):  # both are in one file, to be renewed at one stroke
        (directory / name).unlink(missing_ok=True)
        (directory / name).symlink_to(_PAIR)


def _pair(directory: Path, ca: str) -> Tls:
    return Tls(str(directory / _PAIR), str(directory / _PAIR), ca)


def used(paths: Paths) -> dict[str, Tls]:
    """The files of every daemon of a lab that is up, by the daemon's name.

    What an ingress Envoy shows to clients comes beside its own, as "router-1.ingress *.DOMAIN".
    """
    found = {}
    for path in sorted((paths.run / "config").glob("*.json")):
        config = json.loads(path.read_text(encoding="utf-8"))
        if files := config.get("tls"):
            own = found[path.stem] = Tls(**files)
            if path.stem.endswith(".ingress"):
                for directory in shown(Path(config["run_dir"]), "").glob("*"):
                    found[f"{path.stem} {directory.name}"] = _pair(directory, own.ca)
    return found


def renew(paths: Paths) -> None:
    """Give every daemon a new certificate from the lab's CA."""
    authority = _authority(paths)
    for tls in used(paths).values():
        _put(tls, authority.issue(leaf_of(Path(tls.certificate).read_bytes())))


def renew_authority(
    paths: Paths,
    progress: Callable[[str], None],
    served: Callable[[], None],
    trusted: Callable[[], None],
) -> None:
    """Change the CA under a lab that goes on working.

    At no moment does anybody meet a certificate that they do not trust: everyone trusts the new CA
    too, then everyone gets a certificate from it, then nobody trusts another. Broken off, it can be
    begun again.

    Args:
        served: returns when every listener shows its newest certificate.
        trusted: returns when those who look at their CAs only when they start trust those of now.

    Raises:
        PlatformError: one did not; the CAs from before stay trusted.
    """
    old, new = _authority(paths), Authority.make(f"meshnet {paths.lab}")
    progress("trusting the new CA too")
    before = [old.issued.certificate, *(Path(t.ca).read_bytes() for t in used(paths).values())]
    _trust(paths, bundle([new.issued.certificate, *before]))
    trusted()
    _keep(paths, new)
    progress("new certificates from the new CA")
    renew(paths)
    served()
    progress("trusting the old CA no longer")
    _trust(paths, new.issued.certificate)
    trusted()


def _trust(paths: Paths, cas: bytes) -> None:
    for path in (paths.ca / TRUSTED, *(Path(tls.ca) for tls in used(paths).values())):
        _replace(path, cas)


def _authority(paths: Paths) -> Authority:
    path = paths.ca / _AUTHORITY
    try:
        both = path.read_bytes()
        return Authority(Issued(bundle([both]), both))
    except (OSError, ValueError) as exc:
        raise PlatformError(f"the lab's CA in {path} cannot be used: {exc}") from exc


def _keep(paths: Paths, authority: Authority) -> None:
    # One file: a CA's certificate with another one's key would be the end of the lab.
    both = authority.issued.certificate + authority.issued.key
    _replace(paths.ca / _AUTHORITY, both)


def _directory(path: Path, config: Mapping[str, Any]) -> None:
    """Make a daemon's directory; an Envoy's user has it, and those above, up to its `run_dir`."""
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    if uid := config.get("uid"):
        for one in (path, *path.parents):
            if one.is_relative_to(config["run_dir"]):
                os.chown(one, uid, uid)


def _put(tls: Tls, issued: Issued) -> None:
    _replace(Path(tls.certificate), issued.certificate + issued.key)


def _replace(path: Path, content: bytes) -> None:
    """Write a file at one stroke, never readable by others, owned as its directory is."""
    new = path.with_suffix(".new")
    new.unlink(missing_ok=True)
    fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(fd, "wb") as target:
        owner = path.parent.stat()
        os.fchown(fd, owner.st_uid, owner.st_gid)
        target.write(content)
        target.flush()
        os.fsync(fd)
    new.rename(path)
