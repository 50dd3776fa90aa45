"""A pytest plugin: `@pytest.mark.sudo` marks tests that need root.

Run as root they simply run. Run as anyone else, the whole pytest command is started once more
through `sudo -n` for the marked tests alone, and their outcomes are reported as this run's; where
sudo is missing or asks for a password each marked test fails and says so. A skip would look like a
pass.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from typing import Any

import pytest

_OUTCOMES: pytest.StashKey[dict[str, tuple[str, str]]] = pytest.StashKey()
_ENV = "PYTEST_SUDO_OUTCOMES"


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker."""
    config.addinivalue_line("markers", "sudo: needs root; re-run through sudo when we are not")


def _is_root() -> bool:
    return os.geteuid() == 0


def _run_as_root(ids: list[str], rootdir: str) -> dict[str, tuple[str, str]]:
    """Outcome and text per node id of a root run; all fail with the reason when none started."""
    sudo = shutil.which("sudo")
    if sudo is None:
        reason = "needs root, and sudo is not installed: run the tests as root"
        return dict.fromkeys(ids, ("failed", reason))
    with tempfile.TemporaryDirectory(prefix="pytest-sudo-") as directory:
        path = os.path.join(directory, "outcomes.json")
        command = [sudo, "-n", "env", f"{_ENV}={path}", sys.executable, "-m", "pytest", "-q", *ids]
        done = subprocess.run(command, cwd=rootdir, capture_output=True, text=True, check=False)
        try:
            with open(path, encoding="utf-8") as f:
                found = {i: (o[0], o[1]) for i, o in json.load(f).items()}
        except (OSError, ValueError):
            tail = (done.stderr or done.stdout).strip()[-500:]
            return dict.fromkeys(ids, ("failed", f"needs root, and sudo refused: {tail}"))
    return {i: found.get(i, ("failed", "did not run as root")) for i in ids}


@pytest.hookimpl(trylast=True)
def pytest_collection_finish(session: pytest.Session) -> None:
    """Without root, run all marked tests through sudo at once, before the first test's turn."""
    if _is_root() or session.config.option.collectonly:
        return
    marked = [item.nodeid for item in session.items if item.get_closest_marker("sudo")]
    if marked:
        session.config.stash[_OUTCOMES] = _run_as_root(marked, str(session.config.rootpath))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> bool | None:
    """Report a marked test's outcome as root instead of running it here."""
    if _is_root() or item.get_closest_marker("sudo") is None:
        return None
    outcome, text = item.config.stash[_OUTCOMES][item.nodeid]
    item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    report = pytest.TestReport(
        nodeid=item.nodeid,
        location=item.location,
        keywords=dict.fromkeys(item.keywords, 1),
        outcome=outcome,  # type: ignore[arg-type]
        longrepr=("", 0, text) if outcome == "skipped" else text or None,
        when="call",
    )
    item.ihook.pytest_runtest_logreport(report=report)
    item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
    return True


class _Recorder:
    """In the root run: the worst outcome of each test's phases, for the caller to read."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.outcomes: dict[str, tuple[str, str]] = {}

    def pytest_runtest_logreport(self, report: Any) -> None:
        if report.when == "call" or report.outcome != "passed":
            self.outcomes[report.nodeid] = (report.outcome, str(report.longrepr or ""))

    def pytest_sessionfinish(self) -> None:
        with open(self.path, "w", encoding="utf-8") as f:
            json.dump(self.outcomes, f)


def pytest_sessionstart(session: pytest.Session) -> None:
    """In a root run that another pytest started, record outcomes where it will look."""
    if path := os.environ.get(_ENV):
        session.config.pluginmanager.register(_Recorder(path))
