"""Packages and builds: from a pushed directory to a droplet that starts."""

from __future__ import annotations

import errno
import io
import os
import stat
import tarfile
import threading
import time
import zipfile
from pathlib import Path
from typing import Any

import pytest
from capi_world import World, tgz, world

from meshnet.capi import expiry, stager, staging
from meshnet.capi.tenancy_records import Role
from meshnet.model.errors import PlatformError


def zipped(files: dict[str, str]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files.items():
            info = zipfile.ZipInfo(name)
            info.external_attr = (stat.S_IFREG | 0o755) << 16
            archive.writestr(info, content)
    return buffer.getvalue()


def package(w: World, app: str) -> str:
    body = {"type": "bits", "relationships": {"app": {"data": {"guid": app}}}}
    return str(w.ask("POST", "/v3/packages", body, 201)["guid"])


def upload(w: World, guid: str, bits: bytes, **form: str) -> Any:
    files = {"bits": ("package.zip", bits, "application/zip")}
    return w.http.post(f"/v3/packages/{guid}/upload", files=files, data=form)


def build(w: World, guid: str, **more: Any) -> dict[str, Any]:
    """A build's end."""
    made = w.ask("POST", "/v3/builds", {"package": {"guid": guid}, **more}, 201)
    assert made["state"] == "STAGING"
    deadline = time.monotonic() + 30
    while (found := w.ask("GET", f"/v3/builds/{made['guid']}", None, 200))["state"] == "STAGING":
        assert time.monotonic() < deadline
    return dict(found)


def test_a_pushed_directory_becomes_a_droplet_that_starts(tmp_path: Path) -> None:
    with world(tmp_path) as w:
        app = w.app("a")
        guid = package(w, app)
        reply = upload(w, guid, zipped({"run": "#!", "Procfile": "web: ./run\n"}), resources="[]")
        assert (reply.status_code, reply.json()["state"]) == (200, "READY")
        assert w.ask("GET", f"/v3/packages/{guid}")["data"]["checksum"]["value"]
        done = build(w, guid)
        assert (done["state"], done["error"]) == ("STAGED", None)
        assert done["created_by"]["name"] == "admin"
        droplet = done["droplet"]["guid"]
        found = w.ask("GET", f"/v3/droplets/{droplet}", None, 200)
        assert found["state"] == "STAGED" and found["process_types"] == {"web": "./run"}
        assert found["buildpacks"][0]["name"] == "binary_buildpack"
        content = w.http.get(f"/v3/droplets/{droplet}/download").content
        with tarfile.open(fileobj=io.BytesIO(content)) as archive:
            assert archive.getmember("app/run").mode == 0o755
        path = f"/v3/apps/{app}/relationships/current_droplet"
        w.ask("PATCH", path, {"data": {"guid": droplet}}, 200)
        w.ask("POST", f"/v3/apps/{app}/actions/start", None, 200)
        (lrp,) = w.bbs.desired.values()
        assert lrp.action.run_action.args[1] == "./run"
        assert w.ask("GET", f"/v3/processes/{app}")["command"] == "./run"


def test_a_build_without_any_start_command_is_staged_and_does_not_start(tmp_path: Path) -> None:
    with world(tmp_path) as w:
        app = w.app("a")
        guid = package(w, app)
        upload(w, guid, zipped({"run": "#!"}))
        droplet = build(w, guid)["droplet"]["guid"]
        path = f"/v3/apps/{app}/relationships/current_droplet"
        w.ask("PATCH", path, {"data": {"guid": droplet}}, 200)
        says = w.refused("POST", f"/v3/apps/{app}/actions/start", None)
        assert says.startswith("No start command specified by buildpack or via Procfile.")
        w.ask("PATCH", f"/v3/processes/{app}", {"command": "./run"}, 200)
        w.ask("POST", f"/v3/apps/{app}/actions/start", None, 200)


def test_other_buildpacks_get_a_clear_answer(tmp_path: Path) -> None:
    with world(tmp_path) as w:
        app = w.app("a")
        guid = package(w, app)
        upload(w, guid, zipped({"main.go": ""}))
        lifecycle = {"type": "buildpack", "data": {"buildpacks": ["go_buildpack"]}}
        done = build(w, guid, lifecycle=lifecycle)
        assert done["state"] == "FAILED" and done["droplet"] is None
        assert "go_buildpack cannot be run here" in done["error"]
        lifecycle["data"] = {"buildpacks": ["nonsense"]}
        body = {"package": {"guid": guid}, "lifecycle": lifecycle}
        assert "must be an existing admin buildpack or a valid git URI" in w.refused(
            "POST", "/v3/builds", body
        )
        assert len(w.ask("GET", f"/v3/apps/{app}/builds?states=FAILED")["resources"]) == 1


def test_packages_that_are_refused_leave_nothing(tmp_path: Path) -> None:
    with world(tmp_path) as w:
        app = w.app("a")
        guid = package(w, app)
        for bits in (b"", b"no zip", zipped({"../x": ""}), zipped({"/x": ""}), zipped({})):
            reply = upload(w, guid, bits)
            assert reply.status_code == 422
            assert "The app upload is invalid" in reply.json()["errors"][0]["detail"]
        for resources in ("{", "{}", '[{"path": "x"}]'):
            assert upload(w, guid, zipped({"a": ""}), resources=resources).status_code == 422
        assert w.ask("GET", f"/v3/packages/{guid}")["state"] == "AWAITING_UPLOAD"
        assert list(w.droplet_dir.iterdir()) == []
        says = w.refused("POST", "/v3/builds", {"package": {"guid": guid}})
        assert says == "Cannot stage package whose state is not ready."
        assert w.refused("GET", f"/v3/packages/{guid}/download", None)
        assert upload(w, guid, zipped({"a": ""})).status_code == 200
        assert upload(w, guid, zipped({"a": ""})).status_code == 400, "only once"
        assert w.http.post(f"/v3/packages/{package(w, app)}/upload").status_code == 422


def test_docker_is_refused_in_so_many_words(tmp_path: Path) -> None:
    with world(tmp_path) as w:
        app = w.app("a")
        relationships = {"app": {"data": {"guid": app}}}
        body = {"type": "docker", "data": {"image": "x"}, "relationships": relationships}
        assert "Docker images cannot be run here" in w.refused("POST", "/v3/packages", body)
        lifecycle = {"type": "docker", "data": {}}
        assert "Docker" in w.refused("PATCH", f"/v3/apps/{app}", {"lifecycle": lifecycle})


def test_an_upload_the_disk_has_no_room_for_is_no_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with world(tmp_path) as w:
        app = w.app("a")
        guid = package(w, app)
        with monkeypatch.context() as patch:
            patch.setattr("meshnet.capi.bits._copy", full)
            reply = upload(w, guid, zipped({"a": ""}))
            assert reply.status_code == 503 and "No space left" in reply.text
        assert upload(w, guid, zipped({"a": ""})).status_code == 200
        with monkeypatch.context() as patch:
            patch.setattr(staging, "stage", full)
            assert "No space left" in build(w, guid)["error"]
        assert [p.name for p in w.droplet_dir.iterdir()] == [guid]


def test_a_build_that_a_kill_interrupted_is_staged_after_the_restart(tmp_path: Path) -> None:
    with world(tmp_path) as w:
        app = w.app("a")
        guid = package(w, app)
        upload(w, guid, zipped({"a": ""}))
        # The call answers before anything is staged; this process ends here.
        w.service.stager.begin = lambda build: None  # type: ignore[method-assign]
        made = w.ask("POST", "/v3/builds", {"package": {"guid": guid}}, 201)["guid"]
        (w.droplet_dir / "half.new").write_bytes(b"half")
        (w.droplet_dir / "unknown").write_bytes(b"never acknowledged")
    with world(tmp_path) as w:

        async def resume() -> None:
            w.service.resume()

        w.http.run(resume())
        deadline = time.monotonic() + 30
        while w.ask("GET", f"/v3/builds/{made}")["state"] == "STAGING":
            assert time.monotonic() < deadline
        found = w.ask("GET", f"/v3/builds/{made}")
        assert found["state"] == "STAGED"
        names = {p.name for p in w.droplet_dir.iterdir()}
        assert names == {guid, found["droplet"]["guid"]}, "and what was half written is gone"


def test_the_newest_package_is_the_first_when_asked_so(tmp_path: Path) -> None:
    with world(tmp_path) as w:
        app = w.app("a")
        guids = [package(w, app) for _ in range(3)]
        path = f"/v3/packages?app_guids={app}&order_by=-created_at&per_page=1"
        assert w.ask("GET", path)["resources"][0]["guid"] == guids[-1]
        path = f"/v3/packages/{guids[-1]}/droplets?per_page=1&states=STAGED"
        assert w.ask("GET", path)["resources"] == []
        w.ask("DELETE", f"/v3/packages/{guids[-1]}", None, 202)
        assert len(w.ask("GET", f"/v3/apps/{app}/packages")["resources"]) == 2


def test_nothing_is_ever_matched(tmp_path: Path) -> None:
    with world(tmp_path) as w:
        resource = {"path": "a", "checksum": {"value": "x"}, "size_in_bytes": 1, "mode": "644"}
        body = {"resources": [resource]}
        assert w.ask("POST", "/v3/resource_matches", body, 201) == {"resources": []}


def test_of_an_apps_bits_the_newest_few_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(expiry, "MOST_PACKAGES", 2)
    monkeypatch.setattr(expiry, "MOST_DROPLETS", 2)
    with world(tmp_path) as w:
        app, other = w.app("a"), w.app("b")
        elsewhere = package(w, other)
        upload(w, elsewhere, zipped({"a": ""}))
        waiting, packages, droplets = package(w, app), list[str](), list[str]()
        for n in range(5):
            packages.append(package(w, app))
            assert upload(w, packages[-1], zipped({"a": str(n)})).status_code == 200
            droplets.append(str(build(w, packages[-1])["droplet"]["guid"]))
            if n == 0:  # what the app has stays, however old
                path = f"/v3/apps/{app}/relationships/current_droplet"
                w.ask("PATCH", path, {"data": {"guid": droplets[0]}}, 200)
        kept = {elsewhere, *packages[-2:], droplets[0], *droplets[-2:]}
        assert {path.name for path in w.droplet_dir.iterdir()} == kept
        shown = w.ask("GET", f"/v3/apps/{app}/packages?order_by=created_at")["resources"]
        states = ["AWAITING_UPLOAD", *["EXPIRED"] * 3, "READY", "READY"]
        assert [one["state"] for one in shown] == states
        shown = w.ask("GET", f"/v3/apps/{app}/droplets?order_by=created_at")["resources"]
        states = ["STAGED", *["EXPIRED"] * 2, "STAGED", "STAGED"]
        assert [one["state"] for one in shown] == states
        assert w.refused("GET", f"/v3/packages/{packages[0]}/download", None)
        assert w.refused("GET", f"/v3/droplets/{droplets[1]}/download", None)
        assert "not ready" in w.refused("POST", "/v3/builds", {"package": {"guid": packages[0]}})
        body = {"data": {"guid": droplets[1]}}
        assert w.refused("PATCH", f"/v3/apps/{app}/relationships/current_droplet", body)
        assert upload(w, packages[0], zipped({"a": ""})).status_code == 400, "only once"
        assert "only once" in w.upload(droplets[1], tgz()).text
        assert upload(w, waiting, zipped({"a": ""})).status_code == 200


def test_what_is_changed_of_a_build_while_it_is_staged_stays(tmp_path: Path) -> None:
    with world(tmp_path) as w:
        app = w.app("a")
        guid = package(w, app)
        upload(w, guid, zipped({"a": ""}))
        gate = threading.Event()
        stage = staging.stage
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(staging, "stage", lambda *args: (gate.wait(), stage(*args))[1])
            made = w.ask("POST", "/v3/builds", {"package": {"guid": guid}}, 201)["guid"]
            metadata = {"metadata": {"labels": {"a": "b"}}}
            w.ask("PATCH", f"/v3/builds/{made}", metadata, 200)
            gate.set()
            deadline = time.monotonic() + 30
            while (found := w.ask("GET", f"/v3/builds/{made}"))["state"] == "STAGING":
                assert time.monotonic() < deadline
        assert found["state"] == "STAGED" and found["metadata"]["labels"] == {"a": "b"}


def test_a_droplet_that_is_made_is_not_lost_for_what_comes_after_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: object) -> None:
        raise PlatformError("the store is away")

    monkeypatch.setattr(stager, "expire", refuse)
    with world(tmp_path) as w:
        guid = package(w, w.app("a"))
        upload(w, guid, zipped({"a": ""}))
        found = build(w, guid)
        assert w.ask("GET", f"/v3/builds/{found['guid']}")["state"] == found["state"] == "STAGED"
        assert not [text for text in w.log_cache.said() if "Error" in text]


def test_who_may_not_have_a_droplets_bits_gets_no_copy_of_it(tmp_path: Path) -> None:
    with world(tmp_path) as w:
        source = w.droplet(w.app("a"))
        org = w.ask("GET", f"/v3/spaces/{w.space}")["relationships"]["organization"]["data"]["guid"]
        own = w.space_in(org, "own")
        body = {"name": "mine", "relationships": {"space": {"data": {"guid": own}}}}
        mine = w.ask("POST", "/v3/apps", body, 201)["guid"]
        here = w.space
        ann = w.user("ann", organization_user=org, space_auditor=here)
        w.records.roles.put(Role(type="space_developer", user=ann, target=own))
        w.sign_in("ann")
        body = {"relationships": {"app": {"data": {"guid": mine}}}}
        assert w.refused("GET", f"/v3/droplets/{source}/download", None, 403)
        assert w.refused("POST", f"/v3/droplets?source_guid={source}", body, 403)
        w.sign_in()
        w.ask("POST", f"/v3/droplets?source_guid={source}", body, 201)


def test_a_copy_for_an_app_that_is_deleted_meanwhile_leaves_nothing(tmp_path: Path) -> None:
    with world(tmp_path) as w:
        source, app = w.droplet(w.app("a")), w.app("b")
        link = os.link

        def deleting(*args: Any) -> None:
            link(*args)
            w.records.apps.delete(app)

        body = {"relationships": {"app": {"data": {"guid": app}}}}
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(os, "link", deleting)
            assert w.refused("POST", f"/v3/droplets?source_guid={source}", body)
        assert [path.name for path in w.droplet_dir.iterdir()] == [source]
