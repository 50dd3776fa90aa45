"""Sockets that outlive their daemon, so that whoever asks while it is killed waits and is answered.

sd_notify(3), FDSTORE=1: systemd (`FileDescriptorStoreMax=`) and the lab's supervisor keep what they
are sent, and hand it to the next process of the same daemon.
"""

from __future__ import annotations

import os
import socket
from collections.abc import MutableMapping, Sequence

from meshnet.wire import runtime

FIRST_FD = 3  # sd_listen_fds(3)
VARIABLE = "MESHNET_KEPT_FDS"  # from the supervisor: numbers, for a launcher may need 3 for itself
_NAME = "meshnet"


def listed(environment: MutableMapping[str, str]) -> list[int]:
    """The descriptors handed to this process, by its environment, which forgets them: no child of
    ours may take them for its own.
    """
    ours = environment.pop(VARIABLE, "")
    count = environment.pop("LISTEN_FDS", "0")
    pid = environment.pop("LISTEN_PID", "")
    if ours:
        return [int(number) for number in ours.split(",")]
    return [FIRST_FD + n for n in range(int(count))] if pid == str(os.getpid()) else []


def take() -> list[socket.socket]:
    """The sockets that a former process of this daemon has kept; none at its first start."""
    return [socket.socket(fileno=number) for number in listed(os.environ)]


def keep(sockets: Sequence[socket.socket]) -> None:
    """Have these handed to the next process of this daemon."""
    runtime.notify_sockets(f"FDSTORE=1\nFDNAME={_NAME}", [s.fileno() for s in sockets])
