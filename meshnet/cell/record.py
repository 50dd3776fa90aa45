"""An instance as the agent remembers it: one JSON file, and every name that follows from it."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from google.protobuf.message import DecodeError

from meshnet.cell.config import Config
from meshnet.wire.gen import bbs_pb2 as pb

SUFFIX = ".json"


@dataclass(frozen=True)
class Record:
    """What must be known to find everything an instance has.

    Attributes:
        running: whether BBS was told that it runs: such an instance is adopted after a restart,
            any other is torn down.
    """

    guid: str
    process_guid: str
    index: int
    domain: str
    app_guid: str
    address: str
    host_port: int
    uid: int
    running: bool = False


class Names:
    """Names and paths of one instance."""

    def __init__(self, config: Config, record: Record) -> None:
        guid = record.guid
        octets = "".join(f"{int(part):03d}" for part in record.address.split("."))
        self.netns = config.netns_prefix + guid[:8]
        self.veth = f"s-{octets}"  # as silk: s-010255030004
        self.cgroup = f"{config.cgroup}/{guid}"
        self.app_cgroup, self.sidecar_cgroup = f"{self.cgroup}/app", f"{self.cgroup}/sidecar"
        self.shim_cgroup = f"{self.cgroup}/shim"
        self.dir = config.run / "instances" / guid
        self.ads_dir, self.envoy_dir, self.home = (self.dir / d for d in ("ads", "envoy", "home"))
        self.identity_dir = self.dir / "identity"
        self.links = Path(config.pin_dir) / "links" / guid
        self.app_links, self.sidecar_links = self.links / "app", self.links / "sidecar"
        self.veth_links = self.links / "veth"
        self.app_id, self.sidecar_id = (f"{self.netns}-{kind}" for kind in ("app", "sidecar"))
        logs = Path(config.log_dir)
        self.lrp = _directory(config) / f"{guid}.lrp"
        self.app_log = logs / f"{config.cell_id}.{record.app_guid}.{guid}.app.log"
        self.cell_log = logs / f"{config.cell_id}.{record.app_guid}.{guid}.cell.log"
        self.sidecar_log = logs / f"{config.cell_id}.{record.app_guid}.{guid}.sidecar.log"

    def bundle(self, config: Config, container_id: str) -> Path:
        """A container's bundle directory."""
        return config.run / "bundles" / container_id


def _directory(config: Config) -> Path:
    return config.run / "records"


def save(config: Config, record: Record, lrp: Any = None) -> None:
    """Write an instance's file, atomically; before it the DesiredLRP it is of, where given."""
    if lrp is not None:
        names = Names(config, record)
        names.lrp.touch(mode=0o600)  # the droplet's address has a password
        names.lrp.write_bytes(lrp.SerializeToString())
    path = _directory(config) / (record.guid + SUFFIX)
    new = path.with_suffix(".new")
    new.write_text(json.dumps(asdict(record)), encoding="utf-8")
    os.rename(new, path)


def forget(config: Config, guid: str) -> None:
    """Remove an instance's files."""
    for suffix in (SUFFIX, ".lrp"):
        (_directory(config) / (guid + suffix)).unlink(missing_ok=True)


def load(config: Config) -> list[tuple[Record, Any]]:
    """Every instance that has a file, with its DesiredLRP.

    One that cannot be read, of another release perhaps, is none that runs: it will be taken away.
    """
    found = []
    for path in sorted(_directory(config).glob(f"*{SUFFIX}")):
        values = json.loads(path.read_text(encoding="utf-8"))
        known = {field.name for field in fields(Record)}
        rec = Record(**{key: value for key, value in values.items() if key in known})
        try:
            lrp = pb.DesiredLRP.FromString(Names(config, rec).lrp.read_bytes())
        except (OSError, DecodeError):
            rec = replace(rec, running=False)
            run = pb.RunAction(path="unknown")
            lrp = pb.DesiredLRP(action=pb.Action(run_action=run))
        found.append((rec, lrp))
    return found
