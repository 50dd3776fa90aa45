"""`meshnet cf` against the real control plane: what users type, what they see, what DNS says."""

from __future__ import annotations

import json
import shutil
import signal
import statistics
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cf_command import COMMAND, Cf
from control_plane import HOST, ROOM, ControlPlane

from meshnet.cli.client import Client

EXTERNAL, VIPS, PLAIN = "istio.mesh.lab", "istio.apps.internal", "apps.internal"


def dig(plane: ControlPlane, name: str, *options: str) -> tuple[str, list[str]]:
    """Status and answers."""
    assert shutil.which("dig"), "install dnsutils"
    line = ["dig", "-p", str(plane.ports["dns"]), f"@{HOST}", name, "+tries=1", *options]
    text = subprocess.run(line, capture_output=True, text=True, timeout=20).stdout
    status = text.partition("status: ")[2].partition(",")[0]
    rows = [row for row in text.splitlines() if row and not row.startswith(";")]
    return status, sorted(row.split()[-1] for row in rows)


def until(condition: Callable[[], bool], seconds: float = 5.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "not in time"
        time.sleep(0.02)


def test_push_shows_the_running_app(cf: Cf, app_dir: Path) -> None:
    shown = cf("push", "Hello", "-p", str(app_dir), "-c", COMMAND, "-i", "2", "-m", "64M")
    assert "requested state:   started" in shown and "hello.istio.mesh.lab" in shown
    assert shown.count("running") == 2 and "10.255.1.2" in shown and "cell-1" in shown
    (row,) = json.loads(cf("apps", "--json"))
    assert row["processes"] == "web:2/2" and row["routes"] == ["hello.istio.mesh.lab"]


@pytest.mark.parametrize(
    ("name", "host"),
    [
        ("Bad Name!", "bad-name"),
        ("snake_Case", "snake-case"),
        ("ünï.x", "nx"),
        ("a" * 70, "a" * 63),
    ],
)
def test_the_default_host_is_made_of_the_name(
    cf: Cf, client: Client, app_dir: Path, name: str, host: str
) -> None:
    cf("push", name, "-p", str(app_dir), "-c", COMMAND, "--no-start")
    assert [r["host"] for r in client.routes()] == [host]
    assert client.app(name)["state"] == "STOPPED"


def test_a_refused_push_leaves_an_app_that_was_there_as_it_was(
    cf: Cf, client: Client, app_dir: Path
) -> None:
    cf("push", "a", "-p", str(app_dir), "-c", COMMAND, "--no-start")

    def shown() -> list[Any]:
        found = [client.app("a"), client.process(client.app("a")["guid"]), *client.routes()]
        return [{k: v for k, v in row.items() if k != "updated_at"} for row in found]

    before = shown()
    push = ("push", "a", "-p", str(app_dir))
    assert "Instances must be" in cf(*push, "-n", "new", "-i", "99999", status=2)
    assert "Memory in mb must" in cf(*push, "-n", "new", "-m", "99999G", status=2)
    assert shown() == before


def test_an_interrupted_push_of_a_new_app_leaves_nothing(
    cf: Cf, client: Client, app_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object, **__: object) -> None:
        assert client.apps() and client.routes()
        raise KeyboardInterrupt

    monkeypatch.setattr(Client, "stage", interrupt)
    cf("push", "a", "-p", str(app_dir), "-c", COMMAND, status=130)
    assert client.apps() == [] and client.routes() == []


def test_more_than_the_cells_take_runs_as_far_as_it_fits_and_says_what_does_not(
    cf: Cf, client: Client, app_dir: Path
) -> None:
    cf("push", "a", "-p", str(app_dir), "-c", COMMAND, "--no-route")
    text = cf("scale", "a", "-i", str(ROOM + 2), status=1)
    said = f"meshnet: {ROOM} of {ROOM + 2} run; instances {ROOM}-{ROOM + 1}: insufficient resources"
    assert text.splitlines()[-1].startswith(said)
    shown = cf("app", "a").splitlines()
    assert f"#{ROOM}" in shown[-2] and "down" in shown[-2]
    assert shown[-2].endswith("insufficient resources: containers")
    cf("push", "b", "-p", str(app_dir), "-c", COMMAND, "--no-route", "--no-start")
    cf("scale", "a", "-i", str(ROOM - 1))
    cf("start", "b")  # there is room again


def test_a_second_push_keeps_command_scale_and_routes(
    cf: Cf, client: Client, app_dir: Path
) -> None:
    route = ("-n", "shop", "--route-path", "cart")
    cf("push", "a", "-p", str(app_dir), "-c", COMMAND, "-i", "3", *route)
    first = client.app("a")["relationships"]["current_droplet"]
    cf("push", "a", "-p", str(app_dir))
    process = client.process(client.app("a")["guid"])
    assert (process["command"], process["instances"]) == (COMMAND, 3)
    assert client.app("a")["relationships"]["current_droplet"] != first
    assert [r["url"] for r in client.routes()] == ["shop.istio.mesh.lab/cart"]


def test_no_start_and_no_route(cf: Cf, client: Client, app_dir: Path) -> None:
    cf("push", "a", "-p", str(app_dir), "-c", COMMAND, "--no-start", "--no-route")
    assert client.app("a")["state"] == "STOPPED" and client.routes() == []
    cf("start", "a")
    assert client.app("a")["state"] == "STARTED"
    cf("stop", "a")
    assert "web:0/1" in cf("apps")


def test_scale_restart_and_environment(cf: Cf, client: Client, app_dir: Path) -> None:
    cf("push", "a", "-p", str(app_dir), "-c", COMMAND, "--no-route")
    assert cf("scale", "a", "-i", "3").count("running") == 3
    cf("set-env", "a", "GREETING", "hola")
    cf("restart", "a")
    assert json.loads(cf("env", "a", "--json"))["environment_variables"] == {"GREETING": "hola"}
    cf("scale", "a", "-m", "1G", "-f")
    assert client.process(client.app("a")["guid"])["memory_in_mb"] == 1024


@pytest.mark.parametrize(
    ("command", "says"),
    [
        ("push ghost -p /nonexistent -c x", "is not a directory"),
        ("push ghost -p {app} -c ./missing", "program ./missing is not in"),
        ("push ghost -p {app}", "give one with -c"),
        ("push ghost -p {app} -c x -m lots", "want a number with M or G"),
        ("push ghost -p {app} -c x -m 99999G", "Memory in mb must be between"),
        ("push ghost -p {app} -c x -i 99999", "Instances must be between"),
        ("push ghost -p {app} -c x -n bad!", "Host must be either"),
        ("push ghost -p {app} -c x -d nowhere.lab", "Domain 'nowhere.lab' not found."),
        ("push ghost -p {app} -c x --route-path a?b", "Path cannot contain a question mark"),
        ("push !!! -p {app} -c x", "makes no host name: give one with -n"),
        ("push {app}/app.py -p {app}/app.py -c x", "is not a directory"),
        ("app ghost", "App 'ghost' not found."),
        ("scale ghost -i 2", "App 'ghost' not found."),
        ("create-route nowhere.lab -n x", "Domain 'nowhere.lab' not found."),
        ("create-route istio.mesh.lab -n bad!", "Host must be either"),
        ("create-route istio.mesh.lab", "Missing host"),
        ("add-network-policy ghost ghost", "App 'ghost' not found."),
        ("curl /v3/apps -d {{", "-d is not JSON"),
        ("curl /v3/\x1b[31m", "no request can be made of that"),
        ("curl /v3/apps -X a/b", "no request can be made of that"),
        ("curl /v3/apps -X \xfc", "no request can be made of that"),
        ("curl /v3/apps -H a\x00b:c", "no request can be made of that"),
        ("app \udcff", "no request can be made of that"),
        ("set-env \udcff A B", "no request can be made of that"),
    ],
)
def test_mistakes_are_answered_in_one_line_and_change_nothing(
    cf: Cf, client: Client, app_dir: Path, command: str, says: str
) -> None:
    words = [word.format(app=app_dir) for word in command.split()]
    text = cf(*words, status=2)
    assert says in text.splitlines()[-1] and "Traceback" not in text
    assert client.apps() == [] and client.routes() == []


def test_routes_are_mapped_unmapped_and_deleted_as_in_cf(cf: Cf, app_dir: Path) -> None:
    cf("push", "a", "-p", str(app_dir), "-c", COMMAND, "--no-start", "--no-route")
    cf("create-route", EXTERNAL, "-n", "h", "--path", "p")
    cf("create-route", EXTERNAL, "-n", "H", "--path", "/p")  # exists: no error
    cf("map-route", "a", EXTERNAL, "--hostname", "h", "--path", "/p")
    cf("map-route", "a", EXTERNAL, "-n", "h", "--path", "/P")  # another path
    rows = {row["path"]: row["destinations"] for row in json.loads(cf("routes", "--json"))}
    assert {path: len(found) for path, found in rows.items()} == {"/p": 1, "/P": 1}
    assert "h      istio.mesh.lab   /p     a" in cf("routes")
    cf("unmap-route", "a", EXTERNAL, "-n", "h", "--path", "/p")
    cf("unmap-route", "a", EXTERNAL, "-n", "h", "--path", "/p")  # not mapped: no error
    cf("delete-route", EXTERNAL, "-n", "h", "--path", "/p", "-f")
    cf("delete-route", EXTERNAL, "-n", "h", "--path", "/p", "-f")  # gone: no error
    cf("delete", "a", "-f", "-r")
    cf("delete", "a", "-f")  # gone: no error
    assert json.loads(cf("routes", "--json")) == [] == json.loads(cf("apps", "--json"))


def test_delete_with_routes_spares_what_others_share(cf: Cf, client: Client, app_dir: Path) -> None:
    for name in ("a", "b"):
        cf("push", name, "-p", str(app_dir), "-c", COMMAND, "--no-start", "-n", "shared")
    assert "leads to other apps" in cf("delete", "a", "-r", "-f", status=2)
    assert len(client.apps()) == 2


def test_a_route_that_nothing_serves_is_warned_of(cf: Cf, client: Client, app_dir: Path) -> None:
    cf("create-shared-domain", "example.org")
    assert "Nothing at the ingress serves the domain 'example.org'" in cf.said
    cf("push", "a", "-p", str(app_dir), "-c", COMMAND, "--no-start", "--no-route")
    cf("map-route", "a", "example.org", "-n", "x")
    assert "Nothing at the ingress serves" in cf.said and cf.said.endswith("OK\n")
    cf("map-route", "a", EXTERNAL, "-n", "x")
    assert cf.said == "OK\n"
    manifest = app_dir / "manifest.yml"
    manifest.write_text(
        f"applications:\n- name: a\n  command: {COMMAND}\n  routes: [{{route: y.example.org}}]\n"
    )
    cf("push", "-f", str(manifest), "--no-start")
    assert "For application 'a': Nothing at the ingress serves" in cf.said
    cf("delete-shared-domain", "example.org", "-f")


def test_policies(cf: Cf, client: Client, app_dir: Path) -> None:
    for name in ("a", "b"):
        cf("push", name, "-p", str(app_dir), "-c", COMMAND, "--no-start", "--no-route")
    cf("add-network-policy", "a", "b")
    cf("add-network-policy", "b", "a", "--protocol", "udp", "--port", "53-60")
    found = json.loads(cf("network-policies", "--json"))
    assert {"source": "b", "destination": "a", "protocol": "udp", "ports": "53-60"} in found
    assert (
        len(found) == 2 and len(json.loads(cf("network-policies", "--source", "a", "--json"))) == 1
    )
    cf("remove-network-policy", "a", "b", "--port", "9999")  # none such: no error
    assert cf.said == "Policy does not exist.\nOK\n"
    assert len(client.policies()) == 2
    cf("remove-network-policy", "a", "b")
    assert cf.said == "OK\n"
    assert len(client.policies()) == 1
    cf("delete", "b", "-f")
    assert client.policies() == []
    assert "missing start port" in cf("add-network-policy", "a", "a", "--port", "0", status=2)


def test_curl(cf: Cf, plane: ControlPlane) -> None:
    assert json.loads(cf("curl", "v3/domains"))["pagination"]["total_results"] == 3
    assert "App not found" in cf("curl", "/v3/apps/ghost")
    with pytest.raises(AssertionError, match="App not found"):
        cf("curl", "-f", "/v3/apps/ghost")
    body = json.dumps({"name": "org-2"})
    made = cf("curl", "/v3/organizations", "-d", body, "-H", "Content-type: application/json")
    assert json.loads(made)["name"] == "org-2"
    done = subprocess.run(["curl", "-sf", plane.api + "/"], capture_output=True, timeout=20)
    links = json.loads(done.stdout)["links"]
    assert links["network_policy_v1"]["href"] == f"{plane.api}/networking/v1/external"


def test_names_of_apps_in_dns(cf: Cf, client: Client, plane: ControlPlane, app_dir: Path) -> None:
    cf("push", "a", "-p", str(app_dir), "-c", COMMAND, "-i", "2", "--no-route")
    cf("map-route", "a", PLAIN, "-n", "Plain")
    cf("map-route", "a", VIPS, "-n", "Mesh")
    name = f"plain.{PLAIN}"
    until(lambda: dig(plane, name) == ("NOERROR", ["10.255.1.2", "10.255.1.3"]))
    assert dig(plane, name, "+tcp") == ("NOERROR", ["10.255.1.2", "10.255.1.3"])
    assert dig(plane, f"1.{name}") == ("NOERROR", ["10.255.1.3"])
    assert dig(plane, name, "AAAA") == ("NOERROR", [])
    status, vips = dig(plane, f"MESH.{VIPS}")
    assert status == "NOERROR" and vips[0].startswith("127.128.0.")
    assert dig(plane, f"ghost.{VIPS}") == dig(plane, f"ghost.{PLAIN}") == ("NXDOMAIN", [])
    assert dig(plane, f"any.{EXTERNAL}") == ("NOERROR", ["10.0.16.10"])
    assert dig(plane, "example.com")[0] == "REFUSED"
    cf("stop", "a")
    until(lambda: dig(plane, name) == ("NXDOMAIN", []))


def test_what_was_acknowledged_survives_kill_9_and_reaches_peers_that_were_away(
    cf: Cf, client: Client, plane: ControlPlane, app_dir: Path
) -> None:
    for name in ("a", "b"):
        cf("push", name, "-p", str(app_dir), "-c", COMMAND, "--no-start", "--no-route")
    guids = [client.app(name)["guid"] for name in ("a", "b")]
    client.allow(*guids, ports=(8080, 8080))
    plane.end("copilot")
    plane.end("policy")
    cf("map-route", "a", VIPS, "-n", "later")
    cf("delete", "b", "-f")
    plane.end("capi")
    plane.start("capi", "copilot", "policy")
    until(lambda: dig(plane, f"later.{VIPS}")[0] == "NOERROR")
    until(lambda: client.policies() == [])
    assert client.route(VIPS, "later")["destinations"][0]["app"]["guid"] == guids[0]  # type: ignore[index]


def test_dns_does_not_deny_apps_while_bbs_is_away(
    cf: Cf, plane: ControlPlane, app_dir: Path
) -> None:
    cf("push", "a", "-p", str(app_dir), "-c", COMMAND, "--no-route")
    cf("map-route", "a", PLAIN, "-n", "here")
    until(lambda: dig(plane, f"here.{PLAIN}")[0] == "NOERROR")
    plane.end("dns")
    plane.end("bbs")
    plane.start("dns")
    assert dig(plane, f"here.{PLAIN}")[0] == "SERVFAIL"
    plane.start("bbs")
    until(lambda: dig(plane, f"here.{PLAIN}") == ("NOERROR", ["10.255.1.2"]))


def test_a_daemon_ends_cleanly_and_says_when_its_address_is_taken(plane: ControlPlane) -> None:
    first = plane.processes["capi"]
    with pytest.raises(AssertionError, match="Address already in use"):
        try:
            plane.start("capi", store=str(plane.directory / "other.db"))
            plane.processes["capi"].wait(15)
            raise AssertionError((plane.directory / "capi.log").read_text())
        finally:
            plane.processes["capi"] = first
    assert plane.end("capi", signal.SIGTERM) == 0
    plane.start("capi")


def test_a_mapping_has_reached_copilot_when_the_api_answers(
    cf: Cf, client: Client, app_dir: Path
) -> None:
    cf("push", "a", "-p", str(app_dir), "-c", COMMAND, "--no-route")
    guid = client.app("a")["guid"]
    took = []
    for number in range(20):
        route = client.create_route(EXTERNAL, f"h{number}")
        body = {"destinations": [{"app": {"guid": guid}}]}
        began = time.perf_counter()
        client.post(f"/v3/routes/{route['guid']}/destinations", body)
        took.append(time.perf_counter() - began)
    # Generous, for a machine that does other things; it takes a few milliseconds.
    assert statistics.median(took) < 1.0


def test_an_empty_path_is_not_the_current_directory(cf: Cf, client: Client) -> None:
    assert "-p is empty" in cf("push", "a", "-p", "", "-c", COMMAND, status=2)
    assert client.apps() == []
