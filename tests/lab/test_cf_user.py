"""`meshnet cf` as a user of Cloud Foundry types it, from `api` to `delete`, on a running lab."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from meshnet.model.patience import patient
from netns_lab import status
from netns_lab.stage import APPS, COMMAND, EXTERNAL, INTERNAL, Stage

pytestmark = pytest.mark.sudo
Cf = Callable[..., str]


def until(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + patient(seconds)
    while not condition():
        assert time.monotonic() < deadline, "not in time"
        time.sleep(0.2)


@pytest.fixture
def cf(stage: Stage, tmp_path: Path) -> Cf:
    """A command line of `meshnet cf` in a home of its own; what it prints."""
    env = {k: v for k, v in os.environ.items() if not k.startswith("CF_")}
    env |= {"CF_HOME": str(tmp_path), "CF_CA": status.lab(stage.paths).get("ca", "")}

    def run(line: str, *more: str, code: int = 0) -> str:
        words = [sys.executable, "-m", "meshnet.cli.main", "cf", *line.split(), *more]
        done = subprocess.run(words, capture_output=True, text=True, env=env, timeout=180)
        assert done.returncode == code, f"{line}: {done.stdout}{done.stderr}"
        return done.stdout if code == 0 else done.stderr

    return run


@pytest.fixture
def organization(stage: Stage, cf: Cf) -> Iterator[str]:
    """An organization of a new user, who has logged in and targeted a space of it."""
    lab = status.lab(stage.paths)
    cf(f"api {lab['cf_api']}")
    cf(f"auth {lab['cf_user']} {lab['cf_password']}")
    cf("create-org shop")
    cf("create-space dev -o shop")
    cf("create-user clerk secret")
    cf("set-space-role clerk shop dev SpaceDeveloper")
    cf("logout")
    cf("auth clerk secret")
    cf("target -o shop -s dev")
    yield "shop"
    cf(f"auth {lab['cf_user']} {lab['cf_password']}")
    cf("delete-user clerk -f")
    cf("delete-org shop -f")
    assert "shop" not in {o["name"] for o in json.loads(cf("orgs --json"))}


def manifest(directory: Path) -> Path:
    path = directory / "manifest.yml"
    path.write_text(
        f"""applications:
- name: till
  path: {APPS / "hello"}
  command: {COMMAND}
  memory: 64M
  instances: ((count))
  env: {{GREETING: welcome}}
  routes:
  - route: Till.{EXTERNAL}/pay
- name: desk
  path: {APPS / "frontend"}
  command: {COMMAND}
  memory: 64M
  no-route: true
""",
        encoding="utf-8",
    )
    return path


def test_from_login_to_delete(stage: Stage, cf: Cf, organization: str, tmp_path: Path) -> None:
    cf(f"push -f {manifest(tmp_path)} --var count=1")
    url = f"http://till.{EXTERNAL}/pay"
    stage.until(url, lambda status: status == 200)
    assert stage.outside.get(url)[0].json()["greeting"] == "welcome"
    assert {a["name"] for a in json.loads(cf("apps --json"))} == {"till", "desk"}

    assert cf("scale till -i 2").count("running") == 2
    cf(f"map-route till {EXTERNAL} -n other")
    stage.until(f"http://other.{EXTERNAL}/", lambda status: status == 200)

    cf(f"map-route till {INTERNAL} -n till")
    cf(f"map-route desk {EXTERNAL} -n desk")
    inner = f"http://desk.{EXTERNAL}/proxy/till.{INTERNAL}:8080/"
    stage.until(inner, lambda status: status in (404, 503))  # hidden by Pilot, or cut by the cell
    cf("add-network-policy desk till")
    stage.until(inner, lambda status: status == 200)
    assert "till" in cf("network-policies")

    cf("set-env till GREETING bye")
    cf("push till --strategy rolling", "-p", str(APPS / "hello"))
    until(lambda: stage.outside.get(url)[0].json().get("greeting") == "bye")

    cf("restage desk")  # whose package is not the first that this user sees

    # Somebody else's: not theirs to see or to change.
    assert "not found" in cf("app hello", code=2)
    assert "not authorized" in cf("create-org mine", code=2)
    assert "not authorized" in cf("create-shared-domain mine.example", code=2)

    until(lambda: "[APP/PROC/WEB/0] OUT frontend instance 0 listens" in cf("logs desk --recent"))
    for app in ("till", "desk"):
        cf(f"delete {app} -f -r")
    assert json.loads(cf("apps --json")) == [] == json.loads(cf("routes --json"))
    stage.until(url, lambda status: status == 404)


def test_what_does_not_start_says_why_and_a_deployment_of_it_goes_back(
    cf: Cf, organization: str, tmp_path: Path
) -> None:
    good, bad = APPS / "hello", tmp_path / "bad"
    bad.mkdir()
    script = 'import sys\nprint("no DATABASE_URL", file=sys.stderr)\nsys.exit(7)\n'
    (bad / "app.py").write_text(script, encoding="utf-8")
    push = ("push", "-p", str(bad), "-c", COMMAND, "-m", "64M", "--no-route")
    said = cf("push fails", *push[1:], code=1)
    assert "no DATABASE_URL" in said and "more: meshnet cf logs fails --recent" in said

    cf("push till", "-p", str(good), *push[3:])
    said = cf("push till --strategy rolling", "-p", str(bad), code=1)
    assert "no DATABASE_URL" in said and "meshnet cf cancel-deployment till" in said
    shown = cf("app till")
    assert "Active deployment with status DEPLOYING" in shown and shown.count("running") == 1
    assert "web:0/1, web:1/1" in cf("apps")
    cf("cancel-deployment till")
    until(lambda: "Active deployment" not in cf("app till"))
    until(lambda: "0B of 64M" not in cf("app till"))
    events = cf("events till")
    assert "audit.app.deployment.cancel" in events
    until(lambda: "audit.app.process.crash" in cf("events fails"))
