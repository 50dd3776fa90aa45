"""`lab exec` and `lab shell` feel like being on the machine, in nodes and beside apps."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from meshnet.kernel import cgroup
from netns_lab.stage import EXTERNAL, Stage

from .conftest import meshnet
from .terminal import MESHNET, Terminal
from .test_policy import wait

pytestmark = pytest.mark.sudo
NODE, APP = "client", "hello/0"
URL = {NODE: "http://hello.istio.mesh.lab/", APP: "http://127.0.0.1:8080/"}
ECHO = "sed -u 's/^/got /'"
Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def run(stage: Stage) -> Run:
    def exec_(target: str, *command: str, **options: object) -> subprocess.CompletedProcess[str]:
        line = [*MESHNET, "lab", "exec", *target.split(), "--", *command]
        env = {**os.environ, "MESHNET_LAB": stage.paths.lab, "http_proxy": "http://192.0.2.1:1"}
        return subprocess.run(line, capture_output=True, text=True, env=env, timeout=30, **options)  # type: ignore[call-overload,no-any-return]

    return exec_


@pytest.fixture
def terminal(stage: Stage) -> Iterator[Callable[..., Terminal]]:
    made: list[Terminal] = []

    def open_(*line: str) -> Terminal:
        made.append(Terminal(*line, lab=stage.paths.lab))
        return made[-1]

    yield open_
    for one in made:
        one.close()


SIDECAR = f"{APP} --sidecar"
NAMES = ("dig +short +tries=1 hello.istio.mesh.lab", "getent hosts hello.istio.mesh.lab")
TOOLS = (
    "ping -c1 -W2 127.0.0.1",
    "ss -tln",
    "ip -br address",
    "tcpdump --count -r /tmp/meshnet-test.pcap",
    "bash -c true",
    "conntrack -L",
    "python3 -c pass",
)


@pytest.mark.parametrize(
    ("target", "command"),
    [(target, command) for target in (NODE, "cell-1", APP, SIDECAR) for command in TOOLS]
    # A sidecar resolves no names.
    + [(target, command) for target in (NODE, "cell-1", APP) for command in NAMES],
)
def test_the_tools_work(run: Run, target: str, command: str) -> None:
    if command.startswith("tcpdump"):
        # Capture what we send ourselves; tcpdump drops to its own user before it writes.
        script = (
            "rm -f /tmp/meshnet-test.pcap; tcpdump -c2 -U -ni lo -w /tmp/meshnet-test.pcap icmp & "
            "while kill -0 $! 2>/dev/null; do ping -qc1 127.0.0.1; done; wait $!"
        )
        done = run(target, "timeout", "25", "bash", "-c", script)
        assert done.returncode == 0, done.stderr
        assert "2 packets" in run(target, *command.split()).stdout
        run(target, "rm", "/tmp/meshnet-test.pcap")
        return
    done = run(target, *command.split())
    assert done.returncode == 0, done.stderr
    assert done.stdout or command.startswith(("bash", "python3", "conntrack"))


@pytest.mark.parametrize("target", [NODE, APP])
def test_curl_arrives_although_this_machine_has_a_proxy(run: Run, target: str) -> None:
    assert '"greeting": "hello"' in run(target, "curl", "-sS", "-m5", URL[target]).stdout


def test_names_are_resolved_where_the_command_is(run: Run, stage: Stage) -> None:
    assert run(NODE, "cat", "/etc/resolv.conf").stdout == stage.paths.resolv_conf().read_text()
    assert run(APP, "cat", "/etc/resolv.conf").stdout == "nameserver 169.254.0.2\n"


@pytest.mark.parametrize("target", [NODE, APP, f"{APP} --user"])
def test_the_exit_status_is_the_commands(run: Run, target: str) -> None:
    assert run(target, "sh", "-c", "exit 7").returncode == 7
    assert run(target, "sh", "-c", "kill -TERM $$").returncode == -signal.SIGTERM
    for command, status, says in (
        ("no-such", 127, "meshnet: no-such: command not found\n"),
        ("/no/such", 127, "meshnet: /no/such: No such file or directory\n"),
        ("/etc/passwd", 126, "meshnet: /etc/passwd: Permission denied\n"),
        ("", 127, "meshnet: : command not found\n"),
        ("\x1b[31m\n", 127, "meshnet: \\x1b[31m\\n: command not found\n"),
        ("/usr", 126, "meshnet: /usr: Permission denied\n"),
    ):
        done = run(target, command)
        assert (done.returncode, done.stderr, done.stdout) == (status, says, "")
    shell = run(NODE, "sh", "-c", f"{' '.join(MESHNET)} lab exec {target} -- sh -c 'kill -9 $$'")
    assert shell.returncode in (137, -signal.SIGKILL)


@pytest.mark.parametrize("target", [NODE, APP])
def test_what_is_piped_in_comes_out(run: Run, target: str) -> None:
    text = "line\n" * 100_000
    assert run(target, "cat", input=text).stdout == text
    assert run(target, "head", "-c4", input=text).stdout == "line"


@pytest.mark.parametrize("target", [NODE, APP])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1])
def test_signals_reach_the_command(stage: Stage, target: str, number: signal.Signals) -> None:
    script = f"trap 'echo got; exit 5' {int(number)}; echo up; while :; do read -t 0.05 x; done"
    line = [*MESHNET, "lab", "exec", "--lab", stage.paths.lab, target, "--", "bash", "-c", script]
    with subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout and child.stdout.readline() == "up\n"
        child.send_signal(number)
        assert child.stdout.readline() == "got\n"
        assert child.wait(10) == 5


def test_a_killed_exec_leaves_no_command_behind(stage: Stage) -> None:
    line = [*MESHNET, "lab", "exec", "--lab", stage.paths.lab, APP, "--", "sh", "-c"]
    with subprocess.Popen([*line, "echo up; exec sleep 987"], stdout=subprocess.PIPE) as child:
        assert child.stdout and child.stdout.readline() == b"up\n"
        assert _commands("sleep 987")
        child.kill()
    wait(lambda: not _commands("sleep 987"))


def _started_again(stage: Stage, ended: str) -> None:
    """Wait for hola's next instance: we kill that app, as flaky's crashes are another test's."""

    def running() -> list[str]:
        return [r["guid"] for r in stage.instances("hola") if r["state"] == "RUNNING"]

    wait(lambda: running() not in ([], [ended]))
    stage.client.wait_running(stage.guids["hola"])


def _commands(line: str) -> list[str]:
    done = subprocess.run(["pgrep", "-xf", line], capture_output=True, text=True)
    return done.stdout.split()


def test_the_app_is_where_it_was(run: Run, stage: Stage) -> None:
    row = stage.instances("hello")[0]
    group = f"/meshnet/{stage.paths.lab}/{row['cell']}/{row['guid']}/app"
    # v1's hierarchies too, where there are some: the app's limits are there.
    theirs = Path(f"/proc/{row['app_pid']}/cgroup").read_text()
    assert f"0::{group}\n" in theirs
    assert run(APP, "cat", "/proc/self/cgroup").stdout == theirs
    assert set(cgroup.pids(group)) == set(cgroup.pids(group)) and row["app_pid"] in cgroup.pids(
        group
    )
    assert run(APP, "id", "-u").stdout == "0\n"
    assert run(f"{APP} --user", "id", "-u").stdout == f"{row['uid']}\n"
    assert run(f"{APP} --user", "pwd").stdout == "/home/vcap/app\n"
    theirs = Path(f"/proc/{row['app_pid']}/environ").read_text().rstrip("\0").split("\0")
    given = run(f"{APP} --user", "env", "-0").stdout.split("\0")
    assert {v for v in theirs if not v.startswith("LANG=")} <= set(given)
    assert run(APP, "sh", "-c", "echo $PORT $HOME").stdout == "8080 /root\n"


def test_roots_home_is_its_own_and_the_container_stays_as_it_is(run: Run) -> None:
    assert run(APP, "sh", "-c", "echo x > ~/x && ls -A ~").stdout == "x\n"
    assert run(APP, "ls", "-A", "/root").stdout == ""
    done = run(f"{APP} --user", "cat", "/etc/passwd")
    assert [row.split(":")[0] for row in done.stdout.splitlines()] == ["root", "vcap"]


def test_the_apps_policy_holds(run: Run) -> None:
    backend = "http://backend.istio.apps.internal:8080/"
    assert '"app": "backend"' in run("frontend", "curl", "-s", "-m5", backend).stdout
    assert "no route to this address" in run("hello", "curl", "-s", "-m5", backend).stdout


def test_the_sidecars_admin_interface_is_in_reach(run: Run) -> None:
    admin = ("curl", "-s", "--unix-socket", "/run/envoy/admin.sock", "http://x/ready")
    assert run(f"{APP} --sidecar", *admin).stdout.strip() == "LIVE"


def test_an_instance_that_ends_takes_the_command_with_it(stage: Stage) -> None:
    row = stage.instances("hola")[0]
    line = [*MESHNET, "lab", "exec", "--lab", stage.paths.lab, "hola", "--", "sh", "-c"]
    script = "echo up; exec sleep 986"
    with subprocess.Popen([*line, script], stdout=-1, stderr=-1, text=True) as child:
        assert child.stdout and child.stdout.readline() == "up\n"
        os.kill(row["app_pid"], signal.SIGKILL)
        _, said = child.communicate(timeout=10)
    assert (child.returncode, said) == (
        137, "meshnet: the instance has ended, and with it the command\n"
    )  # fmt: skip
    _started_again(stage, row["guid"])


def test_a_number_that_is_another_process_by_now_is_not_entered(stage: Stage) -> None:
    from meshnet.kernel import launch

    row = stage.instances("hello")[0]
    line = launch.argv(["true"], container_pid=row["app_pid"], container_cgroup="/other/app")
    done = subprocess.run(line, capture_output=True, text=True)
    assert done.returncode == 125 and done.stderr.count("\n") == 1
    assert "it has ended" in done.stderr


# --- at a terminal ---


@pytest.mark.parametrize("target", [NODE, APP, f"{APP} --user", f"{APP} --sidecar"])
def test_a_shell_has_job_control_and_a_prompt_that_names_the_place(
    terminal: Callable[..., Terminal], target: str
) -> None:
    at = terminal(*MESHNET, "lab", "shell", *target.split())
    end = "$ " if "--user" in target else "# "
    name = "hello/0 sidecar" if "--sidecar" in target else target.split()[0]
    assert f"[{name}]" in at.until(end)
    at.type(f"tty; stty size; {ECHO}\n")
    at.until("/dev/pts/")
    at.until("0 0\r\n")
    at.type("abc\n")
    at.until("got abc")
    at.type("\x1a")
    at.until("Stopped")
    at.until(end)
    at.type("fg\n")
    at.type("abd\n")
    at.until("got abd")
    at.type("\x03")
    at.until("^C")
    at.until(end)
    at.type("echo was=$?\n")
    at.until("was=130")
    at.resize(50, 100)
    at.type("stty size\n")
    at.until("50 100")
    at.type("exit 5\n")
    assert at.status() == 5


@pytest.mark.parametrize("target", [NODE, APP])
def test_exec_is_a_job_of_the_users_own_shell(
    terminal: Callable[..., Terminal], target: str
) -> None:
    at, line = terminal("bash", "--norc", "-i"), f"{' '.join(MESHNET)} lab exec {target} --"
    at.until("# ")
    at.type(f"{line} {ECHO}\n")
    at.type("abc\n")
    at.until("got abc")
    at.type("\x1a")
    at.until("Stopped")
    at.until("# ")
    at.type("fg\n")
    at.type("abd\n")
    at.until("got abd")
    at.type("\x03")
    at.until("# ")
    at.type("echo was=$?\n")
    at.until("was=130")
    at.type(f"for i in 1 2; do {line} sh -c 'echo u\"\"p; exec sleep 60'; done\n")
    at.until("up\r\n")
    at.type("\x03")
    at.until("# ")
    at.type("echo all=$?\n")
    at.until("all=130")
    # A pipe's other end keeps the terminal: both are one job.
    at.type(f"{line} seq 3 | {line} sh -c 'cat; read x </dev/tty; echo read=$x'\n")
    at.until("3\r\n")
    at.type("y\n")
    at.until("read=y")


@pytest.mark.parametrize("target", [NODE, APP])
def test_a_command_that_takes_ctrl_z_itself_is_not_stopped(
    terminal: Callable[..., Terminal], target: str
) -> None:
    at, line = terminal("bash", "--norc", "-i"), f"{' '.join(MESHNET)} lab exec {target} --"
    at.until("# ")
    loop = "while :; do read x; echo got \\$x; done"
    at.type(f"{line} bash -c \"trap 'echo ca''ught' TSTP; {loop}\"\n")
    at.type("a\n")
    at.until("got a")
    at.type("\x1a")
    at.until("caught")
    at.type("b\n")
    at.until("got b")
    at.type("\x03")
    at.until("# ")


def test_the_terminal_is_given_back_as_it_was(
    terminal: Callable[..., Terminal], stage: Stage
) -> None:
    at = terminal("sh", "-c", f"{' '.join(MESHNET)} lab shell hola; echo was=$?; read x; echo $x")
    at.until("# ")
    assert not at.echoes()  # readline's mode
    row = stage.instances("hola")[0]
    os.kill(row["app_pid"], signal.SIGKILL)
    at.until("the instance has ended")
    at.until("was=137")
    assert at.echoes()
    at.type("mine\n")
    at.until("mine\r\nmine")
    assert at.status() == 0
    _started_again(stage, row["guid"])


def test_a_shell_without_a_terminal_runs_what_is_piped_in(stage: Stage) -> None:
    line = [*MESHNET, "lab", "shell", "--lab", stage.paths.lab, APP]
    done = subprocess.run(line, input="hostname\nexit 3\n", capture_output=True, text=True)
    assert done.returncode == 3 and done.stdout.strip() and done.stderr == ""


def test_many_at_once(stage: Stage) -> None:
    line = [*MESHNET, "lab", "exec", "--lab", stage.paths.lab, APP, "--", "echo", "x"]
    began = time.monotonic()
    children = [subprocess.Popen(line, stdout=subprocess.PIPE) for _ in range(12)]
    for child in children:
        with closing(child.stdout or open(os.devnull, "rb")) as out:
            assert out.read() == b"x\n"
        assert child.wait(30) == 0
    assert time.monotonic() - began < 30


# --- what is not there ---


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("exec ghost -- true", "no node and no app 'ghost' (nodes: client,"),
        ("exec hello/7 -- true", "hello/7 has no instance on any cell (has: hello/0, hello/1)"),
        ("exec hello/ -- true", "APP/INDEX wants a number"),
        ("exec hello/x -- true", "APP/INDEX wants a number"),
        ("exec client --user -- true", "client is a node: --user is for apps"),
        ("shell client --sidecar", "client is a node: --sidecar is for apps"),
        ("shell ghost", "no node and no app 'ghost'"),
        ("logs control.nope", "no log of control.nope: it has bbs, capi, copilot,"),
        ("logs client", "no log of client: no daemon runs there"),
        ("logs ghost", "apps: backend, flaky, frontend, hello, hola"),
        ("logs *", "no node and no app '*'"),
        ("logs ../../etc", "APP/INDEX wants a number"),
        ("logs hello/9", "hello/9 has no instance on any cell (has: hello/0, hello/1)"),
        ("exec hello --lab nope -- true", "lab 'nope' is not up"),
    ],
)
def test_mistakes(stage: Stage, words: str, says: str) -> None:
    done = meshnet("lab", *words.split(), lab=stage.paths.lab)
    assert (done.returncode, done.stdout) == (2, "")
    assert says in done.stderr and done.stderr.count("\n") == 1


def test_logs_of_a_node_are_its_daemons_and_no_apps(stage: Stage) -> None:
    done = meshnet("lab", "logs", "cell-1", "-n", "1", lab=stage.paths.lab)
    tags = {line.partition(" ")[0] for line in done.stdout.splitlines()}
    assert "[cell-1.cell]" in tags and all(tag.startswith("[cell-1.") for tag in tags)
    for whose in ("supervisor", "control.capi"):
        done = meshnet("lab", "logs", whose, lab=stage.paths.lab)
        assert done.returncode == 0 and not done.stdout.startswith("[")


def test_logs_of_an_instance_are_its_own_and_say_who_speaks(stage: Stage) -> None:
    stage.outside.get(stage.via_frontend("backend"))
    done = meshnet("lab", "logs", "frontend/0", lab=stage.paths.lab)
    lines = [re.fullmatch(r"(\S+Z) \[(frontend/0 \w+)\] (?:OUT|ERR) .*", line)
             for line in done.stdout.splitlines()]  # fmt: skip
    assert all(lines), done.stdout
    assert {m[2] for m in lines if m} == {"frontend/0 cell", "frontend/0 app", "frontend/0 sidecar"}
    times = [m[1] for m in lines if m]
    assert times == sorted(times)


def test_logs_of_an_app_have_what_routers_say_of_its_requests(stage: Stage) -> None:
    where = f"/said/{os.getpid()}"
    (reply,) = stage.outside.get(f"http://hello.{EXTERNAL}{where}")
    stage.outside.get(f"http://nobody.{EXTERNAL}{where}")

    def said() -> list[str]:
        shown = meshnet("cf", "logs", "hello", "--recent", lab=stage.paths.lab).stdout
        return [line for line in shown.splitlines() if where in line and "[RTR/" in line]

    wait(lambda: bool(said()))
    (line,) = said()
    index, guid = reply.json()["instance_index"], reply.json()["instance_guid"]
    assert re.search(r"\[RTR/[01]\] OUT hello\.\S+ - \[20\S+Z\] ", line)
    assert f'"GET {where} HTTP/1.1" {reply.status} 0 {len(reply.body)} "-" "curl/' in line
    assert f'app_id:"{stage.guids["hello"]}" app_index:"{index}" instance_id:"{guid}"' in line


def test_an_app_has_the_certificate_that_says_whose_instance_it_is(run: Run) -> None:
    line = "openssl x509 -noout -subject -ext subjectAltName -in $CF_INSTANCE_CERT"
    said = run(f"{APP} --user", "sh", "-c", f"{line} && echo $CF_INSTANCE_GUID").stdout
    guid = said.split()[-1]
    assert f"CN = {guid}" in said and f"DNS:{guid}" in said and "IP Address:10.255." in said
    assert all(f"OU = {kind}:" in said for kind in ("organization", "space", "app"))
    both = "openssl verify -CAfile $CF_INSTANCE_CERT $CF_INSTANCE_CERT && cat $CF_INSTANCE_KEY"
    assert "PRIVATE KEY" in run(f"{APP} --user", "sh", "-c", both).stdout
    written = run(f"{APP} --user", "sh", "-c", "echo > $CF_INSTANCE_KEY")
    assert written.returncode != 0


def test_names_are_completed(stage: Stage) -> None:
    env = {**os.environ, "MESHNET_LAB": stage.paths.lab, "_MESHNET_COMPLETE": "complete_bash"}
    for words, offered in (("lab shell c", ["cell-1", "cell-2", "client", "control"]),
                           ("lab exec ba", ["backend"]), ("cf app ho", ["hola"])):  # fmt: skip
        line = f"meshnet {words}"
        env |= {"COMP_WORDS": line, "COMP_CWORD": "3"}
        done = subprocess.run(MESHNET, env=env, capture_output=True, text=True)
        assert done.stdout.split() == offered, done.stderr
