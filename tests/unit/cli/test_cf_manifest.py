"""Manifests as `meshnet cf push` reads them: mistakes name the line, the app and the key."""

from __future__ import annotations

from pathlib import Path

import pytest
from cf_command import COMMAND, Cf

from meshnet.cli import cf_manifest
from meshnet.cli.client import Client
from meshnet.model.errors import InputError


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (
            "applications:\n- name: a\n- path: x\n",
            "manifest.yml, line 3: application 2 has no name",
        ),
        ("applications:\n- name: a\n- b\n", "line 3: application 2 is no mapping of keys"),
        ("applications:\n- name: [a]\n", "line 2: application 1: name: want text"),
        ("applications: a\n", "has no `applications:`"),
        ("- a\n", "has no `applications:`"),
        ("applications:\n- name: a\n  path: 5\n", "application 1 (a): path: want text, not 5"),
        ("applications:\n- name: a\n  command: [x]\n", "(a): command: want text"),
        (
            "applications:\n- name: a\n  env: {B: ((b))}\n",
            "application 1 (a): env: B: the variable ((b)) is not given: --var b=VALUE",
        ),
        ("applications:\n- name: a\n  x: [\n", "is no YAML: "),
    ],
)
def test_a_mistake_says_where_it_is(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "manifest.yml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError) as caught:
        cf_manifest.load(path, {})
    assert says in str(caught.value) and "\n" not in str(caught.value)


def test_applications_may_come_by_a_merge(tmp_path: Path) -> None:
    path = tmp_path / "manifest.yml"
    path.write_text("x: &x\n  applications: [{name: a}]\n<<: *x\n", encoding="utf-8")
    assert cf_manifest.load(path, {}).applications == [{"name": "a"}]
    path.write_text("x: &x\n  applications: [{path: a}]\n<<: *x\n", encoding="utf-8")
    with pytest.raises(InputError, match="application 1 has no name"):
        cf_manifest.load(path, {})


def test_a_name_may_be_a_number(tmp_path: Path) -> None:
    path = tmp_path / "manifest.yml"
    path.write_text("applications:\n- name: 42\n  path:\n", encoding="utf-8")
    assert cf_manifest.load(path, {}).applications == [{"name": "42"}]


def test_nothing_is_pushed_where_one_of_several_cannot_be(
    cf: Cf, client: Client, app_dir: Path, tmp_path: Path
) -> None:
    path = tmp_path / "manifest.yml"
    path.write_text(
        f"applications:\n- name: a\n  path: {app_dir}\n  command: {COMMAND}\n"
        "- name: b\n  path: nowhere\n",
        encoding="utf-8",
    )
    said = cf("push", "-f", str(path), status=2)
    assert said.splitlines()[-1].startswith("meshnet: b: ") and "not a directory" in said
    assert client.apps() == []
    path.write_text(path.read_text().replace("path: nowhere", f"path: {app_dir}\n  memory: lots"))
    said = cf("push", "-f", str(path), "--no-start", status=2).splitlines()[-1]
    assert "'b'" in said or "b: " in said
    assert "start command" in said or "Memory" in said


def test_an_app_becomes_a_manifest_that_push_takes(
    cf: Cf, client: Client, app_dir: Path, tmp_path: Path
) -> None:
    cf("push", "a", "-p", str(app_dir), "-c", COMMAND, "-m", "64M", "--no-start", "-n", "shop")
    path = tmp_path / "a.yml"
    said = cf("create-app-manifest", "a", "-p", str(path))
    assert said == f"Manifest file created successfully at {path}\n"
    cf("delete", "a", "-f", "-r")
    cf("push", "-f", str(path), "-p", str(app_dir), "--no-start", "-i", "3", "-k", "2G")
    process = client.process(client.app("a")["guid"])
    assert (process["instances"], process["disk_in_mb"]) == (3, 2048), "flags come first"
    assert client.process(client.app("a")["guid"])["memory_in_mb"] == 64
    assert [r["url"] for r in client.routes()] == ["shop.istio.mesh.lab"]
    assert "cannot write" in cf("create-app-manifest", "a", "-p", str(tmp_path), status=2)
