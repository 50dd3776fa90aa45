"""`meshnet proxy-config` and `meshnet proxy-status` against the lab's real Envoys."""

from __future__ import annotations

import json
import os
import signal

import pytest

from meshnet.proxy import dump
from netns_lab import status
from netns_lab.stage import EXTERNAL, Stage

from .conftest import meshnet
from .test_faults import in_step
from .test_policy import wait

pytestmark = pytest.mark.sudo


def run(stage: Stage, *line: str) -> tuple[int, str, str]:
    done = meshnet(*line, lab=stage.paths.lab)
    return done.returncode, done.stdout, done.stderr


def config(stage: Stage, proxy: str, kind: str, *options: str) -> list[str]:
    code, out, err = run(stage, "proxy-config", proxy, kind, *options)
    assert (code, err) == (0, "")
    return out.splitlines()


def test_what_a_proxy_has_is_what_pilot_wants(stage: Stage) -> None:
    wait(lambda: in_step(stage), 15)
    for proxy in ("frontend", "backend/1", "router-2"):
        code, out, err = run(stage, "proxy-status", proxy)
        assert (code, err) == (0, "")
        assert out.splitlines() == [f"{kind} match" for kind in dump.KINDS]
    rows = run(stage, "proxy-status")[1].splitlines()
    assert rows[0].split()[:6] == ["proxy", "pilot", "CDS", "EDS", "LDS", "SRDS"]
    asked = {"router-1": 5, "frontend/0": 4, "hello/0": 2}  # hello may call nobody
    counts = {row.split()[0]: row.count("in step") for row in rows[1:]}
    assert len(rows) >= 10 and {name: counts[name] for name in asked} == asked
    (one,) = [
        r for r in json.loads(run(stage, "proxy-status", "--json")[1]) if r["proxy"] == "frontend/0"
    ]
    assert one["connected"] and one["steps"].pop("SRDS") == "not asked"
    assert set(one["steps"].values()) == {"in step"}


def test_each_kind_shows_what_the_lab_has(stage: Stage) -> None:
    wait(lambda: in_step(stage), 15)
    have = {
        f"{r['address']}:8080"
        for r in status.instances(stage.paths)
        if r["app_guid"] == stage.client.app("backend")["guid"]
    }
    rows = config(stage, "frontend", "endpoints", "--name", "backend.istio")
    assert len(have) == 2 and {row.split()[0] for row in rows[1:]} == have
    listeners = config(stage, "frontend/0", "listeners")
    (backend,) = [r for r in listeners if "backend" in r and " active " in r]
    assert backend.split()[0].startswith("127.128.0.") and "outbound|8080||backend" in backend
    assert any(r.split()[:3] == [f"hello.{EXTERNAL}", f"hello.{EXTERNAL}", "/*"]
               for r in config(stage, "router-1", "routes"))  # fmt: skip
    assert any(r.split()[1] == "ORIGINAL_DST" for r in config(stage, "frontend", "clusters"))
    bodies = json.loads("\n".join(config(stage, "router-1", "routes", "--json")))
    assert {body.get("name") for body in bodies} >= {f"hello.{EXTERNAL}"}


def test_a_proxy_that_does_not_follow_is_stale_and_then_not(stage: Stage) -> None:
    wait(lambda: in_step(stage), 15)
    (row,) = [
        r for r in status.instances(stage.paths)
        if r["app_guid"] == stage.client.app("frontend")["guid"]
    ]  # fmt: skip

    def steps() -> set[str]:
        rows = json.loads(run(stage, "proxy-status", "--json")[1])
        return {s for r in rows if r["id"] == row["guid"] for s in r["steps"].values()} - {
            "not asked"  # SRDS is for ingress proxies
        }

    os.kill(row["sidecar_pid"], signal.SIGSTOP)
    try:
        # To the backend, which the frontend may call.
        meshnet("cf", "map-route", "backend", "istio.apps.internal", "-n", "late",
                lab=stage.paths.lab)  # fmt: skip
        wait(lambda: "stale" in steps(), 10)
        code, out, err = run(stage, "proxy-status", "frontend")
        assert (code, out) == (2, "") and err.startswith("meshnet: the proxy of frontend/0 does")
    finally:
        os.kill(row["sidecar_pid"], signal.SIGCONT)
    try:
        wait(lambda: steps() == {"in step"}, 15)
        assert any("late" in r for r in config(stage, "frontend", "routes"))
    finally:
        meshnet("cf", "unmap-route", "backend", "istio.apps.internal", "-n", "late",
                lab=stage.paths.lab)  # fmt: skip
        meshnet("cf", "delete-route", "istio.apps.internal", "-n", "late", "-f",
                lab=stage.paths.lab)  # fmt: skip


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (("proxy-config", "nobody", "routes"), "no proxy 'nobody' (has: backend/0,"),
        (("proxy-status", "hello/9"), "no proxy 'hello/9' (has: "),
        (("proxy-config", "cell-1", "routes"), "no proxy 'cell-1'"),
        (("proxy-config", "frontend", "secrets"), "show what of frontend?"),
    ],
)
def test_what_is_not_there_is_said_with_what_is(
    stage: Stage, line: tuple[str, ...], said: str
) -> None:
    code, out, err = run(stage, *line)
    assert (code, out) == (2, "") and said in err and len(err.splitlines()) == 1
