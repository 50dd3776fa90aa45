"""Manifests: what they ask, what is refused, what applying one does."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from capi_world import World, world
from hypothesis import given
from hypothesis import strategies as st

from meshnet.capi import manifest, manifest_yaml, routing
from meshnet.capi.errors import ApiError

YAML = {"Content-Type": "application/x-yaml"}
RAW = "applications:\n- name: a\n"


def post(w: World, text: str | bytes, call: str = "actions/apply_manifest") -> Any:
    return w.http.post(f"/v3/spaces/{w.space}/{call}", content=text, headers=YAML)


def apply(w: World, text: str) -> dict[str, Any]:
    """The job of a manifest that is understood."""
    reply = post(w, text)
    assert reply.status_code == 202, reply.text
    return dict(w.ask("GET", reply.headers["Location"].removeprefix("http://10.0.16.2"), None, 200))


def applied(w: World, text: str) -> str:
    """The guid of the app `a`."""
    job = apply(w, text)
    assert (job["state"], job["operation"]) == ("COMPLETE", "space.apply_manifest"), job
    return str(w.ask("GET", "/v3/apps?names=a")["resources"][0]["guid"])


def urls(w: World, app: str) -> list[str]:
    return sorted(r["url"] for r in w.ask("GET", f"/v3/apps/{app}/routes")["resources"])


def test_a_push_makes_an_app_with_its_default_route(tmp_path: Path) -> None:
    text = """
applications:
- name: a
  path: /home/user/a
  disk-quota: 75M
  instances: 1
  memory: 16M
  default-route: true
  stack: cflinuxfs3
"""
    with world(tmp_path) as w:
        app = applied(w, text)
        process = w.ask("GET", f"/v3/processes/{app}", None, 200)
        assert (process["memory_in_mb"], process["disk_in_mb"]) == (16, 75)
        assert urls(w, app) == ["a.istio.mesh.lab"]
        assert w.ask("GET", f"/v3/apps/{app}")["lifecycle"]["data"]["stack"] == "cflinuxfs3"
        assert applied(w, text) == app and urls(w, app) == ["a.istio.mesh.lab"]


def test_what_a_manifest_says_is_set_and_all_else_is_left(tmp_path: Path) -> None:
    text = """
applications:
- name: a
  memory: 1G
  env: {GREETING: hola, COUNT: 3, FLAG: true, NOTHING: ~}
  buildpacks: [binary_buildpack]
  command: ./run
  timeout: 90
  health-check-type: http
  health-check-http-endpoint: /health
  health-check-invocation-timeout: 3
  metadata: {labels: {team: mesh}, annotations: {note: "a b"}}
  log-rate-limit-per-second: 1K
"""
    with world(tmp_path) as w:
        app = applied(w, text)
        record = w.records.apps.get(app)
        assert record.env == {"GREETING": "hola", "COUNT": "3", "FLAG": "true", "NOTHING": ""}
        assert (record.memory_in_mb, record.command, record.log_rate_limit) == (1024, "./run", 1024)
        assert record.buildpacks == ["binary_buildpack"] and record.disk_in_mb == 1024
        assert (record.health_check_type, record.health_check_endpoint) == ("http", "/health")
        assert (record.health_check_timeout, record.health_check_invocation_timeout) == (90, 3)
        assert record.metadata["labels"] == {"team": "mesh"}
        more = "applications:\n- name: a\n  instances: 2\n  env: {COUNT: '4'}\n  command: null\n"
        assert applied(w, more) == app
        after = w.records.apps.get(app)
        assert (after.instances, after.env["COUNT"], after.env["GREETING"]) == (2, "4", "hola")
        assert after.command is None and after.memory_in_mb == 1024


def test_keys_with_hyphens_and_with_underscores_are_one(tmp_path: Path) -> None:
    with world(tmp_path) as w:
        app = applied(w, "applications:\n- name: a\n  disk_quota: 12MB\n  health_check_type: none")
        assert w.records.apps.get(app).disk_in_mb == 12
        assert w.records.apps.get(app).health_check_type == "process"
        rows = "{type: web, disk-quota: 13M, instances: 3}, {type: worker, instances: 1}"
        job = apply(w, f"applications:\n- name: a\n  memory: 99M\n  processes: [{rows}]\n")
        record = w.records.apps.get(app)
        assert (record.disk_in_mb, record.instances) == (13, 3)
        assert record.memory_in_mb == 256, "what is said of the process stands in for the app's"
        assert "'worker' is not run" in job["warnings"][0]["detail"]


def test_routes_are_made_mapped_and_added(tmp_path: Path) -> None:
    with world(tmp_path) as w:
        other = w.app("other")
        shared = w.route("istio.mesh.lab", "shared")
        w.map(shared, other)
        text = """
applications:
- name: a
  routes:
  - route: A.istio.mesh.lab/nothing/matters
  - route: https://shared.istio.mesh.lab
  - route: deep.host.istio.apps.internal
  - route: A.istio.mesh.lab/nothing/matters
"""
        says = apply(w, text)["errors"][0]["detail"]
        assert says.startswith("For application 'a': Host must"), "nothing of it is done"
        assert w.ask("GET", "/v3/apps?names=a")["resources"] == []
        app = applied(w, text.replace("deep.host", "inside"))
        assert urls(w, app) == [
            *("A.istio.mesh.lab/nothing/matters", "inside.istio.apps.internal"),
            "shared.istio.mesh.lab",
        ]
        assert ("map", shared, app, 1) in w.copilot.calls
        more = (
            "applications:\n- name: a\n  default-route: true\n  routes: [{route: b.istio.mesh.lab}]"
        )
        assert applied(w, more) == app
        assert len(urls(w, app)) == 4, "routes are added"
        applied(w, "applications:\n- name: a\n  no-route: true\n")
        assert urls(w, app) == []
        assert w.ask("GET", f"/v3/routes/{shared}")["destinations"][0]["app"]["guid"] == other
        applied(w, "applications:\n- name: a\n  random-route: true\n")
        (url,) = urls(w, app)
        assert url.startswith("a-") and url.endswith(".istio.mesh.lab")
        applied(w, "applications:\n- name: a\n  random-route: true\n")
        assert urls(w, app) == [url], "only an app without a route gets one"


@pytest.mark.parametrize(
    ("route", "says"),
    [
        ("a.example.com", "did not match any existing domains."),
        ("istio.mesh.lab", "Missing host"),
        ("a b.istio.mesh.lab", "is not a properly formed URL"),
        ("a.istio.mesh.lab:80", "is not a properly formed URL"),
        ("/x", "is not a properly formed URL"),
        ("inside.apps.internal/path", "Paths are not supported for internal domains."),
        ("a.istio.mesh.lab/" + "x" * 200, "Path is too long"),
    ],
)
def test_routes_that_cannot_be_leave_the_app_as_it_was(
    tmp_path: Path, route: str, says: str
) -> None:
    with world(tmp_path) as w:
        app = applied(w, RAW)
        before = w.records.apps.get(app)
        text = f"applications:\n- name: a\n  instances: 7\n  routes: [{{route: '{route}'}}]\n"
        job = apply(w, text)
        assert job["state"] == "FAILED" and says in job["errors"][0]["detail"]
        assert w.records.apps.get(app) == before and urls(w, app) == []


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("memory: 64", 'Process "web": Memory must use a supported unit: B, K, KB, M, MB, G, GB'),
        ("memory: much", 'Process "web": Memory is not a number'),
        ("memory: 1K", 'Process "web": Memory must be greater than 0MB'),
        ("memory: 99999G", 'Process "web": Memory in mb must be between'),
        ("disk-quota: -1M", 'Process "web": Disk quota must use a supported unit'),
        ("instances: -1", 'Process "web": Instances must be greater than or equal to 0'),
        ("instances: many", 'Process "web": Instances is not a number'),
        ("instances: 1.5", 'Process "web": Instances must be an integer'),
        ("instances: true", 'Process "web": Instances is not a number'),
        ("command: [a]", 'Process "web": Command must be a string'),
        ("timeout: 0", 'Process "web": Timeout must be greater than or equal to 1'),
        ("health-check-type: tcp", 'Process "web": Health check type must be "port", "process"'),
        ("health-check-type: 5", 'Process "web": Health check type must be "port", "process"'),
        ("health-check-http-endpoint: x", "Health check http endpoint must be a valid URI path"),
        ("health-check-http-endpoint: [x]", "Health check http endpoint must be a string"),
        ("{health-check-type: port, health-check-http-endpoint: /x}", 'type must be "http" to set'),
        ("env: [a]", "Env must be an object of keys and values"),
        ("env: {VCAP_X: 1}", "reserved"),
        ("stack: windows", "Stack must be an existing stack"),
        ("buildpacks: [nonsense]", "must be an existing admin buildpack or a valid git URI"),
        ("buildpacks: 5", "Buildpacks can only contain strings"),
        ("{buildpack: a, buildpacks: [b]}", "fields cannot be used together."),
        ("docker: {image: x}", "Docker images cannot be run here"),
        ("routes: x", "Routes must be a list of route objects"),
        ("routes: [{url: x}]", "Routes must be a list of route objects"),
        ("{no-route: true, routes: [{route: x}]}", "Cannot use the combination of properties"),
        ("{no-route: true, random-route: true}", "may not be used together"),
        ("no-route: maybe", "No-route must be a boolean"),
        ("processes: x", "Processes must be an array of process configurations"),
        ("processes: [{memory: 1G}]", "All Processes must specify a type"),
        ("processes: [{type: web}, {type: web}]", 'Process "web" may only be present once'),
        ("metadata: {labels: {'': x}}", "Metadata label key error"),
        ("metadata: {labels: [x]}", "Metadata labels"),
    ],
)
def test_mistakes_are_named_with_their_app_and_change_nothing(
    tmp_path: Path, line: str, says: str
) -> None:
    given = yaml.safe_load(line)
    text = yaml.safe_dump({"applications": [{"name": "a", **given}]})
    with world(tmp_path) as w:
        reply = post(w, text)
        if reply.status_code == 202:  # it shows only with what is there
            job = w.ask("GET", reply.headers["Location"].removeprefix("http://10.0.16.2"))
            errors = job["errors"]
        else:
            assert reply.status_code == 422, reply.text
            errors = reply.json()["errors"]
        assert errors[0]["detail"].startswith("For application 'a': ")
        assert says in errors[0]["detail"]
        assert w.ask("GET", "/v3/apps")["resources"] == []


def test_every_mistake_is_named(tmp_path: Path) -> None:
    with world(tmp_path) as w:
        text = "applications:\n- name: a\n  memory: 1\n  instances: x\n- memory: 1G\n"
        details = [e["detail"] for e in post(w, text).json()["errors"]]
        assert len(details) == 3
        assert details[2] == "For application at index 1: Name must not be empty"


@pytest.mark.parametrize(
    "text",
    [
        *("", "[]", "a", "applications:", "applications: {}", "applications: []"),
        *("applications: [a]", "applications: [{1: 2}]", "a: [", "\0", "--- a\n--- b"),
        *("a: !!python/object:os.system {}", "applications: [{name: &x a, env: {y: *x}}]"),
        *("&a [*a]", "[" * 10_000, "{" * 10_000, "applications: [{? [a] : b}]"),
        *("applications: [{name: 1" + "0" * 5000 + "}]", "x: 2001-99-99", 'a: "\\UFFFFFFFF"'),
    ],
)
def test_what_is_no_manifest_is_refused(tmp_path: Path, text: str) -> None:
    with world(tmp_path) as w:
        for call in ("actions/apply_manifest", "manifest_diff"):
            reply = post(w, text, call)
            assert reply.status_code in (400, 422) and reply.json()["errors"]
        assert w.ask("GET", "/v3/apps")["resources"] == []


def test_a_bomb_of_anchors_and_what_is_too_large(tmp_path: Path) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 12)]
    with world(tmp_path) as w:
        says = post(w, "\n".join(lines)).json()["errors"][0]["detail"]
        assert says == "Manifest does not support Anchors and Aliases"
        assert post(w, b"#" * (manifest_yaml.MAX_BYTES + 1)).status_code == 413
        reply = w.http.post(
            f"/v3/spaces/{w.space}/actions/apply_manifest",
            content=RAW,
            headers={"Content-Type": "application/json"},
        )
        assert reply.status_code == 400 and "must be yaml" in reply.text


def test_a_started_app_is_scaled_at_once_and_not_restarted(tmp_path: Path) -> None:
    with world(tmp_path) as w:
        w.app("a", start=True)
        (before,) = w.bbs.desired
        applied(w, "applications:\n- name: a\n  instances: 3\n  memory: 64M\n")
        ((after, lrp),) = w.bbs.desired.items()
        assert after == before and lrp.instances == 3


def test_an_app_is_shown_as_a_manifest_that_applies_again(tmp_path: Path) -> None:
    with world(tmp_path) as w:
        text = "applications:\n- name: a\n  memory: 64M\n  env: {A: b}\n  default-route: true\n"
        app = applied(w, text)
        reply = w.http.get(f"/v3/apps/{app}/manifest")
        assert reply.headers["content-type"].startswith("application/x-yaml")
        (shown,) = yaml.safe_load(reply.text)["applications"]
        assert shown["processes"][0]["memory"] == "64M" and shown["env"] == {"A": "b"}
        assert shown["routes"] == [{"route": "a.istio.mesh.lab", "protocol": "http1"}]
        before = w.records.apps.get(app)
        assert applied(w, reply.text) == app
        after = w.records.apps.get(app)
        assert {**vars(after), "updated_at": ""} == {**vars(before), "updated_at": ""}


def test_a_diff_says_what_would_change(tmp_path: Path) -> None:
    with world(tmp_path) as w:
        applied(w, "applications:\n- name: a\n  memory: 1G\n  default-route: true\n")
        text = """
applications:
- name: a
  memory: 1024M
  instances: 2
  env: {B: c}
  routes: [{route: a.istio.mesh.lab}, {route: b.istio.mesh.lab}]
  path: /somewhere
"""
        reply = post(w, text, "manifest_diff")
        assert reply.status_code == 201
        assert reply.json()["diff"] == [
            {"op": "replace", "path": "/applications/0/instances", "value": 2, "was": 1},
            {"op": "add", "path": "/applications/0/env", "value": {"B": "c"}},
            {
                "op": "add",
                "path": "/applications/0/routes/1",
                "value": {"route": "b.istio.mesh.lab"},
            },
        ]


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)
KEYS = st.sampled_from(
    [
        *("name", "memory", "disk-quota", "instances", "command", "env", "routes", "processes"),
        *("timeout", "health-check-type", "health-check-http-endpoint", "metadata", "stack"),
        *("buildpacks", "buildpack", "docker", "no-route", "random-route", "default-route"),
        *("readiness-health-check-type", "readiness-health-check-interval", "lifecycle"),
        *("log-rate-limit-per-second", "sidecars", "services", "features"),
    ]
)


@given(st.lists(st.dictionaries(KEYS, PLAIN), min_size=1, max_size=3))
def test_any_values_are_read_or_refused(applications: list[dict[str, Any]]) -> None:
    try:
        manifest.read(applications)
    except ApiError as exc:
        assert exc.status == 422 and exc.entries()


@given(st.binary(max_size=200) | st.text(max_size=200).map(lambda t: t.encode("utf-8", "ignore")))
def test_any_bytes_are_read_or_refused(text: bytes) -> None:
    try:
        assert manifest_yaml.applications(text)
    except ApiError as exc:
        assert exc.status in (400, 422)


ENDLESS = "0x" + "f" * 6000


@pytest.mark.parametrize(
    "line",
    [
        *(f"{key}: {ENDLESS}" for key in ("memory", "disk_quota", "instances", "timeout", "stack")),
        *(f"log-rate-limit-per-second: {ENDLESS}", f"env: {{A: {ENDLESS}}}", "env: {A: .nan}"),
        *("env: {A: !!binary /w==}", "services: !!binary /w==", "env: !!set {a, b}"),
        *("sidecars: !!omap [a: 1]", "env: {.inf: 1}", "services: [.nan]", "memory: 1e999"),
    ],
)
def test_odd_values_are_read_or_refused(tmp_path: Path, line: str) -> None:
    with world(tmp_path) as w:
        text = f"applications:\n- name: a\n  {line}\n"
        for call in ("actions/apply_manifest", "manifest_diff", "manifest_diff"):
            reply = post(w, text, call)
            assert reply.status_code in (201, 202, 400, 422), (call, reply.text)


def test_a_number_of_a_megabyte_is_not_worked_out(tmp_path: Path) -> None:
    with world(tmp_path) as w:
        began = time.monotonic()
        applied(w, "applications:\n- name: a\n  services: [1" + ":1" * 400_000 + "]\n")
        app = applied(w, "applications:\n- name: a\n  env: {A: 1" + ":1" * 100_000 + "}\n")
        assert w.records.apps.get(app).env["A"].startswith("1:1:1")
        assert time.monotonic() - began < 30


def test_many_processes_and_routes_do_not_stop_the_api(tmp_path: Path) -> None:
    with world(tmp_path) as w:
        began = time.monotonic()
        for key, row in (("processes", "{{type: p{}}}"), ("routes", "{{route: r{}.mesh.lab}}")):
            rows = ", ".join(row.format(n) for n in range(30_000))
            text = f"applications:\n- name: a\n  {key}: [{rows}]\n"
            assert len(text) < manifest_yaml.MAX_BYTES
            reply = post(w, text)
            assert reply.status_code == (202 if key == "processes" else 422), reply.text
        assert "at most 1000" in reply.text
        assert time.monotonic() - began < 60


def test_a_route_takes_no_more_apps_by_manifests_than_by_the_api(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(routing, "MAX_DESTINATIONS", 2)
    with world(tmp_path) as w:
        for name in ("a", "b"):
            text = f"applications:\n- name: {name}\n  routes: [{{route: x.istio.mesh.lab}}]\n"
            applied(w, text)
        job = apply(w, text.replace("name: b", "name: c"))
        assert job["state"] == "FAILED" and "at most 2" in job["errors"][0]["detail"]
