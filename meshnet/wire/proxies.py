"""The arrow from a cell to its Pilot: one small JSON file per sidecar, in a directory of theirs.

The cell writes a file before it starts a sidecar and removes it when the instance is gone; Pilot
watches the directory and serves ADS on the socket the file names. Either may restart at any time:
the directory is the state.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from meshnet.model.errors import PeerError

SUFFIX = ".json"


@dataclass(frozen=True)
class Sidecar:
    """A sidecar to serve.

    Attributes:
        instance_guid: also the file's name and the proxy's id.
        app_guid: whose instance it is.
        address: the instance's overlay address.
        socket: absolute path of the ADS socket that Pilot makes.
        uid: the user the sidecar runs as, who owns the socket.
    """

    instance_guid: str
    app_guid: str
    address: str
    socket: str
    uid: int


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
    """Every sidecar by instance guid. Raises PeerError where a file is not what `write` writes."""
    found = {}
    for path in directory.glob(f"*{SUFFIX}"):
        try:
            value = json.loads(path.read_text(encoding="utf-8"))
            found[path.stem] = _sidecar(value)
        except FileNotFoundError:
            continue
        except (ValueError, TypeError) as exc:
            raise PeerError(f"{path} describes no sidecar: {exc}") from exc
    return found


def _sidecar(value: Mapping[str, object]) -> Sidecar:
    return Sidecar(**value)  # type: ignore[arg-type]
