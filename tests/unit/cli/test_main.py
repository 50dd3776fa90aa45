"""What the `meshnet` command says to those who mistype, ask for help, or pipe."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from meshnet.cli import capture, lab_exec, proxy, tables
from meshnet.cli.main import main
from meshnet.model.errors import KernelError


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        main(list(words))
    out, err = capsys.readouterr()
    return int(ended.value.code or 0), out, err


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("nope", "meshnet: No such command 'nope' (see meshnet -h)"),
        ("--bogus", "meshnet: No such option: --bogus (see meshnet -h)"),
        ("lab down x", "meshnet lab down: Got unexpected extra argument(s) (x): a lab is named"),
        ("lab status x", "meshnet lab status: Got unexpected extra argument(s) (x): a lab is"),
        ("lab nope", "meshnet lab: No such command 'nope' (see meshnet lab -h)"),
        ("cf app", "meshnet cf app: Missing argument 'APP' (see meshnet cf app -h)"),
        ("cf scale x -i nine", "meshnet cf scale: Invalid value for '-i'"),
        ("lab exec", "meshnet lab exec: Missing argument 'TARGET'"),
        ("lab exec hello", "meshnet lab exec: Missing argument 'COMMAND...'"),
        ("lab exec hello --", "meshnet lab exec: Missing argument 'COMMAND...'"),
        ("proxy-config frontend foo", "meshnet: show what of frontend? all, listeners, routes"),
        ("pc frontend foo", "meshnet: show what of frontend? all, listeners, routes"),
        ("lab up --lab bad!name", "meshnet: 'bad!name' is no name for a lab: it must match"),
        ("run", "meshnet: usage: meshnet run ROOM --config FILE"),
        ("run nope --config x", "meshnet: usage: meshnet run ROOM --config FILE"),
    ],
)
def test_a_usage_error_is_one_line_and_status_2(
    capsys: pytest.CaptureFixture[str], line: str, says: str
) -> None:
    status, out, err = run(capsys, *line.split())
    assert (status, out) == (2, "")
    assert err.startswith(says) and err.count("\n") == 1, err


def test_what_was_typed_moves_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    status, _, err = run(capsys, "lab", "\x1b[2Jx\ny")
    assert status == 2 and "\x1b" not in err and err.count("\n") == 1
    assert "\\x1b[2Jx" in err


def test_help_is_short_or_long_and_everywhere(capsys: pytest.CaptureFixture[str]) -> None:
    for words in ((), ("lab",), ("cf", "push"), ("lab", "exec"), ("run",)):
        for flag in ("-h", "--help"):
            status, out, _ = run(capsys, *words, flag)
            assert status == 0 and out.startswith("Usage: meshnet")
    assert "run " in run(capsys, "-h")[1]


def test_the_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = run(capsys, "--version")
    assert status == 0 and out.startswith("meshnet ") and out.split()[1][0].isdigit()


def test_cfs_own_ways_to_ask_for_the_version_and_for_help(
    capsys: pytest.CaptureFixture[str],
) -> None:
    for words in (("cf", "version"), ("cf", "-v"), ("cf", "--version")):
        status, out, _ = run(capsys, *words)
        assert status == 0 and out.startswith("meshnet cf version ")
    assert run(capsys, "cf", "help")[:2] == run(capsys, "cf", "-h")[:2]
    assert run(capsys, "cf", "help", "push")[:2] == run(capsys, "cf", "push", "-h")[:2]
    status, _, err = run(capsys, "cf", "help", "nope")
    assert status == 2 and "'nope' is not a registered command" in err


def test_completion_offers_commands_and_is_silent_without_a_lab(tmp_path: Path) -> None:
    def complete(line: str) -> list[str]:
        variables = {"COMP_WORDS": line, "COMP_CWORD": str(len(line.split(" ")) - 1),
                     "_MESHNET_COMPLETE": "complete_bash", "MESHNET_LAB": "nolab",
                     "PATH": "/usr/bin:/bin"}  # fmt: skip
        command = [sys.executable, "-m", "meshnet.cli.main"]
        done = subprocess.run(command, env=variables, capture_output=True, text=True)
        assert done.stderr == ""
        return done.stdout.split()

    assert {"up", "exec", "shell"} <= set(complete("meshnet lab "))
    assert complete("meshnet lab exec x") == []
    assert complete("meshnet lab drain x") == complete("meshnet capture x") == []
    assert complete("meshnet lab set-mode frontend k") == ["kernel"]
    assert complete("meshnet proxy-config frontend ro") == ["routes"]


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("frontend routes", ("frontend", "routes")),
        ("frontend route", ("frontend", "routes")),
        ("cluster frontend", ("frontend", "clusters")),
        ("ep frontend/1", ("frontend/1", "endpoints")),
        ("routes all", ("routes", "all")),  # an app may have any name
    ],
)
def test_proxy_config_takes_istioctls_order_and_words(words: str, found: tuple[str, str]) -> None:
    assert proxy.in_order(*words.split()) == found


def test_a_file_that_cannot_be_written_is_told_before_a_capture(tmp_path: Path) -> None:
    with pytest.raises(KernelError, match="cannot write"):
        capture._check_writable(str(tmp_path / "no" / "a.pcapng"))
    old = tmp_path / "old"
    old.write_text("whole")
    for path in (old, tmp_path / "new"):
        capture._check_writable(str(path))
    assert old.read_text() == "whole" and not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("line", "command"),
    [
        ("client -- curl --user me", "curl --user me"),
        ("client curl --user me", "curl --user me"),
        ("hello --user curl -s", "curl -s"),
        ("--user hello ls --help", "ls --help"),
        ("--lab x hello --sidecar ls --lab y", "ls --lab y"),
        ("--lab=x hello ls -- z", "ls -- z"),
        ("hello -- -x", "-x"),
        ("hello", ""),
        ("hello --help", ""),
        ("", ""),
    ],
)
def test_everything_from_the_commands_name_on_is_the_commands(line: str, command: str) -> None:
    found = lab_exec.split(line.split())
    rest = found[found.index("--") + 1 :] if "--" in found else []
    assert " ".join(rest) == command


def test_root_takes_nothing_from_an_app_that_makes_it_run_the_apps_code() -> None:
    theirs = {"LD_PRELOAD": "/home/vcap/app/x.so", "BASH_ENV": "x", "PYTHONPATH": "x", "PORT": "1",
              "PATH": "/home/vcap/app", "VCAP_APPLICATION": "{}", "CF_INSTANCE_INDEX": "0",
              "HOME": "/home/vcap/app", "GREETING": "hola"}  # fmt: skip
    ours = {"TERM": "xterm", "SECRET": "x", "LD_PRELOAD": "y"}
    root = lab_exec.app_environment(theirs, ours, as_user=False)
    assert {k for k in root if k in theirs} == {
        "PORT", "VCAP_APPLICATION", "CF_INSTANCE_INDEX", "PATH", "HOME"
    }  # fmt: skip
    assert root["HOME"] == "/root" and root["PATH"].startswith("/usr/") and root["TERM"] == "xterm"
    user = lab_exec.app_environment(theirs, ours, as_user=True)
    assert user == {**theirs, "TERM": "xterm"}


def test_a_node_has_no_use_for_this_machines_proxies() -> None:
    ours = {"http_proxy": "x", "HTTPS_PROXY": "x", "No_Proxy": "x", "PATH": "/bin"}
    assert lab_exec.node_environment(ours) == {"PATH": "/bin"}


def test_a_piped_doctor_is_a_line_a_check(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from meshnet.kernel import probe

    long = "x" * 200
    monkeypatch.setattr(probe, "run", lambda: [probe.Probe("a", "missing", long, "mend it")])
    status, out, _ = run(capsys, "doctor")
    assert status == 3
    assert out.splitlines()[1].split() == ["missing", "a", long, "mend", "it"]


def test_status_names_apps(capsys: pytest.CaptureFixture[str]) -> None:
    row = {"guid": "i" * 36, "app_guid": "a" * 36, "index": 10, "state": "RUNNING", "mode": "ebpf",
           "sockmap": True, "address": "10.255.1.2", "host_port": 61000}  # fmt: skip
    proxy = {"id": "i" * 36, "in_step": True, "connected": True, "pushes": 1, "rejected": 0,
             "last_error": "", "held_back": []}  # fmt: skip
    refused = {"service": "CDS", "name": "outbound|8080|x|y", "error": "no"}
    router = {**proxy, "id": "router~1.2.3.4~router-1~x", "held_back": [refused]}
    found = {
        "lab": "x",
        "daemons": [],
        "silent": [],
        "lb": {},
        "cells": {"cell-1": {"instances": [row, {**row, "index": 2}], "counters": {}}, "b": None},
        "pilots": {"cell-1": {"proxies": [proxy, router]}},
        "apps": {"a" * 36: "hello"},
        "copilot": {"control": None},
    }
    tables.show_status(found)
    text = capsys.readouterr().out
    assert "rejected outbound|8080|x|y" in text
    lines = [line.split()[0] for line in text.splitlines() if line]
    assert lines[3:5] == ["hello/2", "hello/10"]
    assert "router-1" in lines and "ebpf sockmap" not in lines
    assert "expires" not in text
    ends = {"text": "the first certificate (x) expires on 2027-01-01", "remedy": "renew it"}
    tables.show_status({**found, "certificates": ends})
    assert f"{ends['text']}: renew it\n" in capsys.readouterr().out
    tables.show_status({**found, "apps": {}})
    assert "aaaaaaaa/2" in capsys.readouterr().out
    sink = {"node": "pilot~cell-1", "rejected": 0, "last_error": ""}
    tables.show_status({**found, "copilot": {"control": {"sinks": [sink]}}})
    assert "pilot~cell-1" not in capsys.readouterr().out
    refused = {**sink, "rejected": 3, "last_error": "gateways: g is no Gateway"}
    tables.show_status({**found, "copilot": {"control": {"sinks": [sink, refused]}}})
    assert "gateways: g is no Gateway" in capsys.readouterr().out


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_terminated_command_undoes_what_it_has_begun(number: signal.Signals) -> None:
    script = (
        "import os, sys\n"
        "from meshnet.cli import main\n"
        "def work(line):\n"
        "    try:\n"
        f"        os.kill(os.getpid(), {int(number)})\n"
        "        import time; time.sleep(10)\n"
        "    except BaseException:\n"
        f"        os.kill(os.getpid(), {int(number)}) if {int(number)} != 2 else None\n"
        "        print('undone'); raise\n"
        "main._typer = work\n"
        "main.main(['x'])\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (128 + number, "undone\n")
    assert done.stderr == ("meshnet: interrupted\n" if number == signal.SIGINT else "")
