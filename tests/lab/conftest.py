"""A real lab for the session: its own name and network, so that it never meets another one."""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from netns_lab import lab as labs
from netns_lab import topology
from netns_lab.paths import Paths
from netns_lab.stage import Stage

# Started in a shell's background, we and all we start would ignore it.
signal.signal(signal.SIGINT, signal.default_int_handler)
DEFAULT = Path(labs.__file__).parent / "labs" / "default.yml"


def default_topology(name: str) -> topology.Topology:
    return dataclasses.replace(topology.load(DEFAULT, name), underlay=topology.AUTO)


def meshnet(*args: str, lab: str = "", timeout: float = 60) -> subprocess.CompletedProcess[str]:
    """Run the command as a user would."""
    env = {k: v for k, v in os.environ.items() if not k.startswith("CF_")}
    env["CF_HOME"] = "/nonexistent"  # not what the person who tests has logged in to
    if lab:
        env["MESHNET_LAB"] = lab
    line = [sys.executable, "-m", "meshnet.cli.main", *args]
    return subprocess.run(line, capture_output=True, text=True, env=env, timeout=timeout)


@pytest.fixture(scope="session")
def stage() -> Iterator[Stage]:
    """The default lab with the sample apps on it."""
    name = f"t{os.getpid()}"
    labs.up(default_topology(name), lambda text: None)
    try:
        found = Stage(Paths(name))
        found.set()
        yield found
    finally:
        assert labs.down(Paths(name)) == []
