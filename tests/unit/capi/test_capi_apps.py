"""Apps: their life, their droplets, and what BBS and Copilot are told about them."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from capi_world import LOGIN, tgz, world

from meshnet.capi import validate
from meshnet.wire.gen import bbs_pb2 as pb


def test_public_documents_need_no_token_and_all_else_does(tmp_path: Path) -> None:
    with world(tmp_path) as w:
        w.http.headers["authorization"] = "bearer rubbish"
        for path in ("/", "/v3", "/login"):
            w.ask("GET", path, None, 200)
        assert w.refused("GET", "/v3/apps", None, 401) == "Invalid Auth Token"
        del w.http.headers["authorization"]
        assert w.refused("GET", "/v3/apps", None, 401) == "Authentication error"
        assert w.refused("GET", "/v3/nothing", None, 404) == "Unknown request"


def test_an_app_without_droplet_or_command_does_not_start(tmp_path: Path) -> None:
    with world(tmp_path) as w:
        app = w.app("a")
        start = f"/v3/apps/{app}/actions/start"
        assert w.refused("POST", start, None) == "Assign a droplet before starting this app."
        w.droplet(app)
        assert "No start command" in w.refused("POST", start, None)
        assert w.bbs.desired == {}
        assert w.ask("GET", f"/v3/apps/{app}")["state"] == "STOPPED"


def test_a_started_app_is_what_bbs_and_copilot_are_told(tmp_path: Path) -> None:
    with world(tmp_path) as w:
        app = w.app("a")
        w.map(w.route("istio.mesh.lab", "a", "/p"), app)
        env = {"GREETING": "hola", "GONE": "x"}
        w.ask("PATCH", f"/v3/apps/{app}/environment_variables", {"var": env}, 200)
        w.ask("PATCH", f"/v3/apps/{app}/environment_variables", {"var": {"GONE": None}}, 200)
        w.ask("POST", f"/v3/processes/{app}/actions/scale", {"instances": 3, "memory_in_mb": 64})
        droplet = w.droplet(app)
        w.ask("PATCH", f"/v3/processes/{app}", {"command": "exec ./run"}, 200)
        w.ask("POST", f"/v3/apps/{app}/actions/start", None, 200)
        (lrp,) = w.bbs.desired.values()
        assert lrp.process_guid.startswith(app + "-") and lrp.log_guid == app
        assert (lrp.instances, lrp.memory_mb, list(lrp.ports)) == (3, 64, [8080])
        run = lrp.action.run_action
        assert (run.path, list(run.args)) == ("/tmp/lifecycle/launcher", ["app", "exec ./run", ""])
        given = {v.name: v.value for v in run.env}
        assert given["GREETING"] == "hola" and given["PORT"] == "8080" and "GONE" not in given
        application = json.loads(given["VCAP_APPLICATION"])
        assert application["application_uris"] == ["a.istio.mesh.lab/p"]
        assert lrp.network.properties["policy_group_id"] == app
        download = lrp.setup.download_action
        sha256 = hashlib.sha256((w.droplet_dir / droplet).read_bytes()).hexdigest()
        assert download.checksum_value == sha256
        assert getattr(download, "from") == (
            f"http://cells:of%3Acells@10.0.16.2:80/internal/v4/droplets/{droplet}/{sha256}/download"
        )
        assert w.copilot.calls[-1] == ("associate", app, [lrp.process_guid])


def test_restart_replaces_the_process_and_start_does_not(tmp_path: Path) -> None:
    with world(tmp_path) as w:
        app = w.app("a", start=True)
        (first,) = w.bbs.desired
        w.ask("POST", f"/v3/apps/{app}/actions/start", None, 200)
        assert list(w.bbs.desired) == [first]
        w.ask("POST", f"/v3/apps/{app}/actions/restart", None, 200)
        (second,) = w.bbs.desired
        assert second != first and w.copilot.calls[-1] == ("associate", app, [second])
        w.ask("POST", f"/v3/apps/{app}/actions/stop", None, 200)
        assert w.bbs.desired == {} and w.copilot.calls[-1] == ("dissociate", app)
        path = f"/v3/apps/{app}/actions/explode"
        assert w.refused("POST", path, None, 404) == "Unknown request"


def test_scaling_keeps_the_process(tmp_path: Path) -> None:
    with world(tmp_path) as w:
        app = w.app("a", start=True)
        (before,) = w.bbs.desired
        w.ask("POST", f"/v3/apps/{app}/processes/web/actions/scale", {"instances": 4}, 202)
        ((after, lrp),) = w.bbs.desired.items()
        assert after == before and lrp.instances == 4


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"instances": -1}, "Instances must be between 0 and 1000"),
        ({"instances": 1001}, "Instances must be between"),
        ({"memory_in_mb": 0}, "Memory in mb must be between"),
        ({"memory_in_mb": 10**12}, "Memory in mb must be between"),
        ({"disk_in_mb": 10**12}, "Disk in mb must be between"),
        ({"disk_in_mb": 0}, "Disk in mb must be between"),
        ({"instances": "3"}, "Instances must be an integer"),
        ({"instances": True}, "Instances must be an integer"),
        ({"cpu": 1}, "Unknown field(s): 'cpu'"),
    ],
)
def test_a_scale_that_makes_no_sense_changes_nothing(
    tmp_path: Path, body: dict[str, Any], says: str
) -> None:
    with world(tmp_path) as w:
        app = w.app("a", start=True)
        before = w.ask("GET", f"/v3/processes/{app}")
        assert says in w.refused("POST", f"/v3/processes/{app}/actions/scale", body)
        assert w.ask("GET", f"/v3/processes/{app}") == before


@pytest.mark.parametrize(
    ("path", "body", "says"),
    [
        ("environment_variables", {"var": {"PORT": "1"}}, "reserved"),
        ("environment_variables", {"var": {"VCAP_X": "1"}}, "reserved"),
        ("environment_variables", {"var": {"A=B": "1"}}, "reserved or malformed"),
        ("environment_variables", {"var": {"A": "x\0y"}}, "null characters"),
        ("environment_variables", {"var": {"A": "\ud800"}}, ""),
    ],
)
def test_environment_that_no_process_can_have(
    tmp_path: Path, path: str, body: dict[str, Any], says: str
) -> None:
    with world(tmp_path) as w:
        app = w.app("a")
        # As text: a lone surrogate is JSON, although no client library would write it.
        reply = w.http.patch(
            f"/v3/apps/{app}/{path}",
            content=json.dumps(body),
            headers={"Content-Type": "application/json"},
        )
        assert reply.status_code == 422 and says in reply.json()["errors"][0]["detail"]
        assert w.ask("GET", f"/v3/apps/{app}/env")["environment_variables"] == {}


def test_an_environment_grows_only_so_far(tmp_path: Path) -> None:
    with world(tmp_path) as w:
        app = w.app("a")
        path, half = f"/v3/apps/{app}/environment_variables", "x" * (validate.MAX_ENV_BYTES // 2)
        w.ask("PATCH", path, {"var": {"A": half}}, 200)
        too_large = "Environment is too large"
        assert too_large in w.refused("PATCH", path, {"var": {"B": half}})
        w.ask("PATCH", path, {"var": {"A": None, "B": half}}, 200)
        place = {"space": {"data": {"guid": w.space}}}
        body = {"name": "b", "relationships": place, "environment_variables": {"A": half * 3}}
        assert too_large in w.refused("POST", "/v3/apps", body)
        text = f"applications:\n- name: a\n  env: {{C: {half}}}\n"
        reply = w.http.post(
            f"/v3/spaces/{w.space}/actions/apply_manifest",
            content=text,
            headers={"Content-Type": "application/x-yaml"},
        )
        job = w.ask("GET", reply.headers["Location"].removeprefix("http://10.0.16.2"))
        assert job["state"] == "FAILED" and too_large in job["errors"][0]["detail"]
        assert set(w.records.apps.get(app).env) == {"B"}


def test_an_empty_patch_keeps_the_command_and_null_takes_it(tmp_path: Path) -> None:
    with world(tmp_path) as w:
        app = w.app("a", start=True)
        path = f"/v3/processes/{app}"
        assert w.ask("PATCH", path, {}, 200)["command"] == "python3 app.py"
        assert w.ask("PATCH", path, {"command": None}, 200)["command"] is None
        for command in (" ", "x\0y", "x" * 5000):
            assert w.refused("PATCH", path, {"command": command}).startswith("Command ")


def test_names(tmp_path: Path) -> None:
    with world(tmp_path) as w:
        w.app("Hello")
        body = {"name": "hello", "relationships": {"space": {"data": {"guid": w.space}}}}
        says = w.refused("POST", "/v3/apps", body)
        assert says == "App with the name 'hello' already exists."
        for name in ("", "x" * 256, "a\nb"):
            assert w.refused("POST", "/v3/apps", {**body, "name": name}).startswith("Name ")
        assert [a["name"] for a in w.ask("GET", "/v3/apps?names=HELLO")["resources"]] == ["Hello"]


def test_droplets_are_checked_and_taken_once(tmp_path: Path) -> None:
    with world(tmp_path) as w:
        app = w.app("a")
        body = {"relationships": {"app": {"data": {"guid": app}}}}
        good = tgz(content=b"x" * 100_000)
        torn = bytearray(good)
        torn[len(torn) // 2] ^= 0xFF
        half, wrong_sum = good[: len(good) // 2], good[:-8] + b"\0" * 8
        elsewhere = tgz("elsewhere/app.py")
        for bits in (b"", b"no tar", bytes(torn), half, good[:-1], wrong_sum, elsewhere):
            droplet = w.ask("POST", "/v3/droplets", body)["guid"]
            reply = w.upload(droplet, bits)
            assert reply.status_code == 422, bits[:10]
            path = f"/v3/apps/{app}/relationships/current_droplet"
            w.refused("PATCH", path, {"data": {"guid": droplet}})
        assert list(w.droplet_dir.iterdir()) == []
        droplet = w.droplet(app, good)
        assert "only once" in w.upload(droplet, good).json()["errors"][0]["detail"]
        assert [p.name for p in w.droplet_dir.iterdir()] == [droplet]


def test_a_droplet_that_would_not_fit_a_cell_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("meshnet.capi.archives.MAX_UNPACKED_BYTES", 1000)
    with world(tmp_path) as w:
        app = w.app("a")
        body = {"relationships": {"app": {"data": {"guid": app}}}}
        droplet = w.ask("POST", "/v3/droplets", body)["guid"]
        reply = w.upload(droplet, tgz(content=b"\0" * 1001))
        assert reply.status_code == 422 and "holds more than" in reply.text


def test_cells_fetch_droplets_with_their_own_login(tmp_path: Path) -> None:
    with world(tmp_path) as w:
        droplet = w.droplet(w.app("a"))
        content = (w.droplet_dir / droplet).read_bytes()
        sha256 = hashlib.sha256(content).hexdigest()
        path = f"/internal/v4/droplets/{droplet}/{sha256}/download"
        assert w.http.get(path, auth=LOGIN).content == content
        assert w.http.get(path, auth=(LOGIN[0], "no")).status_code == 401
        assert w.http.get(path).status_code == 401, "a user's token is not enough"
        other = path.replace(sha256, "0" * 64)
        assert w.http.get(other, auth=LOGIN).status_code == 404


def test_another_apps_droplet_is_refused(tmp_path: Path) -> None:
    with world(tmp_path) as w:
        droplet, other = w.droplet(w.app("a")), w.app("b")
        path = f"/v3/apps/{other}/relationships/current_droplet"
        assert "belongs to this app" in w.refused("PATCH", path, {"data": {"guid": droplet}})


def test_stats_show_a_row_for_each_wanted_instance(tmp_path: Path) -> None:
    with world(tmp_path) as w:
        app = w.app("a", start=True)
        w.ask("POST", f"/v3/processes/{app}/actions/scale", {"instances": 5}, 202)
        (process,) = w.bbs.desired
        net = pb.ActualLRPNetInfo(address="10.0.16.21", instance_address="10.255.1.2")
        for index, state in ((0, "RUNNING"), (1, "CRASHED")):
            key = pb.ActualLRPKey(process_guid=process, index=index)
            instance = pb.ActualLRPInstanceKey(instance_guid=f"i{index}", cell_id="cell-1")
            w.bbs.actual.append(
                pb.ActualLRP(
                    actual_lrp_key=key, actual_lrp_instance_key=instance, state=state,
                    actual_lrp_net_info=net, crash_reason="exit 1" if state == "CRASHED" else "",
                )
            )  # fmt: skip
        for index, error in ((2, ""), (3, "insufficient resources: containers")):
            key = pb.ActualLRPKey(process_guid=process, index=index)
            waiting = pb.ActualLRP(actual_lrp_key=key, state="UNCLAIMED", placement_error=error)
            w.bbs.actual.append(waiting)
        rows = w.ask("GET", f"/v3/processes/{app}/stats", None, 200)["resources"]
        assert [r["state"] for r in rows] == ["RUNNING", "CRASHED", "STARTING", "DOWN", "DOWN"]
        assert [r["details"] for r in rows[2:]] == [
            None,
            "insufficient resources: containers",
            None,
        ]
        assert rows[0]["instance_internal_ip"] == "10.255.1.2" and rows[0]["cell_id"] == "cell-1"
        assert rows[1]["details"] == "exit 1"
        assert [r["routable"] for r in rows] == [True, False, False, False, False]
        w.bbs.actual[0].routable = False  # it runs and is not ready
        row = w.ask("GET", f"/v3/processes/{app}/stats", None, 200)["resources"][0]
        assert (row["state"], row["routable"]) == ("RUNNING", False)
        w.bbs.away = True
        w.refused("GET", f"/v3/processes/{app}/stats", None, 503)


def test_a_deleted_app_leaves_its_routes_and_nothing_else(tmp_path: Path) -> None:
    with world(tmp_path) as w:
        app, other = w.app("a", start=True), w.app("b")
        route = w.route("istio.mesh.lab", "r")
        w.map(route, app, other)
        w.ask("DELETE", f"/v3/apps/{app}", None, 202)
        assert w.bbs.desired == {} and list(w.droplet_dir.iterdir()) == []
        assert ("unmap", route, app) in w.copilot.calls
        left = w.ask("GET", f"/v3/routes/{route}/destinations")["destinations"]
        assert [d["app"]["guid"] for d in left] == [other]
        assert w.refused("GET", f"/v3/apps/{app}", None, 404) == "App not found"


def test_bodies_that_are_no_json(tmp_path: Path) -> None:
    with world(tmp_path) as w:
        for content in (b"{", b"[]", b"\xff", b"null"):
            headers = {"Content-Type": "application/json"}
            reply = w.http.post("/v3/apps", content=content, headers=headers)
            assert reply.status_code in (400, 422) and reply.json()["errors"]
