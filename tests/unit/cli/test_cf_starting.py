"""Apps that do not start, and deployments under way: what `meshnet cf` shows, and how it ends."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from cf_command import COMMAND, Cf
from control_plane import Cell

from meshnet.cli import cf_logs, cf_start
from meshnet.cli.client import Client
from meshnet.model.errors import InputError

AT = "   2026-11-26T07:00:00.00+0000"
LOG = [
    f"{AT} [CELL/0] OUT Cell cell-1 creating container for instance x",
    f"{AT} [APP/PROC/WEB/0] ERR no DATABASE_URL",
    f"{AT} [CELL/0] ERR Failed after 8.1s: startup health check never passed.",
    f"{AT} [API/0] OUT App instance exited with guid x",
]


@pytest.fixture(autouse=True)
def tidy(cell: Cell) -> Iterator[None]:
    yield
    cell.crash_reason, cell.waits = "", False


@pytest.fixture(autouse=True)
def log(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cf_logs, "newest", lambda *_, **__: LOG)


def push(cf: Cf, app_dir: Path, *more: str, status: int = 0) -> str:
    return cf("push", "a", "-p", str(app_dir), "-c", COMMAND, "--no-route", *more, status=status)


def test_what_crashes_at_its_start_is_shown_with_its_log_and_where_more_is(
    cf: Cf, cell: Cell, app_dir: Path
) -> None:
    cell.crash_reason = "Exit status 7"
    said = push(cf, app_dir, status=1).splitlines()
    assert said[-1] == (
        "meshnet: Start unsuccessful: instance 0 crashed: Exit status 7"
        " (more: meshnet cf logs a --recent)"
    )
    begin = said.index("The end of its log:")
    assert said[begin + 1 : -1] == [LOG[1], LOG[2], ""], "the app's part of it alone"
    shown = " ".join(cf("app", "a").split())
    assert "instances: 0/1" in shown and "Exit status 7" in shown


def test_waiting_ends_when_cfs_own_variable_says_so(
    cf: Cf, cell: Cell, app_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cell.waits = True
    monkeypatch.setattr(cf_start, "TAIL_SECONDS", 0.1)
    monkeypatch.setenv("CF_STARTUP_TIMEOUT", "0.01")
    said = push(cf, app_dir, status=1).splitlines()
    assert said[-1].startswith("meshnet: Start app timeout: 0 of 1 run.")
    monkeypatch.setenv("CF_STARTUP_TIMEOUT", "soon")
    assert "want minutes, as 5" in cf("restart", "a", status=2)


@pytest.mark.parametrize(
    ("variable", "own", "seconds"),
    [("", None, 300), ("", 20, 300), ("", 600, 630), ("1", 600, 60), ("0.5", None, 30)],
)
def test_how_long_a_start_is_waited_for(
    monkeypatch: pytest.MonkeyPatch, variable: str, own: int | None, seconds: float
) -> None:
    monkeypatch.setenv("CF_STARTUP_TIMEOUT", variable)
    process = {"health_check": {"data": {"timeout": own}}}
    assert cf_start.patience(process) == seconds
    for wrong in ("0", "-1", "inf", "nan"):
        monkeypatch.setenv("CF_STARTUP_TIMEOUT", wrong)
        with pytest.raises(InputError, match="want minutes"):
            cf_start.patience(process)


def test_a_deployment_of_what_crashes_is_shown_and_can_be_cancelled(
    cf: Cf, client: Client, cell: Cell, app_dir: Path
) -> None:
    push(cf, app_dir, "-i", "2")
    cell.crash_reason = "Exit status 7"
    said = push(cf, app_dir, "--strategy", "rolling", status=1)
    last = said.splitlines()[-1]
    assert last.startswith("meshnet: Start unsuccessful: new instance 0 crashed: Exit status 7 (")
    assert "meshnet cf cancel-deployment a" in last and "meshnet cf logs a --recent" in last
    assert "Waiting for app to deploy..." in said and LOG[1] in said
    shown = " ".join(cf("app", "a").split())
    assert shown.count("type: web") == 2 and shown.count("running") == 2
    assert "Active deployment with status DEPLOYING (since " in shown
    assert "strategy: rolling" in shown
    assert json.loads(cf("apps", "--json"))[0]["processes"] == "web:0/1, web:2/2"
    cell.crash_reason = ""
    cf("cancel-deployment", "a")
    assert "meshnet cf app a" in cf.said
    deadline = time.monotonic() + 30
    while client.active_deployment(client.app("a")["guid"]):
        assert time.monotonic() < deadline, "not in time"
        time.sleep(0.02)
    assert "No active deployment found for app 'a'." in cf("cancel-deployment", "a", status=2)
    assert json.loads(cf("apps", "--json"))[0]["processes"] == "web:2/2"


def test_a_deployment_says_how_far_it_is(cf: Cf, app_dir: Path) -> None:
    push(cf, app_dir, "-i", "2")
    for words in (("restart", "a"), ("restage", "a")):
        shown = cf(*words, "--strategy", "rolling")
        assert shown.count("running") == 2 and "deploying: " in cf.said


def test_an_app_that_goes_while_it_deploys_ends_the_wait(
    cf: Cf, client: Client, cell: Cell, app_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    push(cf, app_dir)
    cell.waits = True
    shown = client.process  # the app is there when its processes are listed, and then gone

    def gone(self: Client, guid: str) -> object:
        self.delete_app(self.app("a")["guid"])
        return shown(guid)

    looked = cf_start.cf_show.processes

    def processes(client: Client, guid: str) -> object:
        with monkeypatch.context() as within:
            within.setattr(Client, "process", gone)
            return looked(client, guid)

    monkeypatch.setattr(cf_start.cf_show, "processes", processes)
    assert "Process not found" in cf("restart", "a", "--strategy", "rolling", status=2)


def test_restage_takes_the_newest_package_of_that_app(
    cf: Cf, client: Client, app_dir: Path
) -> None:
    cf("push", "first", "-p", str(app_dir), "-c", COMMAND, "--no-route", "--no-start")
    push(cf, app_dir, "--no-start")
    cf("restage", "a")
    guid = client.app("a")["guid"]
    assert len(client.list(f"/v3/apps/{guid}/droplets")) == 2


def test_start_restart_and_restage_end_with_the_app_and_need_not_wait(
    cf: Cf, cell: Cell, app_dir: Path
) -> None:
    push(cf, app_dir, "--no-start")
    for word in ("start", "restart", "restage"):
        assert cf(word, "a").count("running") == 1
    cf("start", "a")
    assert cf.said == "App 'a' is already started.\nOK\n"
    cf("stop", "a")
    cell.waits = True
    for word in ("start", "restart", "restage"):
        assert "starting" in cf(word, "a", "--no-wait")
