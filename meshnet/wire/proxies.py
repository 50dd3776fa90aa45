"""The arrow from a cell to its Pilot: one small JSON file per sidecar, in a directory of theirs.

The cell writes a file before it starts a sidecar and removes it when the instance is gone; Pilot
watches the directory and serves ADS on the socket the file names. Either may restart at any time:
the directory is the state.
"""

from __future__ import annotations

import json
import logging
import os
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path

from meshnet.model.errors import PeerError

SUFFIX = ".json"
log = logging.getLogger("meshnet")


@dataclass(frozen=True)
class Sidecar:
    """A sidecar to serve.

    Attributes:
        instance_guid: also the file's name and the proxy's id.
        app_guid: whose instance it is.
        address: the instance's overlay address.
        socket: absolute path of the ADS socket that Pilot makes.
        uid: the user the sidecar runs as, who owns the socket.
        mode: the redirection mode of its app (meshnet.model.modes); the cell's DNS asks for it,
            to Pilot it makes no difference.
    """

    instance_guid: str
    app_guid: str
    address: str
    socket: str
    uid: int
    mode: str = field(default="ebpf", compare=False)


def write(directory: Path, sidecar: Sidecar) -> None:
    """Announce a sidecar, atomically."""
    path = directory / (sidecar.instance_guid + SUFFIX)
    new = directory / f".{sidecar.instance_guid}.new"
    new.write_text(json.dumps(asdict(sidecar)), encoding="utf-8")
    os.rename(new, path)


def remove(directory: Path, instance_guid: str) -> None:
    """Withdraw a sidecar; one that is not there is no error."""
    (directory / (instance_guid + SUFFIX)).unlink(missing_ok=True)


def read(directory: Path) -> dict[str, Sidecar]:
    """Every sidecar by instance guid; a file that is not what `write` writes is logged and left."""
    found = {}
    for path in sorted(directory.glob(f"*{SUFFIX}")):
        try:
            found[path.stem] = _sidecar(path)
        except FileNotFoundError:
            continue
        except (OSError, PeerError) as exc:
            log.warning("no sidecar is served for %s: %s", path, exc)
    return found


def _sidecar(path: Path) -> Sidecar:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as exc:
        raise PeerError(f"it is no JSON: {exc}") from exc
    names = {field.name for field in fields(Sidecar)}
    if not isinstance(value, dict) or set(value) != names:
        raise PeerError(f"it is no object with the keys {', '.join(sorted(names))}")
    strings = [value[name] for name in names - {"uid"}]
    if not all(isinstance(text, str) for text in strings) or type(value["uid"]) is not int:
        raise PeerError("uid is no number, or another value no text")
    if value["instance_guid"] != path.stem:
        raise PeerError(f"it describes instance {value['instance_guid']}")
    return Sidecar(**value)
