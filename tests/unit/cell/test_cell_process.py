"""What a DesiredLRP asks for, the environment an app gets, and what its log says."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from meshnet.cell.environment import LAUNCHER, LAUNCHER_SCRIPT, environment, start_command
from meshnet.cell.journal import Journal, duration, stamp
from meshnet.cell.process import MIB, Check, process
from meshnet.kernel.oci import log_lines
from meshnet.model.errors import InputError
from meshnet.wire.gen import bbs_pb2 as pb

RUN = pb.RunAction(path="/bin/x", args=["a"], log_source="APP/PROC/WEB")


def lrp(**fields: object) -> pb.DesiredLRP:
    values = {"process_guid": "p", "log_guid": "g", "action": pb.Action(run_action=RUN), **fields}
    return pb.DesiredLRP(**values)


def test_what_an_lrp_says_is_taken_and_the_rest_is_diegos_default() -> None:
    found = process(lrp(memory_mb=64, disk_mb=128, max_pids=7, start_timeout_ms=2500))
    assert found.argv == ("/bin/x", "a") and found.log_guid == "g"
    assert (found.memory_bytes, found.disk_bytes, found.pids) == (64 * MIB, 128 * MIB, 7)
    assert (found.start_timeout, found.checks, found.files) == (2.5, (), 16384)
    plain = process(lrp())
    assert (plain.memory_bytes, plain.start_timeout, plain.pids) == (256 * MIB, 60.0, 1024)
    assert (plain.cell_source, plain.check_source, plain.log_source) == (
        "CELL",
        "HEALTH",
        "APP/PROC/WEB",
    )


def test_checks_of_both_kinds() -> None:
    checks = [
        pb.Check(tcp_check=pb.TCPCheck(port=8080)),
        pb.Check(http_check=pb.HTTPCheck(port=8081, request_timeout_ms=1500, interval_ms=4000)),
        pb.Check(http_check=pb.HTTPCheck(port=8081, path="/health")),
    ]
    found = process(lrp(check_definition=pb.CheckDefinition(checks=checks, log_source="H")))
    assert found.checks == (
        Check(8080, "", 1.0, 30.0),
        Check(8081, "/", 1.5, 4.0),
        Check(8081, "/health", 1.0, 30.0),
    )
    assert found.check_source == "H"


@pytest.mark.parametrize(
    "bad",
    [
        pb.DesiredLRP(process_guid="p"),
        lrp(check_definition=pb.CheckDefinition(checks=[pb.Check()])),
        lrp(
            check_definition=pb.CheckDefinition(
                checks=[pb.Check(tcp_check=pb.TCPCheck(port=65536))]
            )
        ),
    ],
    ids=["nothing to run", "no port", "no such port"],
)
def test_what_cannot_be_run_is_refused(bad: pb.DesiredLRP) -> None:
    with pytest.raises(InputError):
        process(bad)


def made(env: dict[str, str]) -> dict[str, str]:
    return environment(
        env,
        guid="g",
        index=3,
        address="10.255.1.2",
        cell_ip="10.0.16.21",
        host_port=61007,
        container_port=8080,
        started=1_795_000_000.5,
    )


def test_the_cells_own_variables_win_and_the_users_win_over_defaults() -> None:
    env = made({"PORT": "8080", "PATH": "/opt/bin", "CF_INSTANCE_GUID": "forged", "HOME": "/x"})
    assert env["CF_INSTANCE_GUID"] == env["INSTANCE_GUID"] == "g"
    assert env["CF_INSTANCE_INDEX"] == env["INSTANCE_INDEX"] == "3"
    assert env["PATH"] == "/opt/bin" and env["USER"] == "vcap"
    assert env["HOME"] == "/home/vcap/app" and env["TMPDIR"] == "/home/vcap/tmp"
    assert (env["CF_INSTANCE_IP"], env["CF_INSTANCE_PORT"]) == ("10.0.16.21", "61007")
    assert env["CF_INSTANCE_ADDR"] == "10.0.16.21:61007"
    assert env["CF_INSTANCE_INTERNAL_IP"] == "10.255.1.2"
    assert env["CF_INSTANCE_PORTS"] == '[{"external":61007,"internal":8080}]'
    assert "VCAP_APPLICATION" not in env


def test_vcap_application_tells_each_instance_who_it_is() -> None:
    text = json.dumps({"name": "a", "instance_index": 99, "limits": {"mem": 64}})
    found = json.loads(made({"PORT": "8080", "VCAP_APPLICATION": text})["VCAP_APPLICATION"])
    assert found == {
        "name": "a",
        "limits": {"mem": 64},
        "host": "0.0.0.0",
        "port": 8080,
        "instance_id": "g",
        "instance_index": 3,
        "started_at": "2026-11-18 11:06:40 +0000",
        "started_at_timestamp": 1_795_000_000,
        "start": "2026-11-18 11:06:40 +0000",
        "state_timestamp": 1_795_000_000,
    }
    for odd in ("no json", "[1]"):
        assert made({"VCAP_APPLICATION": odd})["VCAP_APPLICATION"] == odd


def test_without_a_command_the_droplets_own_is_run(tmp_path: Path) -> None:
    argv = (LAUNCHER, "app", "", "")
    info = tmp_path / "staging_info.yml"
    for text in (None, "", "{", "[1]", '{"start_command": ""}', '{"start_command": 7}'):
        if text is not None:
            info.write_text(text)
        with pytest.raises(InputError, match="no start command specified or detected in droplet"):
            start_command(argv, tmp_path)
    info.write_text('{"detected_buildpack":"go","start_command":"./bin/hello-app"}')
    assert start_command(argv, tmp_path) == (LAUNCHER, "app", "./bin/hello-app")
    given = (LAUNCHER, "app", "./mine", "")
    assert start_command(given, tmp_path) == given
    assert start_command(("/bin/x",), tmp_path) == ("/bin/x",)


def test_the_launcher_sources_profiles_and_becomes_the_command(tmp_path: Path) -> None:
    for name, text in {
        "profile.d/0_a.sh": "export A=1 PATH=$PATH:$HOME/bin",
        "profile.d/1_b.sh": "export B=$((A + 1))",
        "app/.profile.d/c.sh": "export C=$((B + 1))",
        "app/.profile": "export D=$((C + 1))",
        "app/bin/show": "#!/bin/sh\necho $A $B $C $D $0",
    }.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(0o755)
    script = tmp_path / "launcher"
    script.write_text(LAUNCHER_SCRIPT.replace("/home/vcap", str(tmp_path)))
    script.chmod(0o755)
    env = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path / "app")}

    def run(command: str) -> subprocess.CompletedProcess[str]:
        line = [str(script), "app", command, ""]
        return subprocess.run(line, env=env, capture_output=True, text=True, check=False)

    assert run("show").stdout == f"1 2 3 4 {tmp_path}/app/bin/show\n"
    assert run('echo "$PWD" | sed s,.*/,,').stdout == "app\n"
    assert run("exit 7").returncode == 7
    (tmp_path / "app/.profile").unlink()
    assert run("show").stdout.startswith("1 2 3 ")


def test_what_the_cell_says_is_read_like_what_the_app_says(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "log", 2)
    journal.out("CELL", "Container became healthy")
    journal.err("HEALTH", "two\nlines")
    lines = (tmp_path / "log").read_text().splitlines()
    assert [(stream, text) for _, stream, text in log_lines(lines)] == [
        ("stdout", "[CELL/2] Container became healthy"),
        ("stderr", "[HEALTH/2] two"),
        ("stderr", "[HEALTH/2] lines"),
    ]
    Journal(tmp_path / "nowhere" / "log", 0).out("CELL", "lost, and no harm done")
    assert stamp(1_795_000_000_000_000_001) == "2026-11-18T11:06:40.000000001+00:00"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0s"), (0.03, "30ms"), (2.5, "2.5s"), (60, "1m0s"), (60.005, "1m0.005s"),
     (3661.5, "1h1m1.5s"), (0.9999, "1s")],
)  # fmt: skip
def test_durations_are_gos(seconds: float, text: str) -> None:
    assert duration(seconds) == text
