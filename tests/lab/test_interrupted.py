"""Commands that are ended in the middle leave nothing, or what the next one mends."""

from __future__ import annotations

import os
import signal
import subprocess
import time

import pytest

from netns_lab import lab as labs
from netns_lab.paths import Paths

from .conftest import meshnet
from .terminal import MESHNET
from .test_lifecycle import NOTHING, ONE_CELL, traces

pytestmark = pytest.mark.sudo


def up(name: str) -> subprocess.Popen[str]:
    line = [*MESHNET, "lab", "up", "--lab", name, "-f", str(ONE_CELL)]
    return subprocess.Popen(line, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def until(child: subprocess.Popen[str], text: str) -> None:
    assert child.stderr
    for line in child.stderr:
        if text in line:
            return
    raise AssertionError(f"it never said {text!r}")


@pytest.mark.parametrize("step", ["nodes on", "daemons", "waiting for"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_up_that_is_ended_leaves_nothing(step: str, number: signal.Signals) -> None:
    name = f"i{os.getpid() % 10**6}"
    with up(name) as child:
        until(child, step)
        deadline = time.monotonic() + 30
        while child.poll() is None and time.monotonic() < deadline:
            child.send_signal(number)  # impatience does not stop the undoing
            time.sleep(0.01)
        # An interpreter that has all but ended dies of a signal, which a shell shows alike.
        assert child.wait(0) in (128 + number, -number)
    assert traces(name) == NOTHING


def test_an_up_that_is_killed_is_mended_by_the_next() -> None:
    name = f"k{os.getpid() % 10**6}"
    try:
        with up(name) as child:
            until(child, "daemons")
            child.kill()
        (Paths(name).run / "lab.json").unlink(missing_ok=True)  # as had it been a moment sooner
        for command in (("lab", "status"), ("lab", "exec", "lb", "true"), ("cf", "apps")):
            done = meshnet(*command, lab=name)
            assert (done.returncode, done.stderr) == (
                2, f"meshnet: lab {name!r} is not up: meshnet lab up\n"
            )  # fmt: skip
        with up(name) as one, up(name) as other:  # both at once
            said = sorted(child.communicate(timeout=90)[0] for child in (one, other))
        assert [f"lab {name} is up ({said[0].split('(')[1]}", f"lab {name} is up already\n"] == said
    finally:
        assert labs.down(Paths(name)) == []
    assert traces(name) == NOTHING


def test_a_demo_whose_lab_goes_down_says_so() -> None:
    name = f"d{os.getpid() % 10**6}"
    with up(name) as child:
        assert child.wait(60) == 0
    line = [*MESHNET, "lab", "demo", "--lab", name]
    with subprocess.Popen(line, stdout=-1, stderr=-1, text=True) as demo:
        assert demo.stdout
        for text in demo.stdout:
            if "VIP" in text:
                break
        assert meshnet("lab", "down", "--lab", name).returncode == 0
        began = time.monotonic()
        _, err = demo.communicate(timeout=100)
        assert demo.returncode in (1, 2) and "Traceback" not in err, err
    assert time.monotonic() - began < 60 and traces(name) == NOTHING
