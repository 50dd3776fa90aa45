"""The members of etcd of a lab that is up: whether they are well, and their restart one by one."""

from __future__ import annotations

import http.client
import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import TypeVar

from meshnet.kernel import netns
from meshnet.model.errors import PlatformError
from meshnet.model.patience import patient
from meshnet.wire.tls import Tls
from netns_lab import etcd, pki, status
from netns_lab.daemons import Daemon
from netns_lab.paths import Paths

T = TypeVar("T")
_WELL_SECONDS, _POLL_SECONDS, _TIMEOUT = 30.0, 0.05, 2.0


def files(paths: Paths) -> dict[int, Tls]:
    """Each member's certificate; none where the lab's store is another."""
    used, node = pki.used(paths), _control(paths)["name"]
    names = {number: Daemon(node, etcd.ROOM, {}, number).name for number in etcd.MEMBERS}
    return {number: used[name] for number, name in names.items() if name in used}


def inside(paths: Paths, work: Callable[[], T]) -> T:
    """Do something from where members can be reached: the control node's loopback."""
    return netns.run(str(_control(paths)["netns"]), work)


def restart(paths: Paths, progress: Callable[[str], None]) -> None:
    """Have every member trust the CAs of now: etcd looks at its certificate again before each
    handshake, but at its CAs only when it starts.

    One at a time, the next one when all are well: the other two serve meanwhile.

    Raises:
        PlatformError: a member is not well; the rest was not restarted.
    """
    for number in files(paths):
        _wait_until_well(paths)
        before = _row(paths, number)["pid"]
        progress(f"restarting {etcd.name(number)}")
        os.kill(before, signal.SIGTERM)  # it hands over the lead; the supervisor starts it again
        _wait(paths, partial(_begun_anew, paths, number, before))
    _wait_until_well(paths)


def _begun_anew(paths: Paths, number: int, before: int) -> bool:
    row = _row(paths, number)
    return bool(row["pid"] != before and row["ready"])


def _wait_until_well(paths: Paths) -> None:
    _wait(paths, lambda: not any(_unwell(paths)))


def _wait(paths: Paths, done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + patient(_WELL_SECONDS)
    while not done():
        if time.monotonic() > deadline:
            ill = ", ".join(map(etcd.name, _unwell(paths))) or "etcd"
            raise PlatformError(f"{ill} is not well: meshnet lab logs control; then try again")
        time.sleep(_POLL_SECONDS)


def _unwell(paths: Paths) -> Iterator[int]:
    """Members that do not answer or that no majority follows."""
    for number, tls in files(paths).items():
        if not inside(paths, partial(_healthy, number, tls)):
            yield number


def _healthy(number: int, tls: Tls) -> bool:
    connection = http.client.HTTPSConnection(
        etcd.HOST, etcd.client_port(number), timeout=_TIMEOUT, context=tls.client_context()
    )
    try:
        connection.request("GET", "/health")  # etcd reads through its cluster's log for it
        return bool(json.loads(connection.getresponse().read())["health"] == "true")
    except (OSError, ValueError, KeyError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _row(paths: Paths, number: int) -> dict[str, int]:
    """What the supervisor knows of a member. Raises PlatformError where it does not answer."""
    name = Daemon(_control(paths)["name"], etcd.ROOM, {}, number).name
    supervisor = status.ask(paths.supervisor_socket) or {"daemons": ()}
    for row in supervisor["daemons"]:
        if row["name"] == name:
            return dict(row)
    raise PlatformError("the lab's supervisor does not answer: meshnet lab status")


def _control(paths: Paths) -> dict[str, str]:
    return next(n for n in status.lab(paths)["nodes"] if n["role"] == "control")
