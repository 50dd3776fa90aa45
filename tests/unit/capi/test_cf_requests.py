"""The requests of the cf CLI v7, in its order, with its bodies; and what it reads of the answers.

Recorded with the binary. What it would fail or panic on is asserted: missing keys, empty bodies,
texts that it compares, jobs without an absolute Location.
"""

from __future__ import annotations

import io
import json
import stat
import tarfile
import time
import zipfile
from pathlib import Path
from typing import Any

from capi_world import World, world

API = "http://10.0.16.2"
PUSH_DROPLET = """applications:
- name: a1
  disk-quota: 75M
  instances: 1
  memory: 16M
  default-route: true
  stack: cflinuxfs3
"""
PUSH_DIRECTORY = """applications:
- name: a2
  buildpacks:
  - binary_buildpack
  command: ./run
  default-route: true
  routes:
  - route: h.istio.mesh.lab/nothing/matters
"""


def droplet() -> bytes:
    """As buildpacks leave it: gzip, entries that begin with ./, the start command in YAML."""
    info = json.dumps({"detected_buildpack": "go", "start_command": "./bin/hello-app"}).encode()
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name in ("./app", "./deps", "./profile.d", "./tmp", "./logs"):
            directory = tarfile.TarInfo(name)
            directory.type, directory.mode = tarfile.DIRTYPE, 0o755
            archive.addfile(directory)
        for name, content in (("./app/bin/hello-app", b"\x7fELF"), ("./staging_info.yml", info)):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def package() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        info = zipfile.ZipInfo("run")
        info.external_attr = (stat.S_IFREG | 0o755) << 16
        archive.writestr(info, "#!/bin/sh\n")
    return buffer.getvalue()


class Cf:
    """The CLI, with org `system` and space `dev` targeted."""

    def __init__(self, w: World) -> None:
        self.w = w
        self.links = self.get("/v3")["links"]
        self.space = self.get("/v3/spaces?names=dev&organization_guids=" + self.org())[0]["guid"]

    def org(self) -> str:
        return str(self.get("/v3/organizations?names=system")[0]["guid"])

    def call(self, method: str, path: str, status: tuple[int, ...], **options: Any) -> Any:
        reply = self.w.http.request(method, path, **options)
        assert reply.status_code in status, (method, path, reply.text)
        return reply

    def get(self, path: str) -> Any:
        """A GET; of a list its resources, page by page."""
        body = self.call("GET", path, (200,)).json()
        if "pagination" not in body:
            return body
        found = list(body["resources"])
        while following := body["pagination"]["next"]:
            assert following["href"].startswith(API), "an absolute URL"
            body = self.call("GET", following["href"].removeprefix(API), (200,)).json()
            found += body["resources"]
        return found

    def post(self, path: str, body: Any = None, status: tuple[int, ...] = (200, 201, 202)) -> Any:
        """A POST whose answer must be JSON: an empty one is FAILED EOF."""
        return self.call("POST", path, status, json=body).json()

    def job(self, reply: Any) -> None:
        """What a Location leads to is complete at its first GET, which saves three seconds."""
        location = reply.headers["Location"]
        assert reply.status_code == 202 and location.startswith(f"{API}/v3/jobs/")
        assert self.get(location.removeprefix(API))["state"] == "COMPLETE"

    def manifest(self, text: str) -> None:
        path = f"/v3/spaces/{self.space}/actions/apply_manifest"
        headers = {"Content-Type": "application/x-yaml"}
        self.job(self.call("POST", path, (202,), content=text, headers=headers))

    def app(self, name: str) -> Any:
        (app,) = self.get(f"/v3/apps?names={name}&space_guids={self.space}")
        assert app["name"] == name and app["lifecycle"]["type"] == "buildpack"
        return app

    def wait_started(self, app: str) -> None:
        """The CLI takes an empty list for success, and ends when one instance runs."""
        for process in self.get(f"/v3/apps/{app}/processes"):
            path = f"/v3/processes/{process['guid']}/stats"
            assert self.get(path)["resources"], "while instances are being placed"
            self.w.bbs.run_all()
            assert {r["state"] for r in self.get(path)["resources"]} == {"RUNNING"}

    def summary(self, name: str, *, droplet: bool = True) -> None:
        app = self.app(name)["guid"]
        for process in self.get(f"/v3/apps/{app}/processes"):
            one = self.get(f"/v3/processes/{process['guid']}")
            assert {"guid", "type", "command", "memory_in_mb", "relationships"} <= one.keys()
            assert self.get(f"/v3/processes/{one['guid']}/sidecars") == []
            for row in self.get(f"/v3/processes/{one['guid']}/stats")["resources"]:
                assert {"cpu", "mem", "disk"} <= row["usage"].keys()
                assert {"index", "state", "uptime", "mem_quota", "disk_quota"} <= row.keys()
                assert {"details", "isolation_segment"} <= row.keys()
        for route in self.get(f"/v3/apps/{app}/routes"):
            assert {"guid", "url", "host", "path", "protocol", "destinations"} <= route.keys()
        reply = self.w.http.get(f"/v3/apps/{app}/droplets/current")
        if droplet:
            assert {"created_at", "stack", "buildpacks"} <= reply.json().keys()
        else:
            assert reply.json()["errors"][0]["detail"] == "Droplet not found"

    def assign(self, app: str, guid: str) -> None:
        path = f"/v3/apps/{app}/relationships/current_droplet"
        assert self.call("PATCH", path, (200,), json={"data": {"guid": guid}}).json()

    def build(self, package: str) -> str:
        """The guid of the droplet that a package is staged to."""
        build = self.post("/v3/builds", {"package": {"guid": package}})["guid"]
        deadline = time.monotonic() + 30
        while (found := self.get(f"/v3/builds/{build}"))["state"] == "STAGING":
            assert time.monotonic() < deadline
        assert found["state"] == "STAGED", found["error"]
        return str(self.get(f"/v3/droplets/{found['droplet']['guid']}")["guid"])

    def push_droplet(self) -> str:
        self.get("/")
        self.get("/v3")
        self.manifest(PUSH_DROPLET)
        app = self.app("a1")["guid"]
        relationships = {"app": {"data": {"guid": app}}}
        guid = self.post("/v3/droplets", {"relationships": relationships}, (201,))["guid"]
        files = {"bits": ("proxy.tgz", droplet(), "application/octet-stream")}
        self.job(self.call("POST", f"/v3/droplets/{guid}/upload", (202,), files=files))
        self.assign(app, guid)
        self.post(f"/v3/apps/{app}/actions/restart", status=(200,))
        self.wait_started(app)
        self.summary("a1")
        return str(app)

    def push_directory(self) -> str:
        self.manifest(PUSH_DIRECTORY)
        app = self.app("a2")["guid"]
        resource = {"path": "run", "mode": "755", "checksum": {"value": "0"}, "size_in_bytes": 10}
        matched = self.post("/v3/resource_matches", {"resources": [resource]}, (201,))
        assert matched["resources"] == []
        body = {"type": "bits", "relationships": {"app": {"data": {"guid": app}}}}
        guid = self.post("/v3/packages", body, (201,))["guid"]
        form = {"resources": "[]"}
        files = {"bits": ("package.zip", package(), "application/octet-stream")}
        path = f"/v3/packages/{guid}/upload"
        uploaded = self.call("POST", path, (200,), files=files, data=form).json()
        assert uploaded["state"] == "READY", "saves a poll"
        self.assign(app, self.build(guid))
        self.post(f"/v3/apps/{app}/actions/restart", status=(200,))
        self.wait_started(app)
        self.summary("a2")
        return str(app)


def test_push_of_a_droplet(tmp_path: Path) -> None:
    with world(tmp_path) as w:
        cf = Cf(w)
        app = cf.push_droplet()
        (lrp,) = w.bbs.desired.values()
        assert lrp.action.run_action.args[1] == "./bin/hello-app"
        assert [r["url"] for r in cf.get(f"/v3/apps/{app}/routes")] == ["a1.istio.mesh.lab"]
        found = cf.get(f"/v3/apps/{app}/droplets/current")
        assert found["buildpacks"][0]["buildpack_name"] == "go"
        assert cf.push_droplet() == app, "and a second time"


def test_push_of_a_directory(tmp_path: Path) -> None:
    with world(tmp_path) as w:
        cf = Cf(w)
        app = cf.push_directory()
        urls = [r["url"] for r in cf.get(f"/v3/apps/{app}/routes")]
        assert urls == ["h.istio.mesh.lab/nothing/matters"]
        (lrp,) = w.bbs.desired.values()
        assert lrp.action.run_action.args[1] == "./run"


def test_push_with_the_rolling_strategy(tmp_path: Path) -> None:
    with world(tmp_path) as w:
        cf = Cf(w)
        app = cf.push_droplet()
        relationships = {"app": {"data": {"guid": app}}}
        guid = cf.post("/v3/droplets", {"relationships": relationships}, (201,))["guid"]
        files = {"bits": ("proxy.tgz", droplet(), "application/octet-stream")}
        cf.job(cf.call("POST", f"/v3/droplets/{guid}/upload", (202,), files=files))
        body = {"droplet": {"guid": guid}, "relationships": relationships}
        deployment = cf.post("/v3/deployments", body, (201,))
        assert deployment["new_processes"]
        w.bbs.run_all()
        w.http.run(w.service.deployer.step_all())
        status = cf.get(f"/v3/deployments/{deployment['guid']}")["status"]
        assert (status["value"], status["reason"]) == ("FINALIZED", "DEPLOYED")


def test_apps_scale_start_and_stop(tmp_path: Path) -> None:
    with world(tmp_path) as w:
        cf = Cf(w)
        app = cf.push_directory()
        for listed in cf.get(f"/v3/apps?order_by=name&space_guids={cf.space}"):
            (process,) = cf.get(f"/v3/processes?app_guids={listed['guid']}")
            assert process["relationships"]["app"]["data"]["guid"] == listed["guid"]
            assert cf.get(f"/v3/processes/{process['guid']}/stats")["resources"]
            assert cf.get(f"/v3/routes?app_guids={listed['guid']}")
        path = f"/v3/apps/{app}/processes/web/actions/scale"
        cf.post(path, {"instances": 3}, (202,))
        cf.wait_started(app)
        cf.summary("a2")
        cf.post(path, {"memory_in_mb": 64, "disk_in_mb": 128}, (202,))
        cf.post(f"/v3/apps/{app}/actions/stop", status=(200,))
        assert w.bbs.desired == {}
        # start: looks for a package, and for a droplet staged of it
        newest = cf.get(f"/v3/packages?app_guids={app}&order_by=-created_at&per_page=1")[0]
        staged = cf.get(f"/v3/packages/{newest['guid']}/droplets?per_page=1&states=STAGED")
        assert staged
        started = cf.post(f"/v3/apps/{app}/actions/start", status=(200,))
        assert started["state"] == "STARTED"
        cf.wait_started(app)
        (lrp,) = w.bbs.desired.values()
        assert (lrp.instances, lrp.memory_mb) == (3, 64)


def test_restage(tmp_path: Path) -> None:
    with world(tmp_path) as w:
        cf = Cf(w)
        app = cf.push_directory()
        ready = cf.get(f"/v3/packages?app_guids={app}&order_by=-created_at&states=READY")
        fresh = cf.build(ready[0]["guid"])
        cf.post(f"/v3/apps/{app}/actions/stop", status=(200,))
        cf.assign(app, fresh)
        cf.post(f"/v3/apps/{app}/actions/start", status=(200,))
        cf.wait_started(app)
        cf.summary("a2")
        (lrp,) = w.bbs.desired.values()
        assert fresh in getattr(lrp.setup.download_action, "from")
        pushed = cf.push_droplet()
        path = f"/v3/packages?app_guids={pushed}&order_by=-created_at&states=READY"
        assert cf.get(path) == [], "nothing to restage"


def test_delete_with_routes(tmp_path: Path) -> None:
    with world(tmp_path) as w:
        cf = Cf(w)
        app = cf.push_directory()
        routes = cf.get(f"/v3/apps/{app}/routes")
        assert [d["app"]["guid"] for d in routes[0]["destinations"]] == [app]
        cf.job(cf.call("DELETE", f"/v3/apps/{app}", (202,)))
        for route in routes:
            cf.job(cf.call("DELETE", f"/v3/routes/{route['guid']}", (202,)))
        assert cf.get(f"/v3/apps?names=a2&space_guids={cf.space}") == []
        assert w.bbs.desired == {} and list(w.droplet_dir.iterdir()) == []


def test_environment(tmp_path: Path) -> None:
    with world(tmp_path) as w:
        cf = Cf(w)
        app = cf.push_directory()
        path = f"/v3/apps/{app}/environment_variables"
        cf.call("PATCH", path, (200,), json={"var": {"K": "V"}})
        found = cf.get(f"/v3/apps/{app}/env")
        assert found["environment_variables"] == {"K": "V"}
        application = found["application_env_json"]["VCAP_APPLICATION"]
        assert application["application_uris"] == ["h.istio.mesh.lab/nothing/matters"]
        (lrp,) = w.bbs.desired.values()
        given = {v.name: v.value for v in lrp.action.run_action.env}
        told = json.loads(given["VCAP_APPLICATION"])
        assert application == told
        cf.call("PATCH", path, (200,), json={"var": {"K": None}})
        assert cf.get(f"/v3/apps/{app}/env")["environment_variables"] == {}


def test_an_app_that_was_never_pushed(tmp_path: Path) -> None:
    with world(tmp_path) as w:
        cf = Cf(w)
        w.app("a3")
        cf.summary("a3", droplet=False)
        app = cf.app("a3")["guid"]
        reply = cf.call("POST", f"/v3/apps/{app}/actions/start", (422,)).json()
        assert reply["errors"][0]["detail"] == "Assign a droplet before starting this app."
