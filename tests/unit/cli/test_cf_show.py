"""How an app is shown: cf's layout, with the cell and the address beside it."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cf_command import COMMAND, Cf

from meshnet.cli.cf_show import friendly, since, size
from meshnet.cli.client import Client


def test_an_app_is_laid_out_as_cf_does(cf: Cf, client: Client, app_dir: Path) -> None:
    cf("push", "a", "-p", str(app_dir), "-c", COMMAND, "-m", "64M", "-k", "1G")
    lines = cf("app", "a").splitlines()
    top, process = lines[: lines.index("")], lines[lines.index("") + 1 :]
    assert [line.partition(":")[0] for line in top[:6]] == [
        *("name", "requested state", "routes", "last uploaded", "stack", "buildpacks")
    ]
    assert [line.partition(":")[0] for line in process[:5]] == [
        *("type", "sidecars", "instances", "memory usage", "start command")
    ]
    heads = process[5].split()
    assert heads == [
        *(
            "state",
            "ready",
            "since",
            "cpu",
            "memory",
            "disk",
            "logging",
            "cell",
            "address",
            "details",
        )
    ]
    row = process[6].split()
    assert row[:2] == ["#0", "running"] and "cell-1" in row and "10.255.1.2" in row
    age = datetime.now(UTC) - datetime.fromisoformat(row[3].replace("Z", "+00:00"))
    assert 0 <= age.total_seconds() < 120
    assert "0B of 64M" in process[6] and "0B of 1G" in process[6]
    assert cf("app", "a", "--guid").strip() == client.app("a")["guid"]


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0B"), (1023, "1023B"), (1024, "1K"), (10_695_475, "10.2M"), (2**30, "1G"), (2**41, "2T")],
)
def test_sizes(count: int, text: str) -> None:
    assert size(count) == text


def test_when_an_instance_came_into_its_state() -> None:
    row: dict[str, Any] = {"state": "CRASHED", "uptime": 3600}
    age = datetime.now(UTC) - datetime.fromisoformat(since(row).replace("Z", "+00:00"))
    assert 3595 < age.total_seconds() < 3605
    assert since({"state": "DOWN", "uptime": 0}) == ""


def test_times_are_told_as_people_do() -> None:
    day, _, month, *_, year = friendly("2026-11-15T12:43:38Z").split()
    assert (day, month, year) == ("Sun", "Nov", "2026")
    assert friendly("") == ""


def test_apps_that_go_meanwhile_are_left_out(
    cf: Cf, client: Client, app_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "b"):
        cf("push", name, "-p", str(app_dir), "-c", COMMAND, "--no-start", "--no-route")
    listed = Client.apps

    def apps(self: Client) -> object:
        found = listed(self)
        if len(found) == 2:
            self.delete_app(found[0]["guid"])
        return found

    monkeypatch.setattr(Client, "apps", apps)
    assert [row["name"] for row in json.loads(cf("apps", "--json"))] == ["b"]


def test_no_apps(cf: Cf) -> None:
    assert cf("apps") == "" and cf.said == "No apps found\n"


def test_events_are_told_newest_first(cf: Cf, app_dir: Path) -> None:
    cf("push", "a", "-p", str(app_dir), "-c", COMMAND, "--no-start")
    cf("scale", "a", "-i", "2")
    head, first, *_, last = cf("events", "a").splitlines()
    assert head.split() == ["time", "event", "actor", "description"]
    assert first.split(maxsplit=3)[1:] == ["audit.app.process.scale", "admin", "instances: 2"]
    assert last.split()[1] == "audit.app.create"
