"""Rolling deployments under load: no request fails, whoever dies meanwhile."""

from __future__ import annotations

import io
import os
import signal
import zipfile
from functools import partial
from typing import Any

import pytest

from netns_lab import status
from netns_lab.stage import APPS, EXTERNAL, Stage
from netns_lab.traffic import Load

from .test_policy import wait

pytestmark = pytest.mark.sudo
DEADLINE_SECONDS = 90.0


def deploy(stage: Stage, app: str) -> str:
    relationships = {"app": {"data": {"guid": stage.guids[app]}}}
    return str(stage.client.post("/v3/deployments", {"relationships": relationships})["guid"])


def reason(stage: Stage, deployment: str) -> Any:
    return stage.client.get(f"/v3/deployments/{deployment}")["status"]["reason"]


def ended(stage: Stage, deployment: str) -> bool:
    return bool(reason(stage, deployment) == "DEPLOYED")


def guids(stage: Stage, app: str) -> set[str]:
    return {row["guid"] for row in stage.instances(app)}


def has_two(stage: Stage, app: str) -> bool:
    return len(guids(stage, app)) == 2


def capi(stage: Stage) -> dict[str, Any]:
    return next(d for d in status.collect(stage.paths)["daemons"] if d["name"] == "control.capi")


def is_back(stage: Stage, killed: int) -> bool:
    row = capi(stage)  # one look: by a second one the killed may be gone and the next not ready
    return bool(row["ready"] and row["pid"] != killed)


def test_a_rolling_deployment_fails_no_request_though_the_api_is_killed_meanwhile(
    stage: Stage,
) -> None:
    before = {app: guids(stage, app) for app in ("hello", "backend")}
    with (
        Load(stage.outside, stage.via_frontend("backend")) as inside,
        Load(stage.outside, f"http://hello.{EXTERNAL}/") as outside,
    ):
        wait(lambda: len(inside.so_far()) >= 20 and len(outside.so_far()) >= 20)
        deployments = [deploy(stage, app) for app in before]
        killed = capi(stage)["pid"]
        os.kill(int(killed), signal.SIGKILL)
        wait(lambda: is_back(stage, killed), DEADLINE_SECONDS)
        for deployment in deployments:
            wait(partial(ended, stage, deployment), DEADLINE_SECONDS)
        done = len(inside.so_far()), len(outside.so_far())
        wait(lambda: len(inside.so_far()) > done[0] and len(outside.so_far()) > done[1])
        replies = [*inside.stop(), *outside.stop()]
    assert [r for r in replies if r.status != 200] == []
    for app, old in before.items():
        wait(partial(has_two, stage, app))
        assert guids(stage, app) & old == set(), "every instance was replaced"
    assert {r.json()["instance_guid"] for r in outside.stop()[-20:]} <= guids(stage, "hello")


def test_a_cancelled_deployment_goes_back_without_a_failed_request(stage: Stage) -> None:
    before = guids(stage, "hello")
    with Load(stage.outside, f"http://hello.{EXTERNAL}/") as load:
        deployment = deploy(stage, "hello")
        stage.client.post(f"/v3/deployments/{deployment}/actions/cancel")
        wait(lambda: reason(stage, deployment) == "CANCELED", DEADLINE_SECONDS)
        replies = load.stop()
    assert [r for r in replies if r.status != 200] == []
    wait(partial(has_two, stage, "hello"))
    assert guids(stage, "hello") & before, "those that ran stay"


def test_a_build_and_its_droplet_outlive_the_api_that_acknowledged_them(stage: Stage) -> None:
    client, app = stage.client, stage.guids["hola"]
    relationships = {"app": {"data": {"guid": app}}}
    package = client.post("/v3/packages", {"type": "bits", "relationships": relationships})["guid"]
    bits = io.BytesIO()
    with zipfile.ZipFile(bits, "w") as archive:
        archive.write(APPS / "hello" / "app.py", "app.py")
        archive.writestr("Procfile", "web: python3 -u app.py\n")
    files = {"bits": ("package.zip", bits.getvalue(), "application/zip")}
    client.call("POST", f"/v3/packages/{package}/upload", files=files)
    build = client.post("/v3/builds", {"package": {"guid": package}})["guid"]
    killed = capi(stage)["pid"]
    os.kill(int(killed), signal.SIGKILL)
    wait(lambda: is_back(stage, killed), DEADLINE_SECONDS)
    wait(lambda: client.get(f"/v3/builds/{build}")["state"] != "STAGING", DEADLINE_SECONDS)
    droplet = client.get(f"/v3/builds/{build}")["droplet"]["guid"]
    body = {"droplet": {"guid": droplet}, "relationships": relationships}
    before = guids(stage, "hola")
    deployment = client.post("/v3/deployments", body)["guid"]
    wait(partial(ended, stage, deployment), DEADLINE_SECONDS)
    wait(lambda: len(guids(stage, "hola")) == 1 and not guids(stage, "hola") & before)
    assert client.get(f"/v3/droplets/{droplet}")["process_types"] == {"web": "python3 -u app.py"}
    assert stage.outside.get(f"http://hello.{EXTERNAL}/hola")[0].status == 200
