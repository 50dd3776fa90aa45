"""An app's environment, and the launcher that makes the last of it. Pure.

Sources: Diego's executor (steps/run_step.go), buildpackapplifecycle (launcher), DEA for the times.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path

import yaml

from meshnet.model.errors import InputError

HOME = "/home/vcap"
LAUNCHER = "/tmp/lifecycle/launcher"
STAGING_INFO = "staging_info.yml"

# bash, because profile scripts are written for it.
LAUNCHER_SCRIPT = r"""#!/bin/bash
# launcher DIRECTORY COMMAND: what buildpackapplifecycle's launcher does.
cd "/home/vcap/$1" || exit 1
shift
for meshnet_script in ../profile.d/* .profile.d/*; do
	[ -f "$meshnet_script" ] && source "$meshnet_script"
done
[ -f .profile ] && source .profile
unset meshnet_script
exec bash -c "$1"
"""


def environment(
    lrp_env: Mapping[str, str],
    *,
    guid: str,
    index: int,
    address: str,
    cell_ip: str,
    host_port: int,
    container_port: int,
    started: float,
) -> dict[str, str]:
    """The app's environment: what the Cloud Controller set, and what only the cell knows.

    Args:
        started: when the instance was started, seconds since the epoch.
    """
    ports = [{"external": host_port, "internal": container_port}]
    instance = {
        "INSTANCE_GUID": guid,
        "INSTANCE_INDEX": str(index),
        "CF_INSTANCE_GUID": guid,
        "CF_INSTANCE_INDEX": str(index),
        "CF_INSTANCE_IP": cell_ip,
        "CF_INSTANCE_INTERNAL_IP": address,
        "CF_INSTANCE_PORT": str(host_port),
        "CF_INSTANCE_ADDR": f"{cell_ip}:{host_port}",
        "CF_INSTANCE_PORTS": json.dumps(ports, separators=(",", ":")),
        "HOME": f"{HOME}/app",
        "TMPDIR": f"{HOME}/tmp",
        "DEPS_DIR": f"{HOME}/deps",
    }
    found = {"USER": "vcap", "PATH": "/usr/local/bin:/usr/bin:/bin", **lrp_env, **instance}
    if "VCAP_APPLICATION" in found:
        text = found["VCAP_APPLICATION"]
        found["VCAP_APPLICATION"] = _application(text, guid, index, lrp_env, started)
    return found


def _application(text: str, guid: str, index: int, env: Mapping[str, str], started: float) -> str:
    """VCAP_APPLICATION with what differs from instance to instance; no JSON stays as it is."""
    try:
        known = json.loads(text)
    except ValueError:
        return text
    if not isinstance(known, dict):
        return text
    when = time.strftime("%Y-%m-%d %H:%M:%S +0000", time.gmtime(started))
    port = env.get("PORT", "")
    own = {
        "host": "0.0.0.0",
        "instance_id": guid,
        "instance_index": index,
        "started_at": when,
        "started_at_timestamp": int(started),
        "start": when,
        "state_timestamp": int(started),
    }
    return json.dumps({**known, **own, **({"port": int(port)} if port.isdigit() else {})})


def start_command(argv: tuple[str, ...], home: Path) -> tuple[str, ...]:
    """`argv`; a launcher without a command gets the one that staging found in the droplet.

    Raises:
        InputError: there is none: the launcher's own words.
    """
    if argv[0] != LAUNCHER or (len(argv) > 2 and argv[2]):
        return argv
    try:
        info = yaml.safe_load((home / STAGING_INFO).read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError):
        info = None
    command = info.get("start_command") if isinstance(info, dict) else None
    if not isinstance(command, str) or not command:
        raise InputError(f"{argv[0]}: no start command specified or detected in droplet")
    return (argv[0], argv[1] if len(argv) > 1 else "app", command)
