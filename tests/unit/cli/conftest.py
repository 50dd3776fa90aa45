"""A control plane with a cell that says yes, and `meshnet cf` that speaks to it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from cf_command import Cf
from control_plane import HOST, ROOMS, Cell, ControlPlane

from meshnet.cli.client import Client


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    made = ControlPlane(tmp_path_factory.mktemp("plane"))
    try:
        made.start(*ROOMS)
        yield made
    finally:
        made.close()


@pytest.fixture(scope="module")
def cell(plane: ControlPlane) -> Iterator[Cell]:
    made = Cell(f"http://{HOST}:{plane.ports['bbs']}")
    yield made
    made.close()


@pytest.fixture
def client(plane: ControlPlane, cell: Cell, monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    for name, value in plane.environment.items():
        monkeypatch.setenv(name, value)
    made = Client(*plane.environment.values())
    yield made
    for app in made.apps():
        made.delete_app(app["guid"])
    for route in made.routes():
        made.delete_route(route["guid"])
    made.close()


@pytest.fixture
def cf(client: Client, capsys: pytest.CaptureFixture[str]) -> Cf:
    return Cf(capsys)


@pytest.fixture
def app_dir(tmp_path: Path) -> Path:
    directory = tmp_path / "app"
    directory.mkdir()
    (directory / "app.py").write_text("print()", encoding="utf-8")
    return directory
