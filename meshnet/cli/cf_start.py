"""Waiting for an app to start, for `meshnet cf`: how far it is, and what is said where it fails."""

from __future__ import annotations

import contextlib
import os
import re
import sys
import time
from typing import Any

from meshnet.cli import cf_logs, cf_show
from meshnet.cli.client import Client
from meshnet.cli.session import POLL_SECONDS
from meshnet.cli.waiting import NotPlaced, NotStarted, Rollout
from meshnet.model.errors import InputError, MeshnetError, PeerError

# As the cf CLI's.
STARTUP_TIMEOUT, STARTUP_MINUTES = "CF_STARTUP_TIMEOUT", 5.0
# How many lines of its log an app that does not start is shown with, and how long they may take.
TAIL_LINES, TAIL_SECONDS = 10, 3.0
# Beyond its own start timeout (-t), for an app that may take longer than we wait.
_AFTER_TIMEOUT_SECONDS = 30.0
# How many lines that is looked for in: the platform says a lot when it takes an instance away.
_READ_LINES = 100
_EXITED = "App instance exited"
# What the app says, what its health checks say of it, and what the cell has against it.
_OWN = re.compile(r"\s*\S+ \[(APP|HEALTH|CELL/\d+\] ERR)")


def patience(process: dict[str, Any]) -> float:
    """How many seconds nothing may change while a process starts.

    Raises:
        InputError: $CF_STARTUP_TIMEOUT is no number of minutes.
    """
    given = os.environ.get(STARTUP_TIMEOUT)
    if not given:
        own = process["health_check"]["data"].get("timeout") or 0.0
        return max(STARTUP_MINUTES * 60, own + _AFTER_TIMEOUT_SECONDS)
    try:
        minutes = float(given)
    except ValueError:
        minutes = 0.0
    if not 0 < minutes < float("inf"):
        raise InputError(f"{STARTUP_TIMEOUT}={given}: want minutes, as 5")
    return minutes * 60


def wait(client: Client, app_guid: str, name: str) -> None:
    """Wait until an app's instances run, and say how many do as they come.

    Raises:
        NotStarted: they do not; the app and the end of its log have been shown.
    """
    last, began = (-1, -1), time.time_ns()

    def seen(running: int, wanted: int) -> None:
        nonlocal last
        if (running, wanted) != last:
            last = (running, wanted)
            print(f"  instances: {running}/{wanted} running", file=sys.stderr)

    seconds = patience(client.process(app_guid))
    try:
        client.wait_running(app_guid, seconds=seconds, first_crash=True, seen=seen)
    except NotPlaced:
        cf_show.show(name)
        raise
    except NotStarted as exc:
        cf_show.show(name)
        _tail(client, app_guid, began)
        _tip(str(exc))
        raise NotStarted(f"{exc} (more: meshnet cf logs {name} --recent)") from exc


def roll(client: Client, app_guid: str, name: str, droplet: str = "", *, watch: bool) -> None:
    """Have instances replaced one by one, and say how far that is.

    Args:
        droplet: empty = the one that the app has.
        watch: wait for the end.

    Raises:
        NotStarted: what comes does not start; the app and the end of its log have been shown.
        InputError: somebody cancelled it, or began another one.
    """
    print(f"Creating deployment for app {name}...", file=sys.stderr)
    seconds, began = patience(client.process(app_guid)), time.time_ns()
    deployment = client.deploy(app_guid, droplet)
    if not watch:
        return
    print("Waiting for app to deploy...", file=sys.stderr)
    try:
        _watch(client, app_guid, deployment, Rollout(seconds))
    except NotStarted as exc:
        cf_show.show(name)
        _tail(client, app_guid, began)
        _tip(str(exc))
        raise NotStarted(
            f"{exc} (the deployment goes on: meshnet cf cancel-deployment {name};"
            f" more: meshnet cf logs {name} --recent)"
        ) from exc


def _watch(client: Client, app_guid: str, deployment: str, rollout: Rollout) -> None:
    away_since = None
    while True:
        try:
            status = client.get(f"/v3/deployments/{deployment}")["status"]
            (_, new), *old = cf_show.processes(client, app_guid)
            over, text = rollout.judge(status, new, sum(len(rows) for _, rows in old))
            away_since = None
        except NotStarted:
            raise
        except PeerError:
            # A component that restarts is away for a moment: no reason to give up.
            away_since = away_since or time.monotonic()
            if time.monotonic() - away_since > STARTUP_MINUTES * 60:
                raise
            over, text = False, ""
        if over:
            return
        if text:
            print(f"  {text}", file=sys.stderr)
        time.sleep(POLL_SECONDS)


def _tip(reason: str) -> None:
    if "never healthy" in reason:
        print("TIP: an app must listen on $PORT at its own address, 0.0.0.0", file=sys.stderr)


def _tail(client: Client, app_guid: str, began: int) -> None:
    """Show the end of an app's log; what was said last may take a moment to arrive."""
    deadline, lines, over = time.monotonic() + TAIL_SECONDS, list[str](), False
    with contextlib.suppress(MeshnetError):  # the failure itself matters more
        while time.monotonic() < deadline and not over:
            # Who says that it ended may be faster than who carries what it said: look once more.
            over = any(_EXITED in line for line in lines)
            time.sleep(POLL_SECONDS)
            lines = cf_logs.newest(client, app_guid, _READ_LINES, start=began)
    if own := [line for line in lines if _OWN.match(line)][-TAIL_LINES:]:
        print("\nThe end of its log:", *own, "", sep="\n", file=sys.stderr)
