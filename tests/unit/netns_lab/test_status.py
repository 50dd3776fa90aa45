"""What `lab status`, `proxy-status` and `lab exec` say of daemons that hang."""

from __future__ import annotations

import json
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from meshnet.cli import lookup, proxy, proxy_lookup, tables
from meshnet.inspect.points import Points
from meshnet.model.errors import PeerError
from netns_lab import paths as lab_paths
from netns_lab import status
from netns_lab.paths import Paths

NODES = [
    {"name": name, "role": role, "netns": name, "address": "10.0.16.9"}
    for name, role in (("control", "control"), ("cell-1", "cell"), ("cell-2", "cell"))
]
STEPS = dict.fromkeys(("CDS", "EDS", "LDS", "SRDS", "RDS"), "in step")
PROXY = {"id": "g1", "connected": True, "steps": STEPS, "pushes": 1, "rejected": 0,
         "last_error": "", "in_step": True, "held_back": []}  # fmt: skip
INSTANCE = {"guid": "g1", "app_guid": "shop-guid", "index": 1, "state": "RUNNING", "tag": 1,
            "address": "10.255.1.2", "host_port": 61001}  # fmt: skip
ANSWERS: dict[str, Any] = {
    "cell-1.cell": {"instances": [INSTANCE], "present": True},
    "cell-1.pilot": {"proxies": [PROXY]},
    "cell-2.pilot": {"proxies": []},
    "control.copilot": {"sinks": []},
}
HUNG = ("control.pilot", "cell-2.cell")


def _listen(path: Path) -> socket.socket:
    path.parent.mkdir(parents=True, exist_ok=True)
    made = socket.socket(socket.AF_UNIX)
    made.bind(str(path))
    made.listen()
    return made


def _serve(listener: socket.socket, answer: Any) -> None:
    body = json.dumps(answer).encode()
    while True:
        try:
            one, _ = listener.accept()
        except OSError:
            return
        with one:
            one.recv(4096)
            one.sendall(b"HTTP/1.0 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Paths]:
    """A lab's status sockets: two daemons accept connections and never answer, as stopped ones."""
    monkeypatch.setattr(lab_paths, "RUN", tmp_path)
    monkeypatch.setattr(status, "_TIMEOUT", 0.3)
    monkeypatch.setattr(lookup, "app_names", lambda chosen: {"shop-guid": "shop"})
    monkeypatch.setattr(lookup, "app_guid", lambda chosen, name: "shop-guid")
    monkeypatch.setattr(proxy, "_chosen", lambda name: Paths("none"))
    made = Paths("none")
    names = [*ANSWERS, *HUNG]
    rows = [{"name": n, "ready": True, "pid": 0, "restarts": 0, "since": time.time()}
            for n in names]  # fmt: skip
    with ExitStack() as stack:
        sockets = {n: made.socket(*n.split(".")) for n in names}
        for name, path in {**sockets, "supervisor": made.supervisor_socket}.items():
            listener = stack.enter_context(_listen(path))
            stack.callback(listener.shutdown, socket.SHUT_RDWR)
            if name not in HUNG:
                answer = {"daemons": rows} if name == "supervisor" else ANSWERS[name]
                threading.Thread(target=_serve, args=(listener, answer), daemon=True).start()
        made.lab_json.write_text(json.dumps({"nodes": NODES}), encoding="utf-8")
        yield made


def test_who_hangs_is_named_and_all_are_asked_at_once(
    lab: Paths, capsys: pytest.CaptureFixture[str]
) -> None:
    began = time.monotonic()
    found = status.collect(lab)
    assert time.monotonic() - began < 2 * status.timeout()
    assert found["silent"] == sorted(HUNG)
    states = {d["name"]: d["state"] for d in found["daemons"]}
    assert {n for n, state in states.items() if state == "no answer"} == set(HUNG)
    tables.show_status({**found, "apps": {}})
    out = capsys.readouterr().out
    assert "control.pilot     no answer" in out
    assert "cell-2's agent does not answer: meshnet lab logs cell-2.cell" in out


def test_one_whose_socket_is_gone_does_not_answer_either(lab: Paths) -> None:
    lab.socket("control", "pilot").unlink()
    assert "control.pilot" in status.collect(lab)["silent"]
    assert "supervisor" not in status.collect(lab)["silent"]
    lab.supervisor_socket.unlink()
    assert "supervisor" in status.collect(lab)["silent"]


def test_a_stopped_process_without_a_status_is_seen_too() -> None:
    with subprocess.Popen(["sleep", "60"]) as one:
        try:
            assert not status._stopped(one.pid)
            one.send_signal(19)  # SIGSTOP
            deadline = time.monotonic() + 5
            while not status._stopped(one.pid) and time.monotonic() < deadline:
                pass
            assert status._stopped(one.pid)
        finally:
            one.kill()


def test_an_instance_that_is_not_found_may_be_on_a_cell_that_hangs(lab: Paths) -> None:
    assert lookup.instances(lab, "shop/1")[0]["cell"] == "cell-1"
    with pytest.raises(PeerError, match="cell-2's agent does not answer: meshnet lab logs cell-2"):
        lookup.instances(lab, "shop/0")
    with pytest.raises(PeerError, match="cell-2's agent does not answer"):
        Points(lab, {"shop-guid": "shop"}).resolve("shop/0")


def test_proxies_of_a_pilot_that_hangs_are_not_called_unknown(
    lab: Paths, capsys: pytest.CaptureFixture[str]
) -> None:
    assert proxy_lookup.find(lab, "shop/1").pilot == "cell-1"
    with pytest.raises(proxy_lookup.NoAnswer, match="control's Pilot does not answer"):
        proxy_lookup.find(lab, "router-1")
    with pytest.raises(proxy_lookup.NoAnswer, match="control's Pilot does not answer"):
        proxy.proxy_status(proxy="", json=False, lab=None)
    assert [row.split()[-2:] for row in capsys.readouterr().out.splitlines()][-1] == [
        "no", "answer",
    ]  # fmt: skip
    with pytest.raises(proxy_lookup.NoAnswer):
        proxy.proxy_status(proxy="", json=True, lab=None)
    rows = json.loads(capsys.readouterr().out)
    assert rows[-1] == {"proxy": None, "pilot": "control", "error": "no answer"}
